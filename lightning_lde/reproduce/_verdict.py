"""The verdict over two runs: identical, within tolerance, incomplete, or diverged, and where."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Mapping

from lightning_lde.reproduce._facts import Point, Recorded

IDENTICAL = "identical"
WITHIN_TOLERANCE = "within tolerance"
INCOMPLETE = "incomplete"
DIVERGED = "diverged"

DEFAULT_TOLERANCE = 1e-6
"""Largest relative difference of two values that count as the same."""


@dataclasses.dataclass(frozen=True)
class MetricVerdict:
    """One metric of two runs, point by point.

    Attributes:
        name: The metric.
        context: Where it was logged.
        dataloader_idx: The data loader.
        verdict: The word for it.
        n_points: Points that both runs have.
        n_equal: Those that are equal to the last bit.
        n_missing: Points that only the reproduced run has.
        n_more: Points that only the reproduction has.
        step: The step of the first point that is not within the tolerance, None where there is none.
        first_difference: The relative difference of the first point that is not equal.
        largest_difference: The largest relative difference.
    """

    name: str
    context: str | None
    dataloader_idx: int | None
    verdict: str
    n_points: int
    n_equal: int
    n_missing: int
    n_more: int
    step: int | None
    first_difference: float
    largest_difference: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Two runs.

    Attributes:
        word: ``"identical"``, ``"within tolerance"``, ``"incomplete"`` or ``"diverged"``.
        step: The step of the first point that diverged, None where none did or it has no step.
        metric: Its metric, None where none diverged.
        tolerance: The largest relative difference that counts as the same.
        metrics: Each metric for itself.
        weights_start: Whether the weights were the same at the start, None where that is not known.
        weights_end: Whether they were at the end.
        first_difference: The relative difference of the first point that is not equal, zero where all are.
    """

    word: str
    step: int | None
    metric: str | None
    tolerance: float
    metrics: tuple[MetricVerdict, ...]
    weights_start: bool | None
    weights_end: bool | None
    first_difference: float = 0.0

    @property
    def sentence(self) -> str:
        """The verdict in a few words."""
        if self.word != DIVERGED:
            return self.word if self.word != WITHIN_TOLERANCE else f"{self.word} of {self.tolerance:g}, relative"
        if self.metric is None:
            return f"{self.word}: the weights at the end differ"
        return f"{self.word} at step {'?' if self.step is None else self.step}, {self.metric}"

    @property
    def n_points(self) -> int:
        """Points that both runs have."""
        return sum(metric.n_points for metric in self.metrics)


def verdict_of(before: Recorded, now: Recorded, *, tolerance: float = DEFAULT_TOLERANCE) -> Verdict:
    """Compare a run with its reproduction.

    It is identical if both have the same points, each equal to the last bit, and the weights at the end are the same.

    Args:
        before: The run.
        now: Its reproduction.
        tolerance: The largest relative difference that counts as the same.
    """
    metrics = compare_points(before.points, now.points, tolerance=tolerance)
    # Of a run that went on, the weights are known that its first process started with.
    start = None if before.went_on else _same(before, now, "weights_start_id")
    end = _same(before, now, "weights_end_id")
    one_sided_weights = (before.run["weights_end_id"] is None) != (now.run["weights_end_id"] is None)
    words = {metric.verdict for metric in metrics}
    first = _first_difference(before.points, now.points, tolerance=0.0)
    place = _first_difference(before.points, now.points, tolerance=tolerance)
    if DIVERGED in words or (end is False and words <= {IDENTICAL}):
        word = DIVERGED
    elif INCOMPLETE in words or one_sided_weights or (not metrics and end is None):
        word = INCOMPLETE
    else:
        word = IDENTICAL if words <= {IDENTICAL} else WITHIN_TOLERANCE
    return Verdict(
        word=word,
        step=None if place is None else place.step,
        metric=None if place is None else place.name,
        tolerance=tolerance,
        metrics=tuple(metrics),
        weights_start=start,
        weights_end=end,
        first_difference=0.0 if first is None else relative_difference(before.points[first], now.points[first]),
    )


def compare_points(
    before: Mapping[Point, float], now: Mapping[Point, float], *, tolerance: float
) -> list[MetricVerdict]:
    """Compare metrics point by point; the first that diverged stands first.

    Args:
        before: The values of one run, in their order.
        now: Those of the other one.
        tolerance: The largest relative difference that counts as the same.

    Example:
        >>> place = Point(0, "loss", "train", None, 1, 0)
        >>> compare_points({place: 1.0}, {place: 1.0}, tolerance=0.0)[0].verdict
        'identical'
    """
    groups: dict[tuple[str, str | None, int | None], list[Point]] = {}
    for point in dict.fromkeys((*before, *now)):
        groups.setdefault((point.name, point.context, point.dataloader_idx), []).append(point)
    order = {point: number for number, point in enumerate(before)}
    found = []
    for place, points in groups.items():
        both = [point for point in points if point in before and point in now]
        far = [point for point in both if relative_difference(before[point], now[point]) > tolerance]
        found.append((order[far[0]] if far else len(order), _judge(place, points, both, far, before, now)))
    return [verdict for _, verdict in sorted(found, key=lambda one: one[0])]


def _judge(
    place: tuple[str, str | None, int | None],
    points: list[Point],
    both: list[Point],
    far: list[Point],
    before: Mapping[Point, float],
    now: Mapping[Point, float],
) -> MetricVerdict:
    unequal = [point for point in both if not same_bits(before[point], now[point])]
    missing = [point for point in points if point not in now]
    more = [point for point in points if point not in before]
    if far:
        word = DIVERGED
    elif missing or more:
        word = INCOMPLETE
    else:
        word = WITHIN_TOLERANCE if unequal else IDENTICAL
    differences = [relative_difference(before[point], now[point]) for point in unequal]
    return MetricVerdict(
        *place,
        verdict=word,
        n_points=len(both),
        n_equal=len(both) - len(unequal),
        n_missing=len(missing),
        n_more=len(more),
        step=far[0].step if far else None,
        first_difference=differences[0] if differences else 0.0,
        largest_difference=max(differences, default=0.0),
    )


def same_bits(one: float, other: float) -> bool:
    """Whether two numbers are equal to the last bit; all that are not a number are the same.

    Example:
        >>> same_bits(0.0, -0.0), same_bits(float("nan"), float("nan"))
        (False, True)
    """
    return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)


def relative_difference(one: float, other: float) -> float:
    """The difference of two numbers relative to the larger one; infinite where only one of them is finite.

    Example:
        >>> relative_difference(2.0, 1.0), relative_difference(float("inf"), float("inf"))
        (0.5, 0.0)
    """
    if one == other or same_bits(one, other):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(one - other) / max(abs(one), abs(other))


def _first_difference(before: Mapping[Point, float], now: Mapping[Point, float], *, tolerance: float) -> Point | None:
    """The first point, as they came, that differs by more than the tolerance."""
    for point, value in before.items():
        if point in now and relative_difference(value, now[point]) > tolerance:
            return point
    return None


def _same(before: Recorded, now: Recorded, column: str) -> bool | None:
    one, other = before.run[column], now.run[column]
    return None if one is None or other is None else one == other
