"""The restricted likelihood of crossed or nested random effects: its largest value, and its profiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize, special, stats

from ._checks import FloatArray, IntArray

Variances = tuple[FloatArray, FloatArray]
"""Variances, shape (k + 1,), and their derivatives after the parameters, shape (k + 1, parameters)."""

# Below this, of values with a spread near 1, the differences of large numbers lose all digits.
_SMALLEST_VARIANCE = 1e-8
_LARGEST_SD = 1e3
_FARTHEST = 18.0


class Fit(NamedTuple):
    """The variances at which the restricted likelihood is largest.

    Attributes:
        variances: Of each effect, then of the residual, shape (k + 1,).
        deviance: -2 log likelihood there, up to a constant.
        mean: The generalised least-squares mean.
        mean_variance: Its variance.
    """

    variances: FloatArray
    deviance: float
    mean: float
    mean_variance: float


class RandomEffects:
    """y = mean + an effect of the level of each factor + residual, all normal and independent.

    With H = I + Σ (σ_k²/σ²) Z_k Z_k' the deviance is (n - 1) log σ² + log|H| + log(1'H⁻¹1) + y'Py/σ², where P
    takes out the mean. It and its gradient need only matrices over the levels, by Woodbury's identity.

    Args:
        y: Values, shape (n,); a spread near 1 suits the optimiser.
        factors: Level of each value by factor, each of shape (n,), counted from zero.

    Source: Patterson and Thompson (1971), Biometrika 58, 545-554; Searle, Casella and McCulloch (1992),
    Variance Components, section 6.6 and appendix M.
    """

    def __init__(self, y: FloatArray, factors: Sequence[IntArray]) -> None:
        sizes = [int(levels.max()) + 1 for levels in factors]
        z = np.concatenate([np.eye(size)[levels] for size, levels in zip(sizes, factors, strict=True)], axis=1)
        self.n = y.size
        self._owner = np.repeat(np.arange(len(sizes)), sizes)
        self._cross = z.T @ z
        self._eye = np.eye(len(self._owner))
        self._sides = np.concatenate([z.sum(axis=0)[:, None], (z.T @ y)[:, None], self._cross], axis=1)
        self._plain = np.array([[self.n, y.sum()], [y.sum(), y @ y]])
        rank = int(np.linalg.matrix_rank(self._cross))
        self.levels = [*sizes, self.n]
        self.degrees_of_freedom = [max(size - 1, 1) for size in (*sizes, self.n - rank + 1)]

    def deviance(self, variances: FloatArray) -> tuple[float, FloatArray]:
        """The deviance and its derivatives after each variance, effects first, the residual last."""
        deviance, gradient, _, _ = self._evaluate(variances)
        return deviance, gradient

    def fit(self) -> Fit:
        """The variances of the largest restricted likelihood, none below zero."""
        starts = (np.ones(self._k + 1), np.array([*([0.05] * self._k), 1.0]), np.array([*([1.0] * self._k), 0.05]))
        found = [self._minimise(start**0.5, _squares) for start in starts]
        variances = self._without_dust(min(found, key=lambda one: one[0])[1])
        deviance, _, mean, mean_variance = self._evaluate(variances)
        return Fit(variances, deviance, mean, mean_variance)

    def variance_interval(self, fit: Fit, component: int, *, confidence: float) -> tuple[float, float]:
        """The profile-likelihood interval of one variance; the residual has the highest number."""

        def embed(sds: FloatArray, place: float) -> Variances:
            variances, derivatives = _squares(sds)
            return np.insert(variances, component, np.exp(place)), np.insert(derivatives, component, 0.0, axis=0)

        with np.errstate(divide="ignore"):
            place = float(np.log(fit.variances[component]))
        low, high = self._places(fit, component, embed, place, confidence=confidence)
        return float(np.exp(low)), float(np.exp(high))

    def share_interval(self, fit: Fit, component: int, *, confidence: float) -> tuple[float, float]:
        """The profile-likelihood interval of one variance's share of the sum of all."""

        def embed(sds: FloatArray, place: float) -> Variances:
            variances, derivatives = _squares(sds)
            odds = np.exp(place)
            return (
                np.insert(variances, component, odds * variances.sum()),
                np.insert(derivatives, component, odds * derivatives.sum(axis=0), axis=0),
            )

        rest = fit.variances.sum() - fit.variances[component]
        with np.errstate(divide="ignore"):
            place = float(np.log(fit.variances[component]) - np.log(rest))
        low, high = self._places(fit, component, embed, place, confidence=confidence)
        return float(special.expit(low)), float(special.expit(high))

    @property
    def _k(self) -> int:
        return int(self._owner[-1]) + 1

    def _evaluate(self, variances: FloatArray) -> tuple[float, FloatArray, float, float]:
        effects, residual = variances[:-1], float(variances[-1])
        scale = np.sqrt(effects / residual)[self._owner]
        factor = np.linalg.cholesky(self._eye + scale[:, None] * self._cross * scale)
        half = linalg.solve_triangular(factor, scale[:, None] * self._sides, lower=True, check_finite=False)
        gram = self._plain - half[:, :2].T @ half[:, :2]
        mean = float(gram[0, 1] / gram[0, 0])
        square = float(gram[1, 1] - mean * gram[0, 1])
        log_h = 2.0 * float(np.log(np.diag(factor)).sum())
        deviance = (self.n - 1) * np.log(residual) + log_h + np.log(gram[0, 0]) + square / residual

        # Z'V⁻¹ times the mean's column and y, and the diagonal of Z'V⁻¹Z.
        through = (self._sides[:, :2] - half[:, 2:].T @ half[:, :2]) / residual
        diagonal = (np.diag(self._cross) - (half[:, 2:] ** 2).sum(axis=0)) / residual
        traces = self._by_factor(diagonal - through[:, 0] ** 2 * (residual / gram[0, 0]))
        squares = self._by_factor((through[:, 1] - mean * through[:, 0]) ** 2)
        trace = (self.n - 1 - float(effects @ traces)) / residual
        rest = (square / residual - float(effects @ squares)) / residual
        gradient = np.append(traces - squares, trace - rest)
        return float(deviance), gradient, mean, residual / float(gram[0, 0])

    def _by_factor(self, values: FloatArray) -> FloatArray:
        return np.bincount(self._owner, weights=values, minlength=self._k).astype(np.float64)

    def _minimise(self, start: FloatArray, embed: Callable[[FloatArray], Variances]) -> tuple[float, FloatArray]:
        """The least deviance over standard deviations that ``embed`` turns into variances."""

        def target(sds: FloatArray) -> tuple[float, FloatArray]:
            variances, derivatives = embed(sds)
            deviance, gradient = self.deviance(_with_residual(variances))
            return deviance, gradient @ derivatives

        bounds = [(0.0, _LARGEST_SD)] * start.size
        found = optimize.minimize(target, start, jac=True, method="L-BFGS-B", bounds=bounds)
        return float(found.fun), _with_residual(embed(np.asarray(found.x))[0])

    def _without_dust(self, variances: FloatArray) -> FloatArray:
        """Variances with those of effects set to zero where the optimiser stopped just above it."""
        kept = variances
        for component in range(self._k):
            without = kept.copy()
            without[component] = 0.0
            if kept[component] < 1e-4 * kept.sum() and self.deviance(without)[0] <= self.deviance(kept)[0] + 1e-6:
                kept = without
        return kept

    def _places(
        self,
        fit: Fit,
        component: int,
        embed: Callable[[FloatArray, float], Variances],
        estimate: float,
        *,
        confidence: float,
    ) -> tuple[float, float]:
        """Where the profile crosses its threshold, on the scale of ``embed``; infinite where it does not."""
        threshold = fit.deviance + _critical(self.degrees_of_freedom[component], confidence)
        # At a standard deviation of zero the derivative vanishes, and the optimiser would stay there.
        floor = 0.03 * np.sqrt(fit.variances.sum())
        start = np.maximum(np.sqrt(np.delete(fit.variances, component)), floor)

        def excess(place: float) -> float:
            return self._minimise(start, lambda sds: embed(sds, place))[0] - threshold

        begin = float(np.clip(estimate, -_FARTHEST, _FARTHEST))
        may_be_zero = component < self._k and excess(-np.inf) <= 0.0
        return -np.inf if may_be_zero else _crossing(excess, begin, -1.0), _crossing(excess, begin, 1.0)


def _squares(sds: FloatArray) -> Variances:
    return sds**2, np.diag(2.0 * sds)


def _with_residual(variances: FloatArray) -> FloatArray:
    return np.append(variances[:-1], max(float(variances[-1]), _SMALLEST_VARIANCE))


def _critical(degrees_of_freedom: int, confidence: float) -> float:
    """The chi-square quantile, times the mean of the likelihood ratio of one normal variance (Bartlett)."""
    half = degrees_of_freedom / 2.0
    return float(stats.chi2.ppf(confidence, 1) * degrees_of_freedom * (np.log(half) - special.digamma(half)))


def _crossing(excess: Callable[[float], float], begin: float, step: float) -> float:
    """The first place beyond ``begin`` where a rising function is zero; infinite where it stays below."""
    inner, outer = begin, begin + step
    while abs(outer) <= _FARTHEST:
        if excess(outer) > 0.0:
            return float(optimize.brentq(excess, inner, outer, xtol=1e-3))
        step *= 1.5
        inner, outer = outer, outer + step
    return float(np.copysign(np.inf, step))
