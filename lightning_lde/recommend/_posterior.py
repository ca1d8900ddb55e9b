"""What a learned prior and the results so far say of settings that were not tried: expectation and improvement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, special

from ._prior import PastSurface, Prior, tame
from ._table import FloatArray

SHARES = (0.0, 0.3, 0.6, 0.9)
"""Shares of the covariance that past data sets explain together, among which the results decide."""

N_SCALES = 7
_LEAST_LOG_SPREAD = 0.3
_LEAST_VARIANCE = 0.05
_MOST_FOR_CHANCES = 40


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Mixture of normal distributions at each of some points, in the metric's own unit, larger is better.

    Attributes:
        means: Shape (hypotheses, points).
        sds: Shape (hypotheses, points).
        weights: How likely each hypothesis is, shape (hypotheses,).
    """

    means: FloatArray
    sds: FloatArray
    weights: FloatArray

    def mean(self) -> FloatArray:
        """Expected values, shape (points,)."""
        return np.asarray(self.weights @ self.means)

    def sd(self) -> FloatArray:
        """Standard deviations, shape (points,)."""
        second = self.weights @ (self.sds**2 + self.means**2)
        return np.sqrt(np.maximum(second - self.mean() ** 2, 0.0))

    def improvement(self, best: float) -> FloatArray:
        """Expected improvement over the best so far, shape (points,).

        Source: Jones, Schonlau, Welch 1998, equation 15.
        """
        gap = self.means - best
        ratio = gap / self.sds
        density = np.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
        return np.asarray(self.weights @ (gap * special.ndtr(ratio) + self.sds * density))


def expectation(prior: Prior, points: FloatArray, told: FloatArray, values: FloatArray) -> Expectation:
    """Condition the prior on results of the data set.

    Where its results lie and how far they spread is not known: the place is integrated out, the spread takes seven
    values about those of past data sets, and how much of the covariance is shared takes those of ``SHARES``. Each
    combination counts as its chance beforehand and its likelihood say, one without the past among them.

    Args:
        prior: What past data sets say.
        points: Where to expect, shape (points, width).
        told: Where results are known, shape (results, width).
        values: These results, larger is better, shape (results,).
    """
    values = tame(values)
    every = np.concatenate([told, points])
    means, sds, logs = [], [], []
    for hypothesis, chance in zip(_hypotheses(prior, every, told.shape[0]), prior.chances, strict=True):
        for scale, scale_log in zip(*_scales(prior), strict=True):
            mean, sd, likelihood = _conditioned(hypothesis, scale, prior, values, _location(prior, scale))
            means.append(mean)
            sds.append(sd)
            logs.append(likelihood + math.log(chance) + scale_log)
    weights = special.softmax(np.array(logs))
    return Expectation(means=np.array(means), sds=np.array(sds), weights=weights)


def _scales(prior: Prior) -> tuple[FloatArray, FloatArray]:
    middle, spread = prior.log_scale
    steps = np.linspace(-2.0, 2.0, N_SCALES)
    return np.exp(middle + max(spread, _LEAST_LOG_SPREAD) * steps), -(steps**2) / 2


def _location(prior: Prior, scale: float) -> tuple[float, float]:
    place, spread = prior.location
    return place, (2 * spread) ** 2 + scale**2


@dataclass(frozen=True, kw_only=True)
class _Hypothesis:
    """What is expected beforehand, in units of the data set's standard deviation.

    Attributes:
        mean: Shape (results + points,).
        covariance: With the results, shape (results + points, results).
        variance: Shape (results + points,).
    """

    mean: FloatArray
    covariance: FloatArray
    variance: FloatArray


def _hypotheses(prior: Prior, every: FloatArray, n: int, *, without: int | None = None) -> list[_Hypothesis]:
    """One for each of ``SHARES``, and one without the past.

    Args:
        prior: What past data sets say.
        every: Points, shape (results + points, width).
        n: How many of them are results.
        without: A past data set that is left out.
    """
    past = prior.past(every)
    past = past if without is None else np.delete(past, without, axis=1)
    mean = past.mean(axis=1)
    departures = past - mean[:, None]
    shared = departures @ departures[:n].T / past.shape[1]
    own = (departures**2).mean(axis=1)
    smooth = prior.kernel(every, every[:n]) / prior.kernel.variance
    left = max(prior.unexplained - prior.kernel.noise, _LEAST_VARIANCE)
    found = [
        _Hypothesis(
            mean=mean,
            covariance=(1 - share) * left * smooth + share * shared,
            variance=(1 - share) * left + share * own,
        )
        for share in SHARES
    ]
    # Without the past the whole spread of a data set is left to the smooth part.
    return [*found, _Hypothesis(mean=np.zeros(mean.size), covariance=smooth, variance=np.ones(mean.size))]


def with_chances(prior: Prior, surfaces: Sequence[PastSurface], *, seed: int = 0) -> Prior:
    """The prior with how likely each hypothesis is beforehand, as others foresee results of each past data set.

    Args:
        prior: What past data sets say.
        surfaces: Their results, in the prior's order.
        seed: Chooses some of many results.
    """
    random = np.random.default_rng(seed)
    total = np.zeros(len(SHARES) + 1)
    for number, one in enumerate(surfaces):
        kept = random.permutation(one.values.size)[:_MOST_FOR_CHANCES]
        values = tame(one.values)
        values = ((values - values.mean()) / max(float(values.std()), 1e-12))[kept]
        hypotheses = _hypotheses(prior, one.points[kept], kept.size, without=number)
        total += special.softmax([_conditioned(each, 1.0, prior, values, (0.0, 1.0))[2] for each in hypotheses])
    # One data set more for which any of them may hold.
    chances = (total + 1 / total.size) / (total.sum() + 1)
    return replace(prior, chances=tuple(map(float, chances)))


def _conditioned(
    hypothesis: _Hypothesis, scale: float, prior: Prior, values: FloatArray, location: tuple[float, float]
) -> tuple[FloatArray, FloatArray, float]:
    """Mean and standard deviation behind the results, and the logarithm of their likelihood.

    Args:
        hypothesis: What is expected of results and points.
        scale: Standard deviation of the data set.
        prior: For the noise.
        values: The results, shape (results,).
        location: Mean and variance of the location, which all have in common.
    """
    n = values.size
    place, uncertain = location
    mean = scale * hypothesis.mean + place
    covariance = scale**2 * hypothesis.covariance + uncertain
    variance = scale**2 * hypothesis.variance + uncertain
    if n == 0:
        return mean, np.sqrt(variance), 0.0
    inner = covariance[:n].copy()
    inner[np.diag_indices(n)] += scale**2 * prior.kernel.noise + 1e-9 * variance[:n].mean()
    factor = linalg.cholesky(inner, lower=True)
    left = linalg.solve_triangular(factor, values - mean[:n], lower=True)
    across = linalg.solve_triangular(factor, covariance[n:].T, lower=True)
    likelihood = -float(left @ left) / 2 - float(np.log(np.diag(factor)).sum())
    spread = np.maximum(variance[n:] - (across**2).sum(axis=0), 1e-12 * variance[n:])
    return mean[n:] + across.T @ left, np.sqrt(spread), likelihood
