"""The final figures of a curve, and of several runs that differ only in the seed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_lde.statistics import Interval

_LOWER = frozenset(
    {"loss", "losses", "error", "errors", "perplexity", "ppl", "mse", "rmse", "mae", "nll", "wer", "cer"}
)
_HIGHER = frozenset({"acc", "accuracy", "auc", "auroc", "f1", "precision", "recall", "iou", "miou", "bleu", "reward"})

Point = tuple[int | None, float]


@dataclass(frozen=True, kw_only=True)
class CurveFigures:
    """What a curve ends with.

    Attributes:
        n: Number of points.
        last: Step and value of the last point.
        lowest: Step and value of the first lowest point; None if all are NaN.
        highest: Step and value of the first highest point; None if all are NaN.
        window: The mean of the last points that are finite, with Student's t interval over them; None if none is.
            The points of a curve are not independent, so the interval is no confidence in what training would give
            again: that takes repetitions.
        n_window: Points the window was taken of, those that are not finite included.
    """

    n: int
    last: Point
    lowest: Point | None
    highest: Point | None
    window: Interval | None
    n_window: int


def curve_figures(points: Sequence[Point], *, window: int) -> CurveFigures:
    """The last value, the extremes, and the mean of the last points.

    Args:
        points: Steps and values in the order in which they count, at least one.
        window: How many of the last points the mean is taken over, at most.

    Example:
        >>> found = curve_figures([(0, 3.0), (1, 1.0), (2, 2.0), (3, float("nan"))], window=3)
        >>> found.last, found.lowest, found.window.mean, found.window.n, found.n_window
        ((3, nan), (1, 1.0), 1.5, 2, 3)
    """
    numbers = [point for point in points if not math.isnan(point[1])]
    tail = list(points[-window:])
    return CurveFigures(
        n=len(points),
        last=points[-1],
        lowest=min(numbers, key=_value, default=None),
        highest=max(numbers, key=_value, default=None),
        window=interval_of([value for _, value in tail]),
        n_window=len(tail),
    )


def interval_of(values: Sequence[float]) -> Interval | None:
    """The mean of the finite values with its 95 % interval; None if there is none."""
    from lightning_lde.statistics import mean_interval

    finite = [value for value in values if math.isfinite(value)]
    return mean_interval(finite) if finite else None


def better(name: str) -> str | None:
    """Which values of a metric are better by the words of its name: ``"lowest"``, ``"highest"``, or None.

    Example:
        >>> better("val/loss_epoch"), better("test_accuracy"), better("grad_norm")
        ('lowest', 'highest', None)
    """
    words = set(re.findall(r"[a-z]+[0-9]?", name.lower()))
    low, high = bool(words & _LOWER), bool(words & _HIGHER)
    return None if low == high else ("lowest" if low else "highest")


def _value(point: Point) -> float:
    return point[1]
