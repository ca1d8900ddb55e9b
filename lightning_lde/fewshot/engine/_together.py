"""All tasks of a batch at once, for devices on which many small kernels cost more than what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, vmap

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine._inner import InnerLoop, Parameters, accuracy, trainable, weighted

__all__ = ["scores_together", "slopes_together"]

Learned = Mapping[str, Tensor]


def slopes_together(
    model: nn.Module, parameters: Parameters, batch: Episode, inner: InnerLoop, *, chunk_size: int | None = None
) -> tuple[Parameters, Parameters, Tensor, Tensor, Tensor]:
    """Return the meta-gradient of a batch of tasks, computed for all tasks at once.

    The whole of a task, inner loop and outer gradient, lies inside ``vmap``: a gradient around a ``vmap`` of torch's
    batch norm is wrong in second order, one inside of it is right.

    Args:
        model: Maps images to logits.
        parameters: Where each task starts, by name.
        batch: Episodes stacked along a leading task dimension.
        inner: How the model adapts.
        chunk_size: Tasks at a time; None for all, which takes the memory of all.

    Returns:
        The mean over tasks of the slopes by parameter and by learned step length, then for each task what training
        minimises, the loss after the last step, and the accuracy there, each of shape (tasks,).

    Raises:
        ConfigurationError: ``chunk_size`` is below 1.
    """
    _check(chunk_size)
    given = {} if isinstance(inner.lr, (int, float)) else dict(inner.lr)
    learned = {name: lr.detach() for name, lr in given.items() if lr.requires_grad}
    task = grad_and_value(_task_loss(model, inner), argnums=(0, 1), has_aux=True)
    tensors = batch.support_images, batch.support_labels, batch.query_images, batch.query_labels
    start = {name: value.detach() for name, value in parameters.items()}
    run = vmap(task, in_dims=(None, None, 0, 0, 0, 0), chunk_size=chunk_size, randomness="different")
    (by_parameter, by_lr), (loss, (last, right)) = run(start, learned, *tensors)
    means = [{name: slope.mean(0) for name, slope in slopes.items()} for slopes in (by_parameter, by_lr)]
    return means[0], means[1], loss.detach(), last.detach(), right.detach()


def scores_together(
    model: nn.Module, batch: Episode, inner: InnerLoop, *, steps: Sequence[int], chunk_size: int | None = None
) -> list[tuple[int, Tensor, Tensor]]:
    """Adapt to all tasks of a batch at once, and score each after several numbers of steps, without traces.

    Args:
        model: Maps images to logits; its forward writes no buffer.
        batch: Episodes stacked along a leading task dimension.
        inner: How the model adapts, as for ``adapted_at``.
        steps: Numbers of steps, ascending.
        chunk_size: Tasks at a time; None for all.

    Returns:
        For each number of steps: the number, query loss and accuracy of each task, both of shape (tasks,).

    Raises:
        ConfigurationError: ``chunk_size`` is below 1.
    """
    _check(chunk_size)

    def walk(start: Parameters, *task: Tensor) -> tuple[Tensor, ...]:
        support, labels, query, targets = task
        current, done, found = start, 0, []
        for count in steps:
            for step in range(done, count):
                slopes = _slopes(model, inner, current, support, labels, constant=True)
                current = {**current, **_moved(current, slopes, inner, step)}
            done = count
            loss, logits = _loss(model, current, query, targets)
            found += [loss, accuracy(logits, targets)]
        return tuple(found)

    tensors = batch.support_images, batch.support_labels, batch.query_images, batch.query_labels
    start = {name: value.detach() for name, value in trainable(model).items()}
    run = vmap(walk, in_dims=(None, 0, 0, 0, 0), chunk_size=chunk_size, randomness="different")
    with torch.no_grad():
        found = run(start, *tensors)
    return list(zip(steps, found[::2], found[1::2], strict=True))


def _check(chunk_size: int | None) -> None:
    if chunk_size is not None and chunk_size < 1:
        raise ConfigurationError(f"tasks_at_once={chunk_size}: expected at least 1.")


def _task_loss(model: nn.Module, inner: InnerLoop) -> Callable[..., tuple[Tensor, tuple[Tensor, Tensor]]]:
    def run(start: Parameters, learned: Learned, *task: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        support, labels, query, targets = task
        now = inner if isinstance(inner.lr, (int, float)) else replace(inner, lr={**inner.lr, **learned})
        current, losses, logits = start, [], query
        for step in range(inner.steps):
            slopes = _slopes(model, inner, current, support, labels, constant=inner.first_order)
            current = {**current, **_moved(current, slopes, now, step)}
            if inner.step_weights is not None or step == inner.steps - 1:
                loss, logits = _loss(model, current, query, targets)
                losses.append(loss)
        return weighted(inner, losses), (losses[-1], accuracy(logits, targets))

    return run


def _slopes(
    model: nn.Module, inner: InnerLoop, current: Parameters, images: Tensor, labels: Tensor, *, constant: bool
) -> Parameters:
    changed = {name: current[name] for name in inner.changes(current)}
    slopes: Parameters = grad(lambda part: _loss(model, {**current, **part}, images, labels)[0])(changed)
    return {name: slope.detach() if constant else slope for name, slope in slopes.items()}


def _moved(current: Parameters, slopes: Parameters, inner: InnerLoop, step: int) -> Parameters:
    return {name: current[name] - inner.lr_of(name, step) * slope for name, slope in slopes.items()}


def _loss(model: nn.Module, state: Parameters, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits: Tensor = functional_call(model, state, (images,))
    return F.cross_entropy(logits, labels), logits
