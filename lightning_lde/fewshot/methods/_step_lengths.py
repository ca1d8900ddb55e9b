"""What MAML++ adds to the inner loop: step lengths that are learned, and a loss over all steps at first."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from lightning_lde.errors import ConfigurationError

__all__ = ["LEARNED", "LearnedLR", "learned_lr", "step_weights"]

LearnedLR = Literal["no", "per_layer", "per_layer_and_step"]
LEARNED = ("no", "per_layer", "per_layer_and_step")

_LEAST = 0.03


def learned_lr(learn: str, *, tensors: int, steps: int, start: float) -> nn.Parameter | None:
    """Return the step lengths that are learned, all equal at first.

    Args:
        learn: A ``LearnedLR``.
        tensors: Number of adapted parameter tensors; each has a step length of its own.
        steps: Inner steps in training.
        start: Initial value.

    Returns:
        Shape (tensors,) or (tensors, steps); None where nothing is learned.

    Raises:
        ConfigurationError: The word is unknown.
    """
    if learn not in LEARNED:
        raise ConfigurationError(f"learn_inner_lr={learn!r}: expected one of {', '.join(map(repr, LEARNED))}.")
    if learn == "no":
        return None
    shape = (tensors,) if learn == "per_layer" else (tensors, steps)
    return nn.Parameter(torch.full(shape, start))


def step_weights(steps: int, *, outer_step: int, anneal: int) -> tuple[float, ...] | None:
    """Return the weights of the losses after each inner step, which sum to one; None means the last one alone.

    They begin equal; those of all but the last fall in a straight line, to no less than 0.03 / steps, until after
    ``anneal`` outer steps the last loss is left alone.

    Args:
        steps: Inner steps.
        outer_step: Outer steps taken.
        anneal: Outer steps after which the loss is the last one's.

    Source: Antoniou et al., How to train your MAML, 2019, and their code, in outer steps instead of epochs.

    Example:
        >>> step_weights(4, outer_step=50, anneal=100)
        (0.125, 0.125, 0.125, 0.625)
        >>> step_weights(4, outer_step=100, anneal=100)
    """
    if outer_step >= anneal or steps == 1:
        return None
    early = max(1 / steps - outer_step / (steps * anneal), _LEAST / steps)
    return (*([early] * (steps - 1)), 1 - (steps - 1) * early)
