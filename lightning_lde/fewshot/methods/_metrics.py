"""The mean over evaluated tasks with its interval, over all processes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightning_lde.errors import ConfigurationError

__all__ = ["MeanWithInterval", "TaskMean", "mean_with_interval"]


class TaskMean(NamedTuple):
    """A mean and half the width of its interval.

    Attributes:
        mean: Scalar.
        half_width: Scalar; nan for fewer than two tasks.
    """

    mean: Tensor
    half_width: Tensor


class MeanWithInterval(Metric):
    """Mean of one value a task, with the interval of Student's t over tasks.

    Tasks are taken as independent draws, which holds for tasks of one data set and one trained model; the interval says
    nothing about other trainings. A task that several processes evaluated, as samplers do that fill the last batch up,
    counts once where its number is given.

    Args:
        confidence: Probability with which the interval covers the mean over all tasks, between 0 and 1.
        kwargs: Those of ``torchmetrics.Metric``.

    Raises:
        ConfigurationError: The confidence is out of range.

    Example:
        >>> metric = MeanWithInterval()
        >>> metric.update(torch.tensor([0.5, 0.75, 1.0]))
        >>> mean, half_width = metric.compute()
        >>> float(mean), round(float(half_width), 3)
        (0.75, 0.621)
    """

    full_state_update = False
    is_differentiable = False
    values: list[Tensor]
    numbers: list[Tensor]

    def __init__(self, *, confidence: float = 0.95, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < confidence < 1:
            raise ConfigurationError(f"confidence={confidence}: expected a probability between 0 and 1, such as 0.95.")
        self.confidence = confidence
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("numbers", default=[], dist_reduce_fx="cat")

    def update(self, values: Tensor, numbers: Tensor | None = None) -> None:
        """Take the values of further tasks.

        Args:
            values: Shape (tasks,).
            numbers: int64, shape (tasks,): each task's number in its set; None where tasks have none, for all updates.
        """
        self.values.append(values.detach().flatten())
        if numbers is not None:
            self.numbers.append(numbers.detach().flatten())

    def compute(self) -> TaskMean:
        """Return mean and half-width over all tasks of all processes."""
        values = dim_zero_cat(self.values)
        numbers = dim_zero_cat(self.numbers) if len(self.numbers) else None
        return mean_with_interval(values, numbers, confidence=self.confidence)


def mean_with_interval(values: Tensor, numbers: Tensor | None = None, *, confidence: float = 0.95) -> TaskMean:
    """Return the mean of values and half the width of the interval mean ± t(n - 1) · s / √n.

    Args:
        values: Shape (n,).
        numbers: Shape (n,); of values with equal numbers the first counts.
        confidence: Probability of the interval.
    """
    from scipy.stats import t

    kept = values.double().cpu()
    if numbers is not None:
        first: dict[int, int] = {}
        for place, number in enumerate(numbers.tolist()):
            first.setdefault(number, place)
        kept = kept[list(first.values())]
    count = len(kept)
    quantile = float(t.ppf((1 + confidence) / 2, count - 1)) if count > 1 else float("nan")
    spread = kept.std() if count > 1 else torch.tensor(float("nan"), dtype=kept.dtype)
    half_width = quantile * spread / count**0.5
    return TaskMean(kept.mean().to(values.device), half_width.to(values.device))
