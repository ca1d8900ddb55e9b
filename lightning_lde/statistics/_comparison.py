"""Comparisons between correlations: dependent differences, multiplicity, and the number of points needed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError

from ._checks import MIN_POINTS, FloatArray, finite_vector, fraction, resample_count, same_length, varying
from ._resampling import bootstrap_interval, pearson, slope


@dataclasses.dataclass(frozen=True, kw_only=True)
class DependentDifference:
    """How two quantities differ in their relation to the same x, over the same points.

    Args:
        n: Number of points.
        r_1: Correlation of x with the first quantity.
        r_2: Correlation of x with the second.
        r_squared_difference: r_1² - r_2².
        r_squared_difference_low: Lower bound of its paired bootstrap interval.
        r_squared_difference_high: Upper bound of it.
        slope_difference: First slope less the second.
        slope_difference_low: Lower bound of its paired bootstrap interval.
        slope_difference_high: Upper bound of it.
        t_williams: Williams's t for r_1 = r_2, n - 3 degrees of freedom.
        p_williams: Its two-sided p.
        confidence: Coverage that the intervals aim at.
    """

    n: int
    r_1: float
    r_2: float
    r_squared_difference: float
    r_squared_difference_low: float
    r_squared_difference_high: float
    slope_difference: float
    slope_difference_low: float
    slope_difference_high: float
    t_williams: float
    p_williams: float
    confidence: float


def compare_dependent(
    x: npt.ArrayLike,
    y1: npt.ArrayLike,
    y2: npt.ArrayLike,
    *,
    resamples: int = 9999,
    seed: int | np.random.Generator = 0,
    confidence: float = 0.95,
) -> DependentDifference:
    """Compare the relations of two quantities to one x over the same points, such as two methods.

    The intervals come from a bootstrap that draws whole points, so both quantities keep their pairing.
    Williams's test compares r and not R²: turn the sign of one quantity where a loss meets an accuracy.

    Args:
        x: Explaining quantity, shape (n,).
        y1: First explained quantity, shape (n,).
        y2: Second explained quantity, shape (n,).
        resamples: Bootstrap resamples.
        seed: Seed or generator; equal seeds give equal results.
        confidence: Coverage of the intervals, a fraction.

    Returns:
        Differences of R² and of the slope with intervals, and Williams's test.

    Raises:
        DataError: If there are fewer than four points, lengths differ, a value is not finite, or a vector
            is constant.
        ConfigurationError: If confidence is no fraction or the resamples are too few.

    Example:
        >>> x = [1, 2, 3, 4, 5, 6, 7, 8]
        >>> found = compare_dependent(x, [1, 2, 3, 4, 5, 6, 8, 7], [3, 1, 4, 1, 5, 9, 2, 6], resamples=999)
        >>> round(found.r_1, 3), round(found.r_2, 3), round(found.p_williams, 3)
        (0.976, 0.477, 0.018)

    Source: Williams (1959), JRSS B 21, 396-399, in the form of Steiger (1980), Psychological Bulletin 87,
    245-251, equation 7.
    """
    points = _three_vectors(x, y1, y2)
    fraction(confidence, "confidence")
    resample_count(resamples)
    rng = np.random.default_rng(seed)
    squares = bootstrap_interval(points, _r_squared_difference, confidence=confidence, resamples=resamples, rng=rng)
    slopes = bootstrap_interval(points, _slope_difference, confidence=confidence, resamples=resamples, rng=rng)
    first, second = float(pearson(points[0], points[1])), float(pearson(points[0], points[2]))
    t, p = _williams(first, second, float(pearson(points[1], points[2])), n=points[0].size)
    return DependentDifference(
        n=points[0].size,
        r_1=first,
        r_2=second,
        r_squared_difference=first**2 - second**2,
        r_squared_difference_low=squares[0],
        r_squared_difference_high=squares[1],
        slope_difference=float(_slope_difference(*points)),
        slope_difference_low=slopes[0],
        slope_difference_high=slopes[1],
        t_williams=t,
        p_williams=p,
        confidence=confidence,
    )


def holm(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values so that the chance of any false finding stays at the level of one test.

    Args:
        p_values: p of each test of the family, shape (m,).

    Returns:
        Adjusted p in the same order; at most 1, never below the given p.

    Raises:
        DataError: If a value is no probability.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 65-70.
    """
    values = finite_vector(p_values, "p_values", minimum=0)
    if ((values < 0.0) | (values > 1.0)).any():
        raise DataError(f"p_values={values.tolist()}, expected probabilities from 0 to 1; pass p, not a statistic.")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def n_required(r: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """The number of independent points at which a true correlation would be found significant.

    Args:
        r: True correlation; the sign does not matter.
        power: Chance of finding it.
        alpha: Level of the two-sided test.

    Returns:
        The smallest n with ((z(1 - alpha/2) + z(power)) / atanh r)² + 3 <= n, at least 4.

    Raises:
        ConfigurationError: If r is 0 or not between -1 and 1, or power or alpha is no fraction.

    Example:
        >>> n_required(0.2**0.5)
        37

    Source: Fisher (1921), Metron 1, 3-32; Hulley et al. (2013), Designing Clinical Research, appendix 6C.
    """
    if not 0.0 < abs(r) < 1.0:
        raise ConfigurationError(f"r={r!r}, expected a correlation between -1 and 1 that is not 0.")
    total = stats.norm.ppf(1.0 - fraction(alpha, "alpha") / 2.0) + stats.norm.ppf(fraction(power, "power"))
    return max(MIN_POINTS, math.ceil((float(total) / math.atanh(abs(r))) ** 2 + 3.0))


def _three_vectors(x: npt.ArrayLike, y1: npt.ArrayLike, y2: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    vectors = tuple(
        finite_vector(values, name, minimum=MIN_POINTS) for values, name in ((x, "x"), (y1, "y1"), (y2, "y2"))
    )
    for values, name in zip(vectors, ("x", "y1", "y2"), strict=True):
        same_length(vectors[0], values, f"x and {name}")
        varying(values, name)
    return vectors[0], vectors[1], vectors[2]


def _r_squared_difference(x: FloatArray, y1: FloatArray, y2: FloatArray, *, axis: int = -1) -> FloatArray:
    return np.asarray(pearson(x, y1, axis=axis) ** 2 - pearson(x, y2, axis=axis) ** 2)


def _slope_difference(x: FloatArray, y1: FloatArray, y2: FloatArray, *, axis: int = -1) -> FloatArray:
    return slope(x, y1 - y2, axis=axis)


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
