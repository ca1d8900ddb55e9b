"""The correlation of two quantities over data sets, with all that a single R² hides."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from ._checks import (
    MIN_POINTS,
    FloatArray,
    finite_vector,
    fraction,
    is_constant,
    resample_count,
    same_length,
    varying,
)
from ._resampling import bootstrap_interval, pearson, slope, squared_range


@dataclasses.dataclass(frozen=True, kw_only=True)
class Correlation:
    """A least-squares line through points, the correlation, and how far each can be trusted.

    Args:
        n: Number of points.
        slope: Least-squares slope, units of y per unit of x.
        slope_low: Lower bound of the t interval of the slope, n - 2 degrees of freedom.
        slope_high: Upper bound of it.
        intercept: Value of the line at x = 0.
        r: Pearson's correlation; nan where y is constant.
        r_low: Lower bound of the bootstrap interval over points.
        r_high: Upper bound of it.
        r_squared: Share of the variance of y that the line explains.
        r_squared_low: Smallest square of any r in the interval of r: 0 where that interval holds 0.
        r_squared_high: Largest square of any r in the interval of r.
        r_squared_adjusted: R² less what chance gives: 1 - (1 - R²)(n - 1)/(n - 2).
        p_permutation: Two-sided p when y is permuted over the points; exact if n! is at most the resamples.
        leave_one_out_low: Smallest R² when one point is left out; nan if one such R² does not exist.
        leave_one_out_high: Largest of them.
        slope_leave_one_out_low: Smallest slope when one point is left out; nan if one does not exist.
        slope_leave_one_out_high: Largest of them.
        confidence: Coverage that the intervals aim at.
    """

    n: int
    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    r: float
    r_low: float
    r_high: float
    r_squared: float
    r_squared_low: float
    r_squared_high: float
    r_squared_adjusted: float
    p_permutation: float
    leave_one_out_low: float
    leave_one_out_high: float
    slope_leave_one_out_low: float
    slope_leave_one_out_high: float
    confidence: float


def correlate(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int | np.random.Generator = 0,
) -> Correlation:
    """Correlate two quantities over independent points, one point a data set.

    Repetitions of one data set are not independent: average them to one point first. The interval of r is BCa
    over points, or percentile where BCa does not exist. If y is constant, the slope is 0 with the interval
    [0, 0], p is 1, and r with all that derives from it is nan; a constant x is refused.

    Args:
        x: Explaining quantity, shape (n,).
        y: Explained quantity, shape (n,).
        confidence: Coverage of the intervals, a fraction.
        resamples: Bootstrap resamples, and the most permutations.
        seed: Seed or generator; equal seeds give equal results.

    Returns:
        The line, the correlation and their uncertainty.

    Raises:
        DataError: If there are fewer than four points, lengths differ, a value is not finite, or x is
            constant.
        ConfigurationError: If confidence is no fraction or the resamples are too few.

    Example:
        >>> found = correlate([1, 2, 3, 4, 5, 6], [1.1, 1.9, 3.2, 3.9, 5.1, 6.0])
        >>> found.n, round(found.slope, 3), round(found.r_squared, 3), round(found.p_permutation, 4)
        (6, 0.994, 0.996, 0.0028)

    Source: Efron (1987), JASA 82, 171-185 (BCa); Phipson and Smyth (2010), arXiv 1603.05766 (permutation p).
    """
    x_values, y_values = _points(x, y)
    fraction(confidence, "confidence")
    resample_count(resamples)
    rng = np.random.default_rng(seed)
    slope_now, half_width, intercept = _line(x_values, y_values, confidence=confidence)
    r_low, r_high, p = _resampled(x_values, y_values, confidence=confidence, resamples=resamples, rng=rng)
    r = math.nan if is_constant(y_values) else float(pearson(x_values, y_values))
    squared_low, squared_high = squared_range(r_low, r_high)
    slopes, squares = _leave_one_out(x_values, y_values)
    return Correlation(
        n=x_values.size,
        slope=slope_now,
        slope_low=slope_now - half_width,
        slope_high=slope_now + half_width,
        intercept=intercept,
        r=r,
        r_low=r_low,
        r_high=r_high,
        r_squared=r**2,
        r_squared_low=squared_low,
        r_squared_high=squared_high,
        r_squared_adjusted=1.0 - (1.0 - r**2) * (x_values.size - 1) / (x_values.size - 2),
        p_permutation=p,
        leave_one_out_low=float(squares.min()),
        leave_one_out_high=float(squares.max()),
        slope_leave_one_out_low=float(slopes.min()),
        slope_leave_one_out_high=float(slopes.max()),
        confidence=confidence,
    )


def regression_band(
    x: npt.ArrayLike, y: npt.ArrayLike, at: npt.ArrayLike, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The least-squares line and the pointwise confidence band of the mean of y.

    Args:
        x: Explaining quantity, shape (n,).
        y: Explained quantity, shape (n,).
        at: Places to evaluate, shape (m,).
        confidence: Coverage at each place, a fraction.

    Returns:
        Mean, lower and upper bound, each of shape (m,): mean ± t(n - 2) s sqrt(1/n + (at - x̄)²/Sxx).

    Raises:
        DataError: As for :func:`correlate`.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> mean, low, high = regression_band([0, 1, 2, 3], [0, 1, 2, 4], [0, 10])
        >>> mean.round(2).tolist(), bool(high[1] - low[1] > high[0] - low[0])
        ([-0.2, 12.8], True)

    Source: Draper and Smith (1998), Applied Regression Analysis, 3rd ed., section 3.1.
    """
    x_values, y_values = _points(x, y)
    places = finite_vector(at, "at")
    line = stats.linregress(x_values, y_values)
    mean = line.intercept + line.slope * places
    squares = float(((x_values - x_values.mean()) ** 2).sum())
    spread = float(line.stderr) * np.sqrt(squares / x_values.size + (places - x_values.mean()) ** 2)
    margin = float(stats.t.ppf(0.5 + fraction(confidence, "confidence") / 2.0, x_values.size - 2)) * spread
    return mean, mean - margin, mean + margin


def _points(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x_values = finite_vector(x, "x", minimum=MIN_POINTS)
    y_values = finite_vector(y, "y", minimum=MIN_POINTS)
    same_length(x_values, y_values, "x and y")
    varying(x_values, "x")
    return x_values, y_values


def _line(x: FloatArray, y: FloatArray, *, confidence: float) -> tuple[float, float, float]:
    if is_constant(y):
        return 0.0, 0.0, float(y.mean())
    line = stats.linregress(x, y)
    half_width = float(stats.t.ppf(0.5 + confidence / 2.0, x.size - 2)) * float(line.stderr)
    return float(line.slope), half_width, float(line.intercept)


def _resampled(
    x: FloatArray, y: FloatArray, *, confidence: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    if is_constant(y):
        return math.nan, math.nan, 1.0
    low, high = bootstrap_interval((x, y), pearson, confidence=confidence, resamples=resamples, rng=rng)
    method = stats.PermutationMethod(n_resamples=resamples, batch=1000, rng=rng)
    return low, high, float(stats.pearsonr(x, y, method=method).pvalue)


def _leave_one_out(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    kept = np.array([np.delete(np.arange(x.size), left_out) for left_out in range(x.size)])
    return slope(x[kept], y[kept]), pearson(x[kept], y[kept]) ** 2
