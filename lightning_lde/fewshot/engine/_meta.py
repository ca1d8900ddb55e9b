"""The loss that meta-training minimises, task by task, so that memory is that of one task."""

from __future__ import annotations

from collections.abc import Sequence
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
    trainable,
    weighted,
)
from lightning_lde.fewshot.engine._together import slopes_together

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


def meta_loss(model: nn.Module, batch: Episode, inner: InnerLoop, *, tasks_at_once: int = 1) -> MetaLoss:
    """Return the mean query loss of tasks after adaptation, ready for ``backward``.

    By default tasks are worked through one after the other, and each one's part of the gradient is known before the
    next begins; ``backward`` hands the sum on. So accumulation, clipping, schedulers and DDP see an ordinary loss.

    Args:
        model: Maps images to logits.
        batch: Episodes stacked along a leading task dimension.
        inner: How the model adapts.
        tasks_at_once: Above 1: so many tasks through ``torch.func.vmap``, with the memory of as many. On a GPU this is
            quicker, on a CPU it is not. The model must be one that ``torch.func`` can follow. Each task draws its
            dropout for itself, in another order than one after the other.

    Raises:
        ConfigurationError: ``tasks_at_once`` is below 1.
    """
    sources = [*trainable(model).values(), *inner.learned()]
    found = _over_tasks(model, batch, inner) if tasks_at_once == 1 else _at_once(model, batch, inner, tasks_at_once)
    loss = found.loss
    if torch.is_grad_enabled():
        loss = _Known.apply(found.loss, found.slopes, *sources)  # type: ignore[no-untyped-call]
    return MetaLoss(loss, found.losses, found.accuracies)


class _Found(NamedTuple):
    loss: Tensor
    slopes: list[Tensor]
    losses: Tensor
    accuracies: Tensor


class _Known(torch.autograd.Function):
    """A loss whose gradient is known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, slopes: Sequence[Tensor], *sources: Tensor) -> Tensor:
        ctx.slopes = slopes
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> Any:
        return (None, None, *(of_loss[0].to(slope.dtype) * slope for slope in ctx.slopes))


def _over_tasks(model: nn.Module, batch: Episode, inner: InnerLoop) -> _Found:
    parameters = trainable(model)
    start = {name: channels_last(value).requires_grad_() for name, value in parameters.items()}
    sources = [*start.values(), *inner.learned()]
    slopes = [torch.zeros_like(source) for source in sources]
    weighed, losses, accuracies = [], [], []
    for task in range(len(batch.index)):
        images, labels = channels_last(batch.query_images[task]), batch.query_labels[task]
        with torch.enable_grad():
            walk = adapt(model, start, channels_last(batch.support_images[task]), batch.support_labels[task], inner)
            scored = [query_loss(model, state, images, labels) for state in _scored(walk, inner)]
            loss = weighted(inner, [each for each, _ in scored])
            parts = torch.autograd.grad(loss, sources, allow_unused=True)
        _add(slopes, parts, share=1 / len(batch.index))
        weighed.append(loss.detach())
        losses.append(scored[-1][0].detach())
        accuracies.append(accuracy(scored[-1][1].detach(), labels))
    # In the layout of the parameters, which optimisers and DDP's buckets expect.
    as_given = [slope.contiguous() for slope in slopes[: len(start)]] + slopes[len(start) :]
    return _Found(torch.stack(weighed).mean(), as_given, torch.stack(losses), torch.stack(accuracies))


def _at_once(model: nn.Module, batch: Episode, inner: InnerLoop, tasks: int) -> _Found:
    parameters = trainable(model)
    slopes, of_lrs, losses, last, right = slopes_together(model, parameters, batch, inner, chunk_size=tasks)
    given = {} if isinstance(inner.lr, (int, float)) else inner.lr
    # A step length that several parameters share has the sum of their slopes.
    learned = [torch.stack([of_lrs[name] for name, one in given.items() if one is lr]).sum(0) for lr in inner.learned()]
    as_given = [slopes[name].contiguous() for name in parameters] + learned
    return _Found(losses.mean(), as_given, last, right)


def _add(slopes: Sequence[Tensor], parts: Sequence[Tensor | None], *, share: float) -> None:
    pairs = [(slope, part) for slope, part in zip(slopes, parts, strict=True) if part is not None]
    torch._foreach_add_([slope for slope, _ in pairs], [part for _, part in pairs], alpha=share)


def _scored(walk: Sequence[Parameters], inner: InnerLoop) -> Sequence[Parameters]:
    """The states whose query loss counts."""
    return walk if inner.step_weights is not None else walk[-1:]
