"""Two quantities against one x over the same points: how their correlations and slopes differ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from ._checks import (
    MIN_POINTS,
    FloatArray,
    IntArray,
    finite_vector,
    fraction,
    resample_count,
    same_length,
    varying,
)
from ._linear import partial_out
from ._moments import Jackknife, cluster_moments, correlations_of, fisher_z, jackknife
from ._regression import cluster_numbers, fisher_interval
from ._resampling import pearson, squared_range
from ._wild import WildBootstrap, wild_cluster_bootstrap

Bounds = tuple[float, float]

_SAME = 1.0 - 1e-12
_ROUNDING = 1e-13


@dataclasses.dataclass(frozen=True, kw_only=True)
class DependentDifference:
    """How two quantities differ in their relation to the same x, over the same points.

    Where clusters hold several points, Williams's test is nan, and the intervals of differences of r and R² rest
    on a jackknife over clusters.

    Args:
        n: Number of points.
        n_clusters: Number of clusters; n where each point is one.
        r_1: Correlation of x with the first quantity.
        r_2: Correlation of x with the second.
        r_difference: r_1 - r_2.
        r_difference_low: Lower bound of its interval (Zou).
        r_difference_high: Upper bound of it.
        r_squared_difference: r_1² - r_2².
        r_squared_difference_low: Lower bound of its interval.
        r_squared_difference_high: Upper bound of it.
        slope_difference: First slope less the second.
        slope_difference_low: Lower bound of its wild cluster bootstrap interval, pairs kept.
        slope_difference_high: Upper bound of it.
        p_slope_difference: Two-sided p of equal slopes by that bootstrap.
        t_williams: Williams's t for r_1 = r_2, n - 3 degrees of freedom.
        p_williams: Its two-sided p.
        p_jackknife: Two-sided p of r_1 = r_2 by the jackknife of the difference of Fisher's z over clusters, t with
            n_clusters - 1 degrees of freedom; nan for a perfect correlation.
        confidence: Coverage that the intervals aim at.
    """

    n: int
    n_clusters: int
    r_1: float
    r_2: float
    r_difference: float
    r_difference_low: float
    r_difference_high: float
    r_squared_difference: float
    r_squared_difference_low: float
    r_squared_difference_high: float
    slope_difference: float
    slope_difference_low: float
    slope_difference_high: float
    p_slope_difference: float
    t_williams: float
    p_williams: float
    p_jackknife: float
    confidence: float


def compare_dependent(
    x: npt.ArrayLike,
    y1: npt.ArrayLike,
    y2: npt.ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 9999,
    seed: int | np.random.Generator = 0,
    confidence: float = 0.95,
) -> DependentDifference:
    """Compare the relations of two quantities to one x over the same points, such as two methods.

    Slopes are compared by the regression of y1 - y2 on x, which keeps the pairs. Williams's test compares r and
    not R²: turn the sign of one quantity where a loss meets an accuracy. r and slope answer different questions:
    a method whose results scatter less has the larger r at the same slope.

    Args:
        x: Explaining quantity, shape (n,).
        y1: First explained quantity, shape (n,).
        y2: Second explained quantity, shape (n,).
        clusters: What is independent, n labels, such as the family of each data set; by default each point is.
        resamples: Bootstrap resamples.
        seed: Seed or generator; equal seeds give equal results.
        confidence: Coverage of the intervals, a fraction.

    Returns:
        Differences of r, R² and slope with intervals, and Williams's test.

    Raises:
        DataError: If there are fewer than four points or clusters, lengths differ, a value is not finite, or a
            vector is constant.
        ConfigurationError: If confidence is no fraction or the resamples are too few.

    Example:
        >>> x = [1, 2, 3, 4, 5, 6, 7, 8]
        >>> found = compare_dependent(x, [1, 2, 3, 4, 5, 6, 8, 7], [3, 1, 4, 1, 5, 9, 2, 6], resamples=999)
        >>> round(found.r_1, 3), round(found.r_2, 3), round(found.p_williams, 3)
        (0.976, 0.477, 0.018)

    Source: Williams (1959), JRSS B 21, 396-399, in the form of Steiger (1980), Psychological Bulletin 87,
    245-251, equation 7; Zou (2007), Psychological Methods 12, 399-413 (intervals); Efron and Stein (1981), Ann.
    Statist. 9, 586-596 (jackknife over clusters).
    """
    points = _three_vectors(x, y1, y2)
    fraction(confidence, "confidence")
    resample_count(resamples)
    labels = cluster_numbers(clusters, points[0].size)
    n_clusters = int(labels.max()) + 1
    rng = np.random.default_rng(seed)
    wild, slope = _slopes(*points, labels, confidence=confidence, resamples=resamples, rng=rng)
    first, second = float(pearson(points[0], points[1])), float(pearson(points[0], points[2]))
    between = float(pearson(points[1], points[2]))
    over_clusters = _jackknives(points, labels)
    if n_clusters == points[0].size:
        of_r, of_squares = _zou(first, second, between, n=n_clusters, confidence=confidence)
        t, p = _williams(first, second, between, n=n_clusters)
    else:
        of_r, of_squares = _zou_over_clusters(first, second, between, over_clusters, confidence=confidence)
        t, p = math.nan, math.nan
    return DependentDifference(
        n=points[0].size,
        n_clusters=n_clusters,
        r_1=first,
        r_2=second,
        r_difference=first - second,
        r_difference_low=of_r[0],
        r_difference_high=of_r[1],
        r_squared_difference=first**2 - second**2,
        r_squared_difference_low=of_squares[0],
        r_squared_difference_high=of_squares[1],
        slope_difference=slope,
        slope_difference_low=wild.low,
        slope_difference_high=wild.high,
        p_slope_difference=wild.p,
        t_williams=t,
        p_williams=p,
        p_jackknife=over_clusters[2].p,
        confidence=confidence,
    )


def _three_vectors(x: npt.ArrayLike, y1: npt.ArrayLike, y2: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    vectors = tuple(
        finite_vector(values, name, minimum=MIN_POINTS) for values, name in ((x, "x"), (y1, "y1"), (y2, "y2"))
    )
    for values, name in zip(vectors, ("x", "y1", "y2"), strict=True):
        same_length(vectors[0], values, f"x and {name}")
        varying(values, name)
    return vectors[0], vectors[1], vectors[2]


def _slopes(
    x: FloatArray,
    y1: FloatArray,
    y2: FloatArray,
    clusters: IntArray,
    *,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[WildBootstrap, float]:
    difference = y1 - y2
    if np.linalg.norm(difference - difference.mean()) <= _ROUNDING * np.linalg.norm(y1):
        return WildBootstrap(0.0, 0.0, 1.0), 0.0
    partial = partial_out(x, difference, {})
    return wild_cluster_bootstrap(partial, clusters, confidence=confidence, resamples=resamples, rng=rng), partial.slope


def _zou(first: float, second: float, between: float, *, n: int, confidence: float) -> tuple[Bounds, Bounds]:
    """Intervals of r_1 - r_2 and of r_1² - r_2² over independent points."""
    one, two = (fisher_interval(r, n, confidence=confidence) for r in (first, second))
    if abs(between) > _SAME:
        return _of_same(one, between)
    determinant = 1.0 - first**2 - second**2 - between**2
    scale = (1.0 - first**2) * (1.0 - second**2)
    together = ((between - first * second / 2.0) * determinant + between**3) / scale if scale > 0.0 else 0.0
    return _both_differences(first, one, second, two, together)


def _zou_over_clusters(
    first: float, second: float, between: float, jackknives: tuple[Jackknife, ...], *, confidence: float
) -> tuple[Bounds, Bounds]:
    """The same over clusters, with all that Fisher's z gives for independent points from a jackknife."""
    of_first, of_second, of_difference = jackknives
    one, two = ((math.tanh(low), math.tanh(high)) for low, high in (j.bounds(confidence) for j in jackknives[:2]))
    if abs(between) > _SAME:
        return _of_same(one, between)
    product = 2.0 * of_first.error * of_second.error
    shared = of_first.error**2 + of_second.error**2 - of_difference.error**2
    together = float(np.clip(shared / product, -1.0, 1.0)) if product > 0.0 else math.nan
    return _both_differences(first, one, second, two, together)


