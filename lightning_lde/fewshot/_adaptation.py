"""The inner loop of MAML as pure functions of parameters, and the safe place to run it in evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["Parameters", "accuracy", "adapt", "adapted_at", "evaluation_mode", "query_loss", "trainable"]

Parameters = dict[str, Tensor]


def trainable(model: nn.Module) -> Parameters:
    """Return the parameters of a model that require a gradient, by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


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
    *,
    lr: float,
    steps: int,
    first_order: bool,
    buffers: Parameters | None = None,
) -> Parameters:
    """Take steps of gradient descent on a support set: theta <- theta - lr * grad L(theta).

    Args:
        model: Maps images to logits.
        parameters: Where to start; they are not changed.
        images: Support images, (ways * shots, C, H, W).
        labels: Support labels, (ways * shots,).
        lr: Step length.
        steps: Number of steps.
        first_order: Treat each step's gradient as a constant, so that the derivative of the result by
            the start is the identity (FOMAML); otherwise the steps stay differentiable.
        buffers: Buffers to run with in place of the model's own.

    Returns:
        The adapted parameters, still functions of ``parameters``.

    Source: Finn, Abbeel, Levine, Model-Agnostic Meta-Learning, 2017, equation 1 and section 5.2.
    """
    current = parameters
    for _ in range(steps):
        loss, _ = query_loss(model, {**current, **(buffers or {})}, images, labels)
        gradients = torch.autograd.grad(loss, list(current.values()), create_graph=not first_order)
        current = {
            name: value - lr * gradient for (name, value), gradient in zip(current.items(), gradients, strict=True)
        }
    return current


def adapted_at(
    model: nn.Module, images: Tensor, labels: Tensor, *, lr: float, steps: Sequence[int]
) -> Iterator[tuple[int, Parameters]]:
    """Yield the model's state after each of several numbers of steps, in one walk and without traces.

    The model's parameters and buffers are neither written nor given gradients.

    Args:
        model: Maps images to logits.
        images: Support images, (ways * shots, C, H, W).
        labels: Support labels, (ways * shots,).
        lr: Step length.
        steps: Numbers of steps, ascending.

    Yields:
        The number of steps, and the adapted parameters with copies of the buffers, by name.
    """
    buffers = {name: value.detach().clone() for name, value in model.named_buffers()}
    current, done = trainable(model), 0
    for count in steps:
        for _ in range(count - done):
            start = {name: value.detach().requires_grad_() for name, value in current.items()}
            current = adapt(model, start, images, labels, lr=lr, steps=1, first_order=True, buffers=buffers)
        done = count
        yield count, {**{name: value.detach() for name, value in current.items()}, **buffers}


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode with gradients allowed, and restore every module's mode after.

    Lightning evaluates under ``torch.inference_mode``; that is left here, so that adaptation can take
    gradients. Tensors made outside must be cloned inside before use.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training
