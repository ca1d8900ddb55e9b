"""A slope over data sets with several seeds each: a random intercept per data set, by restricted likelihood."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize

from lightning_lde.errors import DataError

from ._checks import MIN_POINTS, FloatArray, IntArray, fraction
from ._design import level_numbers
from ._linear import Coefficient, coefficient, partial_out, predictor_columns

_SPAN = (-14.0, 16.0)
_STARTS = 61
_STEP = 1e-3
_NOTHING = 1e-10


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedRegression:
    """A slope beside covariates where the points of one group share an effect.

    Args:
        n: Number of points.
        n_groups: Number of groups, such as data sets.
        slope: Slope of x with the covariates held fixed, units of y per unit of x.
        slope_low: Lower bound of its t interval.
        slope_high: Upper bound of it.
        t: The slope over its standard error.
        degrees_of_freedom: Satterthwaite's, of the slope.
        p: Two-sided p of t.
        intercept: Value of the fit where x and all covariates are 0.
        covariates: What each covariate adds beside x and the others.
        group_sd: Standard deviation of the effects of groups; 0 where points of a group are no more alike.
        residual_sd: Standard deviation within groups.
        intraclass_correlation: Share of the variance beside the fit that comes with the group.
        confidence: Coverage that the intervals aim at.
    """

    n: int
    n_groups: int
    slope: float
    slope_low: float
    slope_high: float
    t: float
    degrees_of_freedom: float
    p: float
    intercept: float
    covariates: tuple[Coefficient, ...]
    group_sd: float
    residual_sd: float
    intraclass_correlation: float
    confidence: float


def mixed_regression(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    groups: Sequence[Hashable],
    *,
    covariates: Mapping[str, npt.ArrayLike] | None = None,
    confidence: float = 0.95,
) -> MixedRegression:
    """Regress y on x over repeated measurements, with a random intercept for each group.

    y = intercept + slope x + covariates + effect of the group + residual, the last two normal and independent.
    Groups may be of any size. With as many seeds for each data set and predictors of the data set, the slope is
    that of the means over seeds, and its interval counts data sets and not runs.

    Args:
        x: Explaining quantity, shape (n,); of the group or of each point.
        y: Explained quantity, shape (n,).
        groups: Group of each point, n labels.
        covariates: What else may explain y, each of shape (n,).
        confidence: Coverage of the intervals, a fraction.

    Returns:
        The slopes with t intervals, and both standard deviations.

    Raises:
        DataError: If no group has two points, there are fewer than four groups and one more per covariate,
            points of a group are all equal, lengths differ, a value is not finite, something is constant, or a
            predictor is a combination of others.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> diversity = [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5]
        >>> accuracy = [0.51, 0.52, 0.60, 0.58, 0.57, 0.57, 0.66, 0.69, 0.68, 0.67]
        >>> found = mixed_regression(diversity, accuracy, list("aabbccddee"))
        >>> round(found.slope, 3), found.n_groups, round(found.degrees_of_freedom, 2), round(found.p, 4)
        (0.405, 5, 3.0, 0.0265)

    Source: Patterson and Thompson (1971), Biometrika 58, 545-554; Laird and Ware (1982), Biometrics 38, 963-974;
    degrees of freedom as in Kuznetsova, Brockhoff and Christensen (2017), lmerTest, J. Stat. Softw. 82(13).
    """
    columns, target = predictor_columns(x, y, covariates)
    fraction(confidence, "confidence")
    others = {name: column for name, column in columns.items() if name != "x"}
    partial = partial_out(columns["x"], target, others)
    if np.linalg.norm(partial.residual) <= _NOTHING * np.linalg.norm(target - target.mean()):
        raise DataError("x and the covariates explain y exactly, so there is no variance to divide; check y.")
    numbers = _groups(groups, target, len(columns))
    matrix = np.column_stack(list(columns.values()))
    centre, scale, spread = matrix.mean(axis=0), matrix.std(axis=0), float(target.std())
    design = np.column_stack([np.ones(target.size), (matrix - centre) / scale])
    model = _RandomIntercept(design, (target - target.mean()) / spread, numbers)
    ratio = model.fit()
    fit = model.at(ratio)
    slopes = fit.beta[1:] * spread / scale
    errors = np.sqrt(fit.covariance.diagonal()[1:]) * spread / scale
    found = tuple(
        coefficient(name, slope, error, model.freedom(ratio, index), confidence=confidence)
        for index, (name, slope, error) in enumerate(zip(columns, slopes, errors, strict=True), 1)
    )
    return MixedRegression(
        n=target.size,
        n_groups=int(numbers.max()) + 1,
        slope=found[0].slope,
        slope_low=found[0].low,
        slope_high=found[0].high,
        t=found[0].t,
        degrees_of_freedom=found[0].degrees_of_freedom,
        p=found[0].p,
        intercept=float(target.mean() + fit.beta[0] * spread - centre @ slopes),
        covariates=found[1:],
        group_sd=math.sqrt(ratio * fit.residual) * spread,
        residual_sd=math.sqrt(fit.residual) * spread,
        intraclass_correlation=ratio / (1.0 + ratio),
        confidence=confidence,
    )


class _Fit(NamedTuple):
    beta: FloatArray
    covariance: FloatArray
    residual: float


class _RandomIntercept:
    """The restricted likelihood of y = X beta + group + residual, whose covariance is s²(I + ratio ZZ').

    Taking the share 1 - 1/sqrt(1 + ratio n_g) of its group's mean from each value makes the values independent.
    """

    def __init__(self, design: FloatArray, y: FloatArray, groups: IntArray) -> None:
        sizes = np.bincount(groups).astype(np.float64)
        self._sizes, self._of_point, self._groups = sizes, sizes[groups], groups
        self._joint = np.column_stack([design, y])
        sums = np.zeros((sizes.size, self._joint.shape[1]))
        np.add.at(sums, groups, self._joint)
        self._means = (sums / sizes[:, None])[groups]
        self._freedom = int(y.size - design.shape[1])

    def at(self, ratio: float) -> _Fit:
        """Generalised least squares at one ratio of the variances, with the residual variance that fits best."""
        q, r, y, squares = self._solve(ratio)
        residual = squares / self._freedom
        inverse = np.linalg.inv(r)
        return _Fit(inverse @ (q.T @ y), inverse @ inverse.T * residual, residual)

    def fit(self) -> float:
        """The ratio of the variances at which the restricted likelihood is largest, 0 or above."""
        logs = np.linspace(*_SPAN, _STARTS)
        deviances = np.array([self._profile(math.exp(one)) for one in logs])
        best = int(deviances.argmin())
        inside = (logs[max(best - 1, 0)], logs[min(best + 1, _STARTS - 1)])
        found = optimize.minimize_scalar(
            lambda log: self._profile(math.exp(log)), bounds=inside, method="bounded", options={"xatol": 1e-9}
        )
        return 0.0 if self._profile(0.0) <= float(found.fun) + 1e-9 else math.exp(float(found.x))

    def freedom(self, ratio: float, index: int) -> float:
        """Satterthwaite's degrees of freedom of a coefficient: 2 variance² / variance of the estimated variance.

        On the edge, where groups seem not to differ, the approximation does not exist. A predictor of the group
        then counts groups, another one points.
        """
        if ratio == 0.0:
            return float(self._sizes.size - self._n_between() if self._is_between(index) else self._freedom)
        place = np.log([ratio * self.at(ratio).residual, self.at(ratio).residual])
        hessian = _hessian(self._deviance, place)
        slope = _gradient(lambda logs: math.log(self._variance(logs, index)), place)
        spread = float(slope @ np.linalg.solve(hessian / 2.0, slope))
        return float(np.clip(2.0 / spread if spread > 0.0 else math.inf, 1.0, self._freedom))

    def _is_between(self, index: int) -> bool:
        column = self._joint[:, index]
        return bool(np.abs(column - self._means[:, index]).max() <= _NOTHING * np.abs(column).max())

    def _n_between(self) -> int:
        return sum(self._is_between(index) for index in range(self._joint.shape[1] - 1))

    def _solve(self, ratio: float) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        share = 1.0 - 1.0 / np.sqrt(1.0 + ratio * self._of_point)
        moved = self._joint - share[:, None] * self._means
        q, r = np.linalg.qr(moved[:, :-1])
        y = moved[:, -1]
        left = y - q @ (q.T @ y)
        return q, r, y, float(left @ left)

    def _profile(self, ratio: float) -> float:
        _, r, _, squares = self._solve(ratio)
        return self._freedom * math.log(squares) + self._determinants(ratio, r)

    def _deviance(self, logs: FloatArray) -> float:
        group, residual = (math.exp(one) for one in logs)
        _, r, _, squares = self._solve(group / residual)
        return self._freedom * math.log(residual) + squares / residual + self._determinants(group / residual, r)

    def _variance(self, logs: FloatArray, index: int) -> float:
        group, residual = (math.exp(one) for one in logs)
        inverse = np.linalg.inv(self._solve(group / residual)[1])
        return float(residual * (inverse[index] ** 2).sum())

    def _determinants(self, ratio: float, r: FloatArray) -> float:
        return float(np.log1p(ratio * self._sizes).sum() + 2.0 * np.log(np.abs(np.diag(r))).sum())


def _groups(labels: Sequence[Hashable], y: FloatArray, n_predictors: int) -> IntArray:
    numbers = level_numbers(labels, "groups", y.size)
    n_groups, needed = int(numbers.max()) + 1, MIN_POINTS + n_predictors - 1
    if n_groups < needed:
        raise DataError(
            f"there are {n_groups} groups for {n_predictors} predictors, expected at least {needed}; "
            "leave covariates out or gather more."
        )
    means = np.bincount(numbers, weights=y) / np.bincount(numbers)
    if n_groups == y.size:
        raise DataError("each group has one point, so groups cannot be told from points; use regress.")
    if np.linalg.norm(y - means[numbers]) <= _NOTHING * np.linalg.norm(y - y.mean()):
        raise DataError("all points of a group are equal, so nothing varies within; take one of each and use regress.")
    return numbers


def _gradient(function: Callable[[FloatArray], float], place: FloatArray) -> FloatArray:
    steps = _STEP * np.eye(place.size)
    return np.array([(function(place + one) - function(place - one)) / (2.0 * _STEP) for one in steps])


def _hessian(function: Callable[[FloatArray], float], place: FloatArray) -> FloatArray:
    steps = _STEP * np.eye(place.size)
    gradients = [_gradient(function, place + one) - _gradient(function, place - one) for one in steps]
    return np.array(gradients) / (2.0 * _STEP)
