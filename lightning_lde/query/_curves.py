"""Two curves of one metric, point by point: where they part, and how far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lightning_lde.errors import ConfigurationError
from lightning_lde.query._points import DEFAULT_TOLERANCE, difference, is_near, numbered, paired

Points = Iterable[tuple[int | None, float]] | Mapping[int, float]


@dataclass(frozen=True)
class PairedPoint:
    """The values that two curves have at one step.

    Attributes:
        step: The step; None for points that were logged without one, which are paired in their order.
        first: The first curve's value.
        second: The second's.
        difference: How far they are apart, never negative; infinite where only one is NaN or infinite.
    """

    step: int | None
    first: float
    second: float
    difference: float


@dataclass(frozen=True, kw_only=True)
class CurveDifference:
    """How two curves differ.

    Attributes:
        tolerance: Relative tolerance, as in ``math.isclose``.
        absolute_tolerance: Absolute tolerance.
        n_first: Points of the first curve.
        n_second: Points of the second.
        n_common: Points that both have.
        n_different: Common points whose values are not equal; NaN equals NaN.
        n_beyond: Common points whose values are further apart than the tolerances; one NaN is beyond any.
        first_unpaired: The lowest step that only one curve has; None where there is none.
        first_different: Where they part, None if nowhere.
        first_beyond: Where they first are further apart than the tolerances, None if nowhere.
        largest: Where they are furthest apart, the first of equals; None if nowhere.
        mean_absolute_difference: Mean distance over the ``n_mean`` common points where it is finite; nan for none.
        n_mean: Number of those points.
    """

    tolerance: float
    absolute_tolerance: float
    n_first: int
    n_second: int
    n_common: int
    n_different: int
    n_beyond: int
    first_unpaired: int | None
    first_different: PairedPoint | None
    first_beyond: PairedPoint | None
    largest: PairedPoint | None
    mean_absolute_difference: float
    n_mean: int

    @property
    def has_same_points(self) -> bool:
        """Whether each point of one has its partner in the other."""
        return self.n_first == self.n_second == self.n_common

    @property
    def is_identical(self) -> bool:
        """Whether both have the same points with the same values, bit for bit but for the sign of zero."""
        return self.has_same_points and self.n_different == 0

    @property
    def is_within_tolerance(self) -> bool:
        """Whether both have the same points and none is beyond the tolerances."""
        return self.has_same_points and self.n_beyond == 0

    def as_dict(self) -> dict[str, Any]:
        """All of it, with the two verdicts."""
        verdicts = {"is_identical": self.is_identical, "is_within_tolerance": self.is_within_tolerance}
        return {**asdict(self), **verdicts}


def compare_curves(
    first: Points, second: Points, *, tolerance: float = DEFAULT_TOLERANCE, absolute_tolerance: float = 0.0
) -> CurveDifference:
    """Compare two curves at the steps that both have.

    Several points at one step are paired in their order, and so are points without a step. Two values are within the
    tolerance if ``|a - b| <= max(tolerance * max(|a|, |b|), absolute_tolerance)``. Equal infinities and two NaN are
    equal; a NaN against a number, or an infinity against anything else, is infinitely far.

    Args:
        first: Steps and values in the order in which they were logged.
        second: The other curve.
        tolerance: Relative, 0 or more and less than 1.
        absolute_tolerance: Absolute, for metrics that come near zero.

    Returns:
        Counts, the first points that differ, the largest and the mean difference.

    Raises:
        ConfigurationError: If a tolerance cannot be one.

    Example:
        >>> found = compare_curves({1: 0.5, 2: 0.25, 3: 0.125}, {1: 0.5, 2: 0.26, 4: 0.1}, tolerance=0.1)
        >>> found.n_common, found.first_different, found.first_beyond, found.first_unpaired
        (2, PairedPoint(step=2, first=0.25, second=0.26, difference=0.010000000000000009), None, 3)
    """
    if not 0.0 <= tolerance < 1.0:
        raise ConfigurationError(f"tolerance={tolerance!r}, expected a fraction from 0 to below 1 such as 1e-6.")
    if not 0.0 <= absolute_tolerance < math.inf:
        raise ConfigurationError(f"absolute_tolerance={absolute_tolerance!r}, expected a number of 0 or more.")
    ours, theirs = (numbered(each.items() if isinstance(each, Mapping) else each) for each in (first, second))
    found = paired(ours, theirs)
    points = [PairedPoint(step, one, other, difference(one, other)) for (step, _), one, other in found.pairs]
    points.sort(key=_by_step)
    different = [point for point in points if point.difference > 0.0]
    beyond = [
        point
        for point in different
        if not is_near(point.first, point.second, tolerance=tolerance, absolute_tolerance=absolute_tolerance)
    ]
    finite = [point.difference for point in points if math.isfinite(point.difference)]
    unpaired = [step for step, _ in (*found.only_first, *found.only_second) if step is not None]
    return CurveDifference(
        tolerance=tolerance,
        absolute_tolerance=absolute_tolerance,
        n_first=len(ours),
        n_second=len(theirs),
        n_common=len(points),
        n_different=len(different),
        n_beyond=len(beyond),
        first_unpaired=min(unpaired, default=None),
        first_different=different[0] if different else None,
        first_beyond=beyond[0] if beyond else None,
        largest=max(different, key=lambda point: point.difference, default=None),
        mean_absolute_difference=_mean(finite),
        n_mean=len(finite),
    )


def _by_step(point: PairedPoint) -> tuple[bool, int]:
    return point.step is None, point.step or 0


def _mean(values: list[float]) -> float:
    # Divided first: a sum of large differences may overflow where their mean does not.
    return math.fsum(value / len(values) for value in values) if values else math.nan
