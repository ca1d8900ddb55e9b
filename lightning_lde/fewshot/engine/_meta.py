"""The loss that meta-training minimises, and its gradient, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

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
    weighted,
)
from lightning_lde.fewshot.engine._recording import Recorder, Streams, forked, joined, on_stream

__all__ = ["MetaLoss", "meta_loss"]


class MetaLoss(NamedTuple):
    """What a batch of tasks came to.

    Attributes:
        loss: Scalar, the mean over tasks; its gradient by the model's parameters and learned step lengths is the
            meta-gradient.
        losses: (tasks,), query loss after the last step, without gradient.
        accuracies: (tasks,), share of query images classified rightly after the last step, 0 to 1.
    """

    loss: Tensor
    losses: Tensor
    accuracies: Tensor


def meta_loss(model: nn.Module, batch: Episode, inner: InnerLoop, *, recorder: Recorder | None = None) -> MetaLoss:
    """Return the mean query loss of tasks after adaptation, ready for ``backward``.

    Each task's part of the gradient is known before the next begins, so that memory is that of one task; ``backward``
    hands the sum on. So accumulation, clipping, schedulers and DDP see an ordinary loss.

    Args:
        model: Maps images to logits.
        batch: Episodes stacked along a leading task dimension.
        inner: How the model adapts.
        recorder: Records the work on a CUDA device, several tasks at a time; elsewhere it changes nothing.
    """
    sources = [*trainable(model).values(), *inner.learned()]

    def work(streams: Streams, tensors: Sequence[Tensor]) -> list[Tensor]:
        return _over_tasks(model, tensors, inner, streams)

    recorder = recorder or Recorder()
    loss, losses, accuracies, *slopes = recorder.run(work, model, batch[:4], settings_of(inner))
    if torch.is_grad_enabled():
        loss = _Known.apply(loss, slopes, *sources)  # type: ignore[no-untyped-call]
    return MetaLoss(loss, losses, accuracies)


class _Known(torch.autograd.Function):
    """A loss whose gradient is known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, slopes: Sequence[Tensor], *sources: Tensor) -> Tensor:
        ctx.slopes = slopes
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> Any:
        return (None, None, *(of_loss[0].to(slope.dtype) * slope for slope in ctx.slopes))


def _over_tasks(model: nn.Module, tensors: Sequence[Tensor], inner: InnerLoop, streams: Streams) -> list[Tensor]:
    """The mean loss, losses and accuracies of tasks, then the gradient of the mean by each source.

    Tensors are the images and labels of support sets, and those of query sets, each with a leading task dimension.
    """
    parameters = {name: channels_last(value) for name, value in trainable(model).items()}
    count = len(tensors[0])
    streams = forked(streams, count)
    sums: list[list[Tensor]] = [[] for _ in streams]
    found = []
    for number, task in enumerate(zip(*tensors, strict=True)):
        place = number % len(streams)
        with on_stream(streams[place]):
            scores, slopes = _of_task(model, parameters, inner, *task)
            sums[place] = _added(sums[place], slopes, share=1 / count)
        found.append(scores)
    joined(streams)
    total = sums[0]
    for other in sums[1:]:
        torch._foreach_add_(total, other)
    loss, losses, accuracies = (torch.stack(each) for each in zip(*found, strict=True))
    # In the layout of the parameters, which optimisers and DDP's buckets expect.
    return [loss.mean(), losses, accuracies, *(slope.contiguous() for slope in total)]


def _of_task(
    model: nn.Module, parameters: Parameters, inner: InnerLoop, *task: Tensor
) -> tuple[tuple[Tensor, Tensor, Tensor], list[Tensor]]:
    """What is minimised, the loss after the last step and the accuracy there, and the gradient by each source."""
    support, labels, query, targets = task
    support, query = channels_last(support), channels_last(query)
    # Names of the task's own: a gradient waits for the stream on which its source was made.
    start = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    inner = _with_own_lengths(inner)
    with torch.enable_grad():
        walk = adapt(model, start, support, labels, inner)
        scored = [query_loss(model, state, query, targets) for state in _scored(walk, inner)]
        loss = weighted(inner, [each for each, _ in scored])
        slopes = torch.autograd.grad(loss, [*start.values(), *inner.learned()], materialize_grads=True)
    last, logits = scored[-1]
    return (loss.detach(), last.detach(), accuracy(logits.detach(), targets)), list(slopes)


def _with_own_lengths(inner: InnerLoop) -> InnerLoop:
    if isinstance(inner.lr, (int, float)):
        return inner
    own = {id(lr): lr.detach().requires_grad_(lr.requires_grad) for lr in inner.lr.values()}
    return replace(inner, lr={name: own[id(lr)] for name, lr in inner.lr.items()})


def _added(sums: list[Tensor], slopes: list[Tensor], *, share: float) -> list[Tensor]:
    """Add a share of slopes to sums, in place; nothing stands for zeros."""
    if not sums:
        return list(torch._foreach_mul(slopes, share))
    torch._foreach_add_(sums, slopes, alpha=share)
    return sums


def _scored(walk: Sequence[Parameters], inner: InnerLoop) -> Sequence[Parameters]:
    """The states whose query loss counts."""
    return walk if inner.step_weights is not None else walk[-1:]
