"""What a growing data set holds so far, as regions that differ by more than noise."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Hashable

import numpy as np
from scipy import stats

from ._inputs import FloatArray
from ._observations import Observation

_POOLED_ROWS = 512
_ROWS_OF_ONE = 16
_ROWS_OF_REGION = 64
_ENOUGH_NOISE = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Novelty:
    """How an observation compares with the nearest region.

    Args:
        region: Number of the nearest region; None if there is none.
        distance: Cross-validated distance to it; nan if there is none.
        p: One-sided p of lying no farther from it than the resolution.
    """

    region: int | None
    distance: float
    p: float


class Regions:
    """Regions found one after the other: what differs from all of them founds a new one.

    An observation is compared with the nearest region r by the cross-validated distance to its mean. With
    Δ^A and Δ^B the differences of both halves, ⟨Δ^A, Δ^B⟩ has, given Δ^A and without any true difference,
    mean 0 and variance Δ^A' Σ Δ^A (1/m + 1/m_r), where Σ is the covariance of one sample and m the samples of
    the second half. Σ is never formed: its quadratic form is a mean over residuals of both, whose number is the
    degrees of freedom of the t test. So the level holds for correlated features and for regions of any spread.

    Args:
        resolution: Distance up to which two kinds count as one, 0 for any that can be shown.
    """

    def __init__(self, *, resolution: float) -> None:
        self._resolution = resolution
        self._first: list[FloatArray] = []
        self._second: list[FloatArray] = []
        self._pooled: collections.deque[FloatArray] = collections.deque(maxlen=_POOLED_ROWS)
        self._noise: list[collections.deque[FloatArray]] = []
        self.counts: list[list[int]] = []
        self.labels: list[collections.Counter[Hashable]] = []
        self.observations: list[int] = []

    def __len__(self) -> int:
        return len(self.counts)

    def means(self) -> tuple[FloatArray, FloatArray]:
        """Means of both halves of each region, two matrices (R, D)."""
        counts = np.array(self.counts, dtype=np.float64)
        return np.asarray(self._first) / counts[:, :1], np.asarray(self._second) / counts[:, 1:]

    def images(self) -> FloatArray:
        """Samples of each region, (R,)."""
        return np.asarray(np.sum(self.counts, axis=1, dtype=np.float64))

    def distances(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """Cross-validated distances of observations to all regions.

        Args:
            first: First halves, (k, D).
            second: Second halves, (k, D).

        Returns:
            (k, R).
        """
        ones, twos = self.means()
        rows = [((one - ones) * (two - twos)).mean(axis=1) / 2.0 for one, two in zip(first, second, strict=True)]
        return np.asarray(np.stack(rows))

    def learn_noise(self, observation: Observation) -> None:
        """Take residuals of an observation into the noise that all regions share, for those with few of their own."""
        self._pooled.extend(observation.noise[:_ROWS_OF_ONE])

    def novelty(self, observation: Observation) -> Novelty:
        """Compare an observation with the nearest region."""
        if not len(self):
            return Novelty(region=None, distance=math.nan, p=0.0)
        found = self.distances(observation.first[None], observation.second[None])[0]
        region = int(np.argmin(found))
        noise = self._noise_of(observation, region)
        if len(noise) < _ENOUGH_NOISE:
            return self._by_label(observation, region, float(found[region]))
        ones, twos = self.means()
        excess = float(found[region] - self._resolution) * 2.0 * observation.first.size
        variance = self._variance(noise @ (observation.first - ones[region]), observation, region, half=1)
        if self._resolution > 0.0:
            # With a true difference the noise of the first half, times that difference, counts as well.
            variance += self._variance(noise @ (observation.second - twos[region]), observation, region, half=0)
        if variance == 0.0:
            return Novelty(region=region, distance=float(found[region]), p=float(excess <= 0.0))
        p = float(stats.t.sf(excess / math.sqrt(variance), len(noise)))
        return Novelty(region=region, distance=float(found[region]), p=p)

    def join(self, observation: Observation, region: int | None) -> int:
        """Put an observation into a region.

        Args:
            observation: The observation.
            region: Number of the region; None to found one.

        Returns:
            The number of the region.
        """
        one, two = observation.counts
        if region is None:
            self._first.append(np.zeros_like(observation.first))
            self._second.append(np.zeros_like(observation.second))
            self._noise.append(collections.deque(maxlen=_ROWS_OF_REGION))
            self.counts.append([0, 0])
            self.labels.append(collections.Counter())
            self.observations.append(0)
            region = len(self) - 1
        self._first[region] = self._first[region] + one * observation.first
        self._second[region] = self._second[region] + two * observation.second
        self._noise[region].extend(observation.noise[:_ROWS_OF_ONE])
        self.counts[region] = [self.counts[region][0] + one, self.counts[region][1] + two]
        self.labels[region][observation.label] += one + two
        self.observations[region] += 1
        return region

    def _by_label(self, observation: Observation, nearest: int, distance: float) -> Novelty:
        """While the noise is unknown, a label is new if it was not seen."""
        same = [number for number, labels in enumerate(self.labels) if observation.label in labels]
        return Novelty(region=same[0] if same else nearest, distance=distance, p=1.0 if same else 0.0)

    def _noise_of(self, observation: Observation, region: int) -> FloatArray:
        """Residuals of the region and of what may belong to it, or of all regions where those are few."""
        own = [*self._noise[region], *observation.noise]
        return np.stack(own if len(own) >= _ENOUGH_NOISE else [*self._pooled, *observation.noise])

    def _variance(self, projected: FloatArray, observation: Observation, region: int, *, half: int) -> float:
        return float((projected**2).mean()) * (1.0 / observation.counts[half] + 1.0 / self.counts[region][half])
