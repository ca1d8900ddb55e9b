"""The regression of a metric on diversity beside covariates, with every way to doubt its slope."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import DataError

from ._checks import MIN_POINTS, FloatArray, IntArray, fraction, resample_count
from ._design import level_numbers
from ._linear import Coefficient, Partial, coefficients, partial_out, predictor_columns, try_partial_out
from ._moments import cluster_moments, jackknife, partial_z_of
from ._permutation import freedman_lane
from ._resampling import squared_range
from ._wild import WildBootstrap, wild_cluster_bootstrap


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regression:
    """A least-squares slope beside covariates, and how far it can be trusted.

    Where clusters hold several points, what needs independent points is nan: the t intervals, their p and
    ``p_permutation``. The bootstrap's figures hold in both cases.

    Args:
        n: Number of points.
        n_clusters: Number of clusters; n where each point is one.
        slope: Slope of x with the covariates held fixed, units of y per unit of x.
        slope_low: Lower bound of its t interval, n - 2 - covariates degrees of freedom.
        slope_high: Upper bound of it.
        slope_bootstrap_low: Lower bound of its wild cluster bootstrap interval, also right for errors of unequal
            variance; minus infinity where the clusters are too few to have one.
        slope_bootstrap_high: Upper bound of it.
        intercept: Value of the fit where x and all covariates are 0.
        p: Two-sided p of t.
        p_permutation: Two-sided p by permutation of the residuals without x (Freedman and Lane).
        p_bootstrap: Two-sided p of the wild cluster bootstrap.
        r_partial: Correlation of x and y with the covariates held fixed; Pearson's r without any.
        r_partial_low: Lower bound of its interval by Fisher's z; where clusters hold several points, with the
            standard error of a jackknife over clusters.
        r_partial_high: Upper bound of it.
        r_squared: Share of the variance of y that x and the covariates explain.
        r_squared_adjusted: The same less what chance gives.
        r_squared_covariates: Share that the covariates explain without x.
        r_squared_partial: Share of what the covariates leave that x explains, r_partial².
        r_squared_partial_low: Smallest square of any r in the interval of r_partial.
        r_squared_partial_high: Largest of them.
        leave_one_out_low: Smallest partial R² when one cluster is left out; nan if one does not exist.
        leave_one_out_high: Largest of them.
        slope_leave_one_out_low: Smallest slope when one cluster is left out; nan if one does not exist.
        slope_leave_one_out_high: Largest of them.
        variance_inflation: How many times the covariates raise the variance of the slope, 1/(1 - R² of x on them).
        covariates: What each covariate adds beside x and the others.
        confidence: Coverage that the intervals aim at.
    """

    n: int
    n_clusters: int
    slope: float
    slope_low: float
    slope_high: float
    slope_bootstrap_low: float
    slope_bootstrap_high: float
    intercept: float
    p: float
    p_permutation: float
    p_bootstrap: float
    r_partial: float
    r_partial_low: float
    r_partial_high: float
    r_squared: float
    r_squared_adjusted: float
    r_squared_covariates: float
    r_squared_partial: float
    r_squared_partial_low: float
    r_squared_partial_high: float
    leave_one_out_low: float
    leave_one_out_high: float
    slope_leave_one_out_low: float
    slope_leave_one_out_high: float
    variance_inflation: float
    covariates: tuple[Coefficient, ...]
    confidence: float


def regress(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    covariates: Mapping[str, npt.ArrayLike] | None = None,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int | np.random.Generator = 0,
) -> Regression:
    """Regress y on x with covariates held fixed, over data sets or over clusters of related ones.

    Args:
        x: Explaining quantity such as diversity, shape (n,).
        y: Explained quantity such as accuracy, shape (n,).
        covariates: What else may explain y, each of shape (n,), such as classes, images or resolution.
        clusters: What is independent, n labels: the data set of each run, or the family of each data set. By
            default each point is.
        confidence: Coverage of the intervals, a fraction.
        resamples: Bootstrap resamples, and the most permutations.
        seed: Seed or generator; equal seeds give equal results.

    Returns:
        The slope, partial correlation and shares of variance with their uncertainty.

    Raises:
        DataError: If there are fewer than four points and one more per covariate, fewer than four clusters,
            lengths differ, a value is not finite, something is constant, or a predictor is a combination of
            others.
        ConfigurationError: If confidence is no fraction or the resamples are too few.

    Example:
        >>> diversity = [0.10, 0.12, 0.15, 0.19, 0.21, 0.26, 0.28, 0.33]
        >>> accuracy = [0.52, 0.60, 0.55, 0.63, 0.60, 0.71, 0.66, 0.75]
        >>> found = regress(diversity, accuracy, covariates={"classes": [20, 64, 10, 30, 12, 50, 15, 40]})
        >>> round(found.slope, 2), round(found.slope_low, 2), round(found.slope_high, 2), found.p_permutation < 0.01
        (0.86, 0.75, 0.97, True)
        >>> round(found.r_squared, 2), round(found.r_squared_covariates, 2), round(found.r_squared_partial, 2)
        (0.99, 0.18, 0.99)

    Source: Draper and Smith (1998), Applied Regression Analysis, 3rd ed.; Freedman and Lane (1983), J. Bus. Econ.
    Stat. 1, 292-298; Cameron, Gelbach and Miller (2008), Rev. Econ. Stat. 90, 414-427; Fisher (1924), Metron 3,
    329-332 (partial correlation).
    """
    columns, target = predictor_columns(x, y, covariates)
    fraction(confidence, "confidence")
    resample_count(resamples)
    others = {name: column for name, column in columns.items() if name != "x"}
    labels = cluster_numbers(clusters, target.size)
    partial = partial_out(columns["x"], target, others)
    _some_left(partial, target)
    rng = np.random.default_rng(seed)
    wild = wild_cluster_bootstrap(partial, labels, confidence=confidence, resamples=resamples, rng=rng)
    is_independent = int(labels.max()) + 1 == target.size
    if is_independent:
        p_permutation = freedman_lane(partial, resamples=resamples, rng=rng)
        bounds = fisher_interval(partial.r, target.size - len(others), confidence=confidence)
    else:
        p_permutation = math.nan
        moments = cluster_moments([*others.values(), columns["x"], target], labels)
        low, high = jackknife(moments, partial_z_of, n_fixed=len(others)).bounds(confidence)
        bounds = math.tanh(low), math.tanh(high)
    intercept, found = coefficients(columns, target, confidence=confidence)
    if not is_independent:
        found = tuple(dataclasses.replace(one, low=math.nan, high=math.nan, p=math.nan) for one in found)
    return Regression(
        n=target.size,
        n_clusters=int(labels.max()) + 1,
        slope=found[0].slope,
        slope_low=found[0].low,
        slope_high=found[0].high,
        intercept=intercept,
        p=found[0].p,
        p_permutation=p_permutation,
        covariates=found[1:],
        variance_inflation=float(target.size * columns["x"].var() / (partial.x @ partial.x)),
        confidence=confidence,
        **_of_bootstrap(wild),
        **_of_correlation(partial.r, bounds),
        **_of_fit(partial, target),
        **_of_leave_one_out(columns["x"], target, others, labels),
    )


def cluster_numbers(clusters: Sequence[Hashable] | None, n: int) -> IntArray:
    """The cluster of each point as a number; each point is one by default.

    Raises:
        DataError: If there is not one label for each point, or fewer than four clusters.
    """
    if clusters is None:
        return np.arange(n, dtype=np.int64)
    numbers = level_numbers(clusters, "clusters", n)
    if int(numbers.max()) + 1 < MIN_POINTS:
        raise DataError(
            f"there are {int(numbers.max()) + 1} clusters, expected at least {MIN_POINTS} independent ones; "
            "gather more data sets."
        )
    return numbers


def fisher_interval(r: float, n: int, *, confidence: float) -> tuple[float, float]:
    """The interval of a correlation by Fisher's z; n is less by the number of variables held fixed."""
    if abs(r) >= 1.0:
        return r, r
    reach = float(stats.norm.ppf(0.5 + confidence / 2.0)) / math.sqrt(n - 3)
    return math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)


