"""The verdict over two runs: identical, within tolerance, incomplete, or diverged, and where."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lightning_lde.query import DEFAULT_TOLERANCE, Pairing, is_near, paired, relative_difference, same_bits
from lightning_lde.reproduce._facts import Point, Recorded

IDENTICAL = "identical"
WITHIN_TOLERANCE = "within tolerance"
INCOMPLETE = "incomplete"
DIVERGED = "diverged"

_Metric = tuple[str, str | None, int | None]


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
    differences = (relative_difference(one, other) for _, one, other in paired(before.points, now.points).pairs)
    worst = metrics[0] if DIVERGED in words else None
    if DIVERGED in words or (end is False and words <= {IDENTICAL}):
        word = DIVERGED
    elif INCOMPLETE in words or one_sided_weights or (not metrics and end is None):
        word = INCOMPLETE
    else:
        word = IDENTICAL if words <= {IDENTICAL} else WITHIN_TOLERANCE
    return Verdict(
        word=word,
        step=None if worst is None else worst.step,
        metric=None if worst is None else worst.name,
        tolerance=tolerance,
        metrics=tuple(metrics),
        weights_start=start,
        weights_end=end,
        first_difference=next(filter(None, differences), 0.0),
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
    order = {point: number for number, point in enumerate(before)}
    ours, theirs = _by_metric(before), _by_metric(now)
    found = []
    for metric in dict.fromkeys((*ours, *theirs)):
        pairing = paired(ours.get(metric, {}), theirs.get(metric, {}))
        far = [point for point, *pair in pairing.pairs if not is_near(*pair, tolerance=tolerance)]
        place = order[far[0]] if far else len(order)
        found.append((place, _judge(metric, pairing, far)))
    return [verdict for _, verdict in sorted(found, key=lambda one: one[0])]


def _by_metric(points: Mapping[Point, float]) -> dict[_Metric, dict[Point, float]]:
    groups: dict[_Metric, dict[Point, float]] = {}
    for point, value in points.items():
        groups.setdefault((point.name, point.context, point.dataloader_idx), {})[point] = value
    return groups


def _judge(metric: _Metric, pairing: Pairing[Point], far: list[Point]) -> MetricVerdict:
    unequal = [pair for _, *pair in pairing.pairs if not same_bits(*pair)]
    if far:
        word = DIVERGED
    elif pairing.only_first or pairing.only_second:
        word = INCOMPLETE
    else:
        word = WITHIN_TOLERANCE if unequal else IDENTICAL
    differences = [relative_difference(*pair) for pair in unequal]
    return MetricVerdict(
        *metric,
        verdict=word,
        n_points=len(pairing.pairs),
        n_equal=len(pairing.pairs) - len(unequal),
        n_missing=len(pairing.only_first),
        n_more=len(pairing.only_second),
        step=far[0].step if far else None,
        first_difference=differences[0] if differences else 0.0,
        largest_difference=max(differences, default=0.0),
    )


def _same(before: Recorded, now: Recorded, column: str) -> bool | None:
    one, other = before.run[column], now.run[column]
    return None if one is None or other is None else one == other