def _jackknives(points: tuple[FloatArray, FloatArray, FloatArray], clusters: IntArray) -> tuple[Jackknife, ...]:
    """Fisher's z of both correlations, and their difference, over clusters."""
    moments = cluster_moments(points, clusters)
    return tuple(jackknife(moments, statistic) for statistic in (_first_z, _second_z, _z_difference))


def _first_z(moments: FloatArray) -> FloatArray:
    return fisher_z(correlations_of(moments)[..., 0, 1])


def _second_z(moments: FloatArray) -> FloatArray:
    return fisher_z(correlations_of(moments)[..., 0, 2])


def _z_difference(moments: FloatArray) -> FloatArray:
    return np.asarray(_first_z(moments) - _second_z(moments), dtype=np.float64)


def _of_same(bounds: Bounds, between: float) -> tuple[Bounds, Bounds]:
    """The intervals where one quantity is the other in another unit, perhaps with the sign turned."""
    low, high = bounds if between < 0.0 else (0.0, 0.0)
    return (2.0 * low, 2.0 * high), (0.0, 0.0)


def _both_differences(first: float, one: Bounds, second: float, two: Bounds, together: float) -> tuple[Bounds, Bounds]:
    """The bounds of each r, and of each r², put together by how both r vary together."""
    of_r = _put_together(first, one, second, two, together)
    # The squares vary together with the sign of the product of both r.
    signed = math.copysign(together, together * first * second)
    return of_r, _put_together(first**2, squared_range(*one), second**2, squared_range(*two), signed)


def _put_together(first: float, one: Bounds, second: float, two: Bounds, together: float) -> Bounds:
    difference = first - second
    down = _reach(first - one[0], two[1] - second, together)
    return difference - down, difference + _reach(one[1] - first, second - two[0], together)


def _reach(first: float, second: float, together: float) -> float:
    square = first**2 + second**2 - 2.0 * together * first * second
    return 0.0 if square < 0.0 else math.sqrt(square)


def _williams(first: float, second: float, between: float, *, n: int) -> tuple[float, float]:
    determinant = 1.0 - first**2 - second**2 - between**2 + 2.0 * first * second * between
    mean = (first + second) / 2.0
    variance = 2.0 * (n - 1) / (n - 3) * max(determinant, 0.0) + mean**2 * (1.0 - between) ** 3
    difference = first - second
    if math.isclose(difference, 0.0, abs_tol=1e-12):
        return 0.0, 1.0
    if variance * (1.0 + between) <= 0.0:
        return math.nan, math.nan
    t = difference * math.sqrt((n - 1) * (1.0 + between) / variance)
    return t, float(2.0 * stats.t.sf(abs(t), n - 3))
