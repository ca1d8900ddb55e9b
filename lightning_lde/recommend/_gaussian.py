"""A normal prior over all configurations of one data set, and what remains of it after some were tried."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from ._table import FloatArray, IntArray

_GROWTH = 8
_ROOT = math.sqrt(2.0 * math.pi)
_HOPE = 1e-3


class GaussianPosterior:
    """Scores of one data set as jointly normal, its location and scale unknown.

    The metric of configuration j is ``location + scale · score_j``. The location has a normal prior, which adds a
    constant to the covariance; the scale has a prior over a few values, whose weights follow from the likelihood. Each
    value that is told is one step of a Cholesky decomposition, so that a step costs O(scales · told · configurations).
    Many that are told at the beginning are taken in at once as a regression on the shared factors, which costs
    O(scales · rank² · configurations) whatever their number.

    Args:
        mean: Expected score of each configuration, shape (configurations,).
        factors: Shared part of the covariance, ``factors.T @ factors``, shape (rank, configurations).
        own: Variance of each configuration's own, shape (configurations,).
        location: Mean and variance of the prior of the location for each scale, shapes (scales,).
        scales: Values of the scale, shape (scales,).
        weights: Their prior weights, adding up to 1, shape (scales,).

    Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, sections 2.1, 2.2 and 2.7; Jones et
    al. (1998), J. Global Optimization 13, 455-492, equation 15 (expected improvement).
    """

    def __init__(
        self,
        mean: FloatArray,
        factors: FloatArray,
        own: FloatArray,
        *,
        location: tuple[FloatArray, FloatArray],
        scales: FloatArray,
        weights: FloatArray,
    ) -> None:
        self._factors, self._own = factors[None], own
        self._scales = scales
        self._log_weights = np.log(weights)
        self._offset = location[1] / scales**2
        self._mean = mean + (location[0] / scales)[:, None]
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

    def tell_all(self, places: Sequence[int], values: Sequence[float], *, noise: float = 0.0) -> None:
        """The same as telling them one after the other; quicker where they are many and nothing was told before."""
        rank = self._factors.shape[1]
        first = sorted(np.unique(np.array(places, dtype=np.int64), return_index=True)[1].tolist())
        if self._told or len(first) <= rank:
            first = []
        else:
            self._regress(np.array(places)[first], np.array(values)[first], noise)
        for number in sorted(set(range(len(places))) - set(first)):
            self.tell(places[number], values[number], noise=noise)

    def _regress(self, places: IntArray, values: FloatArray, noise: float) -> None:
        """Condition on the metric of different configurations: what they share is a regression on the factors."""
        shared = np.broadcast_to(self._factors, (self._scales.size, *self._factors.shape[1:]))
        offset = np.broadcast_to(np.sqrt(self._offset)[:, None, None], self._mean[:, None, :].shape)
        factors: FloatArray = np.concatenate([shared, offset], axis=1)
        own = self._own[places]
        variance = np.maximum(own + noise, self._least)
        told = factors[:, :, places]
        weighted = told / variance
        error = values / self._scales[:, None] - self._mean[:, places]
        root = np.linalg.cholesky(np.eye(told.shape[1]) + weighted @ told.transpose(0, 2, 1))
        weights = np.linalg.solve(root, weighted @ error[:, :, None])
        factors = np.asarray(np.linalg.solve(root, factors), dtype=np.float64)
        self._log_weights = (
            self._log_weights
            - 0.5 * ((error**2 / variance).sum(axis=1) - (weights**2).sum(axis=(1, 2)))
            - 0.5 * np.log(variance).sum()
            - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
            - places.size * np.log(self._scales)
        )
        shift = (factors * weights).sum(axis=1)
        # Of a told configuration's own part a share is known: all of it where nothing is noise.
        known = np.zeros_like(self._own)
        known[places] = own / variance
        departure = np.zeros_like(self._mean)
        departure[:, places] = error
        self._mean = self._mean + shift + known * (departure - shift)
        self._factors = factors * (1.0 - known)
        self._own = self._own * (1.0 - known)
        self._offset = np.zeros_like(self._offset)
        self._variance = (self._factors**2).sum(axis=1) + self._own

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

    def expected_improvement(self, best: float, places: IntArray) -> FloatArray:
        """How far configurations that were not told are expected to go beyond the best so far, shape (places,).

        By what configurations share: what each has of its own is like noise, nothing told points to it, and where many
        are open the largest of so many lots would hide what is known. Once what is shared promises no thousandth of the
        scale, lots are what is left.
        """
        variance = self._variance[:, places]
        gain = self._improvement(best, places, np.maximum(variance - self._own[places], 0.0))
        if gain.max() < _HOPE * float(self._weights() @ self._scales):
            return self._improvement(best, places, variance)
        return gain

    def _improvement(self, best: float, places: IntArray, variance: FloatArray) -> FloatArray:
        sd = np.sqrt(variance)
        gap = self._mean[:, places] - best / self._scales[:, None]
        ratio = gap / np.maximum(sd, 1e-12)
        improvement = gap * ndtr(ratio) + sd * np.exp(-0.5 * ratio**2) / _ROOT
        return np.asarray(self._weights() @ (self._scales[:, None] * improvement), dtype=np.float64)

    def _weights(self) -> FloatArray:
        weights = np.exp(self._log_weights - self._log_weights.max())
        return np.asarray(weights / weights.sum(), dtype=np.float64)

    def _covariance(self, place: int) -> FloatArray:
        """Covariance of all configurations with one, for each scale, shape (scales, configurations)."""
        shared = np.matmul(self._factors[:, None, :, place], self._factors)[:, 0]
        covariance = shared + self._offset[:, None]
        covariance[:, place] += self._own[place]
        steps = self._steps[: self._told]
        explained = np.einsum("tsc,ts->sc", steps, steps[:, :, place])
        return np.asarray(covariance - explained, dtype=np.float64)
