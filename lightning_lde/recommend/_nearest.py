"""What did best on the data sets that are most alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ._experience import Experience, experience_of
from ._neighbours import DescriptorSpace
from ._sessions import FixedOrder, Ledger
from ._simple import fixed_order, learned
from ._table import FloatArray, ResultTable


class NearestDatasets:
    """Proposes the best configuration of the nearest data set, then that of the next, and so on.

    Nearness is the mean difference of descriptors' ranks. Where no descriptor is known, the order of the mean score.

    Args:
        k: Data sets whose best configuration is proposed; others follow by their mean score over these data sets.

    Source: Feurer et al. (2015), Efficient and robust automated machine learning, NeurIPS, section 3.1, with ranks
    in place of scaled values.
    """

    def __init__(self, *, k: int = 25) -> None:
        self.k = k
        self._experience: Experience | None = None

    def fit(self, table: ResultTable) -> NearestDatasets:
        """Learn the data sets' descriptors."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> NearestDatasets:
        """Learn from experience."""
        self._experience = experience
        self._space = DescriptorSpace(experience.table)
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set."""
        experience = learned(self._experience)
        ledger = Ledger(experience.table, candidates)
        filled = experience.filled(ledger.columns)
        distances = self._space.distances(descriptors)
        order = filled.mean(axis=0) if np.isnan(distances).all() else nearest_order(filled, distances, k=self.k)
        return fixed_order(experience, ledger, order)


def nearest_order(filled: FloatArray, distances: FloatArray, *, k: int) -> FloatArray:
    """Scores that put the best configuration of each of the k nearest data sets first, in the order of nearness.

    Args:
        filled: Scores, shape (data sets, configurations).
        distances: Shape (data sets,).
        k: Data sets.
    """
    nearest = np.argsort(distances, kind="stable")[:k]
    mean = filled[nearest].mean(axis=0)
    order = np.asarray(mean - mean.max() - 1.0, dtype=np.float64)
    for place, row in enumerate(nearest):
        # A data set whose best is proposed already proposes its next.
        chosen = int(np.where(order > 0.0, -np.inf, filled[row]).argmax())
        if np.isfinite(filled[row, chosen]) and order[chosen] <= 0.0:
            order[chosen] = float(k - place)
    return order