def _some_left(partial: Partial, y: FloatArray) -> None:
    if np.linalg.norm(partial.y) <= 1e-10 * np.linalg.norm(y - y.mean()):
        raise DataError("the covariates explain y exactly, so nothing is left for x; leave a covariate out.")


def _of_bootstrap(wild: WildBootstrap) -> dict[str, float]:
    return {"slope_bootstrap_low": wild.low, "slope_bootstrap_high": wild.high, "p_bootstrap": wild.p}


def _of_correlation(r: float, bounds: tuple[float, float]) -> dict[str, float]:
    low, high = squared_range(*bounds)
    return {
        "r_partial": r,
        "r_partial_low": bounds[0],
        "r_partial_high": bounds[1],
        "r_squared_partial": r**2,
        "r_squared_partial_low": low,
        "r_squared_partial_high": high,
    }


def _of_fit(partial: Partial, y: FloatArray) -> dict[str, float]:
    total = float(((y - y.mean()) ** 2).sum())
    unexplained = float(partial.residual @ partial.residual) / total
    freedom = y.size - partial.basis.shape[1] - 1
    return {
        "r_squared": 1.0 - unexplained,
        "r_squared_adjusted": 1.0 - unexplained * (y.size - 1) / freedom,
        "r_squared_covariates": max(0.0, 1.0 - float(partial.y @ partial.y) / total),
    }


def _of_leave_one_out(
    x: FloatArray, y: FloatArray, others: Mapping[str, FloatArray], clusters: IntArray
) -> dict[str, float]:
    fits = []
    for left_out in range(int(clusters.max()) + 1):
        kept = clusters != left_out
        rest = {name: column[kept] for name, column in others.items()}
        fits.append(try_partial_out(x[kept], y[kept], rest))
    slopes = np.array([math.nan if one is None else one.slope for one in fits])
    squares = np.array([math.nan if one is None else one.r**2 for one in fits])
    return {
        "leave_one_out_low": float(squares.min()),
        "leave_one_out_high": float(squares.max()),
        "slope_leave_one_out_low": float(slopes.min()),
        "slope_leave_one_out_high": float(slopes.max()),
    }
