"""Adaptation in evaluation: without traces, under any inference mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine._inner import (
    InnerLoop,
    Parameters,
    accuracy,
    adapt,
    channels_last,
    query_loss,
    settings_of,
    trainable,
)
from lightning_lde.fewshot.engine._recording import Recorder, Streams, forked, joined, on_stream

__all__ = ["adapted_at", "evaluation_mode", "scores_at"]


def scores_at(
    model: nn.Module, batch: Episode, inner: InnerLoop, *, steps: Sequence[int], recorder: Recorder | None = None
) -> list[tuple[int, Tensor, Tensor]]:
    """Adapt to each task of a batch, and score it after each of several numbers of steps, without traces.

    Args:
        model: Maps images to logits.
        batch: Episodes stacked along a leading task dimension.
        inner: How the model adapts, as for ``adapted_at``.
        steps: Numbers of steps, ascending.
        recorder: Records the work on a CUDA device, several tasks at a time; elsewhere it changes nothing.

    Returns:
        For each number of steps: the number, query loss and accuracy of each task, both of shape (tasks,).
    """

    def work(streams: Streams, tensors: Sequence[Tensor]) -> list[Tensor]:
        streams = forked(streams, len(tensors[0]))
        found = []
        for number, task in enumerate(zip(*tensors, strict=True)):
            with on_stream(streams[number % len(streams)]):
                found.append(_scores(model, inner, steps, *task))
        joined(streams)
        return [torch.stack(each) for each in zip(*found, strict=True)]

    settings = (tuple(steps), settings_of(inner))
    found = (recorder or Recorder()).run(work, model, batch[:4], settings)
    return list(zip(steps, found[::2], found[1::2], strict=True))


def _scores(model: nn.Module, inner: InnerLoop, steps: Sequence[int], *task: Tensor) -> list[Tensor]:
    """Loss and accuracy of a task after each number of steps."""
    support, labels, query, targets = task
    found = []
    for _, state in adapted_at(model, support, labels, inner, steps=steps):
        with torch.no_grad():
            loss, logits = query_loss(model, state, query, targets)
        found += [loss, accuracy(logits, targets)]
    return found


def adapted_at(
    model: nn.Module, images: Tensor, labels: Tensor, inner: InnerLoop, *, steps: Sequence[int]
) -> Iterator[tuple[int, Parameters]]:
    """Yield the model's state after each of several numbers of steps, in one walk and without traces.

    The model's parameters and buffers are neither written nor given gradients.

    Args:
        model: Maps images to logits.
        images: Support images, (ways * shots, C, H, W).
        labels: Support labels, (ways * shots,).
        inner: How the model adapts; its number of steps does not count here. Behind the last of its step lengths the
            last one goes on.
        steps: Numbers of steps, ascending.

    Yields:
        The number of steps, and the adapted parameters with copies of the buffers, by name.
    """
    buffers = {name: value.detach().clone() for name, value in model.named_buffers()}
    current, done = {name: channels_last(value) for name, value in trainable(model).items()}, 0
    images = channels_last(images)
    for count in steps:
        for step in range(done, count):
            start = {name: value.detach().requires_grad_() for name, value in current.items()}
            one = replace(inner, steps=1, first_order=True, step_weights=None, lr=_lr_at(inner, step))
            [current] = adapt(model, start, images, labels, one, buffers=buffers)
        done = count
        yield count, {**{name: value.detach() for name, value in current.items()}, **buffers}


def _lr_at(inner: InnerLoop, step: int) -> float | dict[str, Tensor]:
    if isinstance(inner.lr, (int, float)):
        return inner.lr
    return {name: torch.as_tensor(inner.lr_of(name, step)).detach() for name in inner.lr}


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
