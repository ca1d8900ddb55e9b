"""The inner loop: how a task changes the parameters of a model."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from lightning_lde.errors import ConfigurationError

__all__ = [
    "InnerLoop",
    "Parameters",
    "accuracy",
    "adapt",
    "channels_last",
    "query_loss",
    "settings_of",
    "trainable",
    "weighted",
]

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class InnerLoop:
    """How a model adapts to a task: steps of gradient descent on the loss of the support set.

    Args:
        steps: Number of steps.
        lr: Step length: a number, or by parameter name a tensor of shape () for all steps or (n,) for each of
            ``steps`` <= n steps, the last of which goes on in evaluation. Gradients flow into tensors that require one.
        first_order: Treat each step's gradient as a constant (FOMAML).
        adapted: Names of the parameters that change; None means all that are trainable.
        step_weights: Weights of the query loss after each step, summing to one as a rule; None means the loss after the
            last step alone.

    Raises:
        ConfigurationError: A number is out of range.

    Source: Finn, Abbeel, Levine, Model-Agnostic Meta-Learning, 2017; learned step lengths and losses of several steps:
        Li et al., Meta-SGD, 2017, and Antoniou et al., How to train your MAML, 2019.
    """

    steps: int
    lr: float | Mapping[str, Tensor]
    first_order: bool = False
    adapted: frozenset[str] | None = None
    step_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigurationError(f"steps={self.steps}: an inner loop needs at least one step.")
        if self.step_weights is not None and len(self.step_weights) != self.steps:
            raise ConfigurationError(
                f"step_weights has {len(self.step_weights)} weights for {self.steps} steps: give one for each step."
            )
        lengths = {} if isinstance(self.lr, (int, float)) else self.lr
        if few := [name for name, lr in lengths.items() if lr.ndim and len(lr) < self.steps]:
            raise ConfigurationError(f"lr of {few[0]} has {len(lengths[few[0]])} lengths for {self.steps} steps.")

    def lr_of(self, name: str, step: int) -> float | Tensor:
        """Step length of a parameter in a step, which counts from 0; behind the last one it stays."""
        if isinstance(self.lr, (int, float)):
            return self.lr
        lr = self.lr[name]
        return lr[min(step, len(lr) - 1)] if lr.ndim else lr

    def learned(self) -> list[Tensor]:
        """The step lengths that are learned, each once."""
        if isinstance(self.lr, (int, float)):
            return []
        return list({id(lr): lr for lr in self.lr.values() if lr.requires_grad}.values())

    def changes(self, parameters: Parameters) -> list[str]:
        """Names of the parameters that a task changes, in the model's order."""
        return [name for name in parameters if self.adapted is None or name in self.adapted]


def trainable(model: nn.Module) -> Parameters:
    """Return the parameters of a model that require a gradient, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def settings_of(inner: InnerLoop) -> Hashable:
    """What of an inner loop its work depends on, for step lengths in tensors where they lie."""
    numbers = inner.steps, inner.first_order, inner.adapted, inner.step_weights
    if isinstance(inner.lr, (int, float)):
        return *numbers, inner.lr
    return *numbers, *((name, lr.data_ptr(), lr.requires_grad) for name, lr in inner.lr.items())


def channels_last(values: Tensor) -> Tensor:
    """Return values without their history, on a CPU with the channels last where there are four dimensions."""
    values = values.detach()
    last = values.ndim == 4 and values.device.type == "cpu"
    return values.to(memory_format=torch.channels_last) if last else values


def query_loss(model: nn.Module, state: Parameters, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean cross-entropy and logits of a model run with other parameters (and buffers)."""
    logits: Tensor = functional_call(model, state, (images,))
    return F.cross_entropy(logits, labels), logits


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the share of rows whose largest logit is at the label."""
    return (logits.argmax(-1) == labels).float().mean()


def adapt(
    model: nn.Module,
    parameters: Parameters,
    images: Tensor,
    labels: Tensor,
    inner: InnerLoop,
    *,
    buffers: Parameters | None = None,
) -> list[Parameters]:
    """Take steps of gradient descent on a support set: theta <- theta - lr * grad L(theta).

    Args:
        model: Maps images to logits.
        parameters: Where to start; they are not changed.
        images: Support images, (ways * shots, C, H, W).
        labels: Support labels, (ways * shots,).
        inner: The steps.
        buffers: Buffers to run with in place of the model's own.

    Returns:
        The parameters after each step, still functions of ``parameters`` and of learned step lengths.
    """
    changed = inner.changes(parameters)
    walk: list[Parameters] = []
    current = parameters
    for step in range(inner.steps):
        loss, _ = query_loss(model, {**current, **(buffers or {})}, images, labels)
        slopes = torch.autograd.grad(loss, [current[name] for name in changed], create_graph=not inner.first_order)
        current = {**current, **_moved(current, dict(zip(changed, slopes, strict=True)), inner, step)}
        walk.append(current)
    return walk


def _moved(current: Parameters, slopes: Parameters, inner: InnerLoop, step: int) -> Parameters:
    if not isinstance(inner.lr, (int, float)):
        return {name: current[name] - inner.lr_of(name, step) * slope for name, slope in slopes.items()}
    moved = torch._foreach_add([current[name] for name in slopes], list(slopes.values()), alpha=-inner.lr)
    return dict(zip(slopes, moved, strict=True))


def weighted(inner: InnerLoop, losses: Sequence[Tensor]) -> Tensor:
    """The loss that training minimises, of the losses after each step or after the last one."""
    if inner.step_weights is None:
        return losses[-1]
    return torch.stack([loss * weight for loss, weight in zip(losses, inner.step_weights, strict=True)]).sum()
