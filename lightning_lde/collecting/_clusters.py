"""Kinds for samples without labels: cells around the centres of first samples, fixed for ever."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

OUTSIDE = "outside"
_SAMPLES_OF_CLUSTER = 16
_MOST = 8
# Samples that no centre was fitted to lie farther off, the more so in many dimensions.
_FARTHER = 1.25


@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """Names samples by the nearest centre, or ``outside`` where they lie much farther off than the first samples.

    The cells never change. So samples of one source fall into a cell by the same rule in every batch, and the means
    of a cell differ between batches by noise alone: the level of a monitor's test stays what it is. What is new
    moves the mean of a cell, or lies outside.

    Attributes:
        centres: (k, D).
        radius: Distance to the nearest centre beyond which a sample lies outside.
    """

    centres: FloatArray
    radius: float

    @classmethod
    def of(cls, features: FloatArray) -> Clusters:
        """Clusters of first samples: about 16 samples each, at most 8; the same for the same features.

        Args:
            features: (N, D).
        """
        from scipy.spatial.distance import cdist
        from sklearn.cluster import KMeans

        count = min(max(len(features) // _SAMPLES_OF_CLUSTER, 1), _MOST, len(np.unique(features, axis=0)))
        found = KMeans(count, n_init=3, random_state=0).fit(features)
        centres = np.asarray(found.cluster_centers_, dtype=np.float64)
        return cls(centres, _FARTHER * float(cdist(features, centres).min(axis=1).max()))

    def names(self, features: FloatArray) -> list[str]:
        """The cluster of each sample, (N, D) to (N,)."""
        from scipy.spatial.distance import cdist

        distances = cdist(features, self.centres)
        return [OUTSIDE if row.min() > self.radius else f"cluster {int(row.argmin()) + 1}" for row in distances]
