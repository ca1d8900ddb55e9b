"""A normal prior over all configurations of one data set, and what remains of it after some were tried."""

from __future__ import annotations

import copy
import math

import numpy as np
from scipy.special import ndtr

from ._table import FloatArray

_GROWTH = 8
_ROOT = math.sqrt(2.0 * math.pi)


class GaussianPosterior:
    """Scores of one data set as jointly normal, its location and scale unknown.

    The metric of configuration j is ``location + scale · score_j``. The location has a normal prior, which adds a
    constant to the covariance; the scale has a prior over a few values, whose weights follow from the likelihood. Each
    value that is told is one step of a Cholesky decomposition, so that a step costs O(scales · told · configurations).

    Args:
        mean: Expected score of each configuration, shape (configurations,).
        factors: Shared part of the covariance, ``factors.T @ factors``, shape (rank, configurations).
        own: Variance of each configuration's own, shape (configurations,).
        location: Mean and variance of the prior of the location.
        scales: Values of the scale, shape (scales,).
        weights: Their prior weights, adding up to 1, shape (scales,).

    Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, sections 2.2 and 2.7; Jones et al.
    (1998), J. Global Optimization 13, 455-492, equation 15 (expected improvement).
    """

    def __init__(
        self,
        mean: FloatArray,
        factors: FloatArray,
        own: FloatArray,
        *,
        location: tuple[float, float],
        scales: FloatArray,
        weights: FloatArray,
    ) -> None:
        self._factors, self._own = factors, own
        self._scales = scales
        self._log_weights = np.log(weights)
        self._offset = location[1] / scales**2
        self._mean = mean + location[0] / scales[:, None]
        self._variance = (factors**2).sum(axis=0) + own + self._offset[:, None]
        self._steps = np.zeros((_GROWTH, *self._variance.shape))
        self._told = 0
        self._least = 1e-9 * float(self._variance.mean())

    def copy(self) -> GaussianPosterior:
        """Another posterior that can be told what this one is not."""
        other = copy.copy(self)
        other._steps = self._steps.copy()
        return other

    def tell(self, place: int, value: float, *, noise: float = 0.0) -> None:
        """Condition on the metric of the configuration at a place, whose score has some variance by repetition."""
        covariance = self._covariance(place)
        variance = np.maximum(covariance[:, place] + noise, self._least)
        step = covariance / np.sqrt(variance)[:, None]
        error = (value / self._scales - self._mean[:, place]) / np.sqrt(variance)
        self._log_weights = self._log_weights - 0.5 * error**2 - 0.5 * np.log(variance) - np.log(self._scales)
        self._mean = self._mean + step * error[:, None]
        self._variance = np.maximum(self._variance - step**2, 0.0)
        if self._told == len(self._steps):
            self._steps = np.concatenate([self._steps, np.zeros((_GROWTH, *step.shape))])
        self._steps[self._told] = step
        self._told += 1

    def metric(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the metric of each configuration, shapes (configurations,)."""
        weights = self._weights()
        means = self._scales[:, None] * self._mean
        mean = weights @ means
        variance = weights @ (self._scales[:, None] ** 2 * self._variance + (means - mean) ** 2)
        return mean, np.sqrt(variance)

    def difference(self, first: int, second: int) -> tuple[float, float]:
        """Mean and standard deviation of the metric of one configuration less that of another."""
        weights = self._weights()
        means = self._scales * (self._mean[:, first] - self._mean[:, second])
        variance = self._variance[:, first] + self._variance[:, second] - 2.0 * self._covariance(first)[:, second]
        mean = float(weights @ means)
        square = float(weights @ (self._scales**2 * np.maximum(variance, 0.0) + (means - mean) ** 2))
        return mean, math.sqrt(square)

    def expected_improvement(self, best: float) -> FloatArray:
        """How far each configuration is expected to go beyond the best so far, shape (configurations,)."""
        sd = np.sqrt(self._variance)
        gap = self._mean - best / self._scales[:, None]
        ratio = gap / np.maximum(sd, 1e-12)
        improvement = gap * ndtr(ratio) + sd * np.exp(-0.5 * ratio**2) / _ROOT
        return np.asarray(self._weights() @ (self._scales[:, None] * improvement), dtype=np.float64)

    def _weights(self) -> FloatArray:
        weights = np.exp(self._log_weights - self._log_weights.max())
        return np.asarray(weights / weights.sum(), dtype=np.float64)

    def _covariance(self, place: int) -> FloatArray:
        """Covariance of all configurations with one, for each scale, shape (scales, configurations)."""
        prior = self._factors[:, place] @ self._factors
        prior[place] += self._own[place]
        covariance = prior + self._offset[:, None]
        steps = self._steps[: self._told]
        explained = np.einsum("tsc,ts->sc", steps, steps[:, :, place])
        return np.asarray(covariance - explained, dtype=np.float64)
