"""Extra trees from the descriptors of a data set to the scores of its configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._experience import Experience, experience_of
from ._sessions import FixedOrder, Ledger
from ._simple import fixed_order, learned
from ._table import ResultTable
from ._trees import DescribedScores


class SurrogateAcrossDatasets:
    """Proposes what extra trees expect most of, and keeps to that order.

    Args:
        n_trees: Number of trees.
        seed: Seed of the trees.

    Source: Geurts et al. (2006), Machine Learning 63, 3-42.
    """

    def __init__(self, *, n_trees: int = 200, seed: int = 0) -> None:
        self.n_trees, self.seed = n_trees, seed
        self._experience: Experience | None = None

    def fit(self, table: ResultTable) -> SurrogateAcrossDatasets:
        """Learn the trees."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> SurrogateAcrossDatasets:
        """Learn from experience."""
        self._experience = experience
        self._means = DescribedScores(experience, n_trees=self.n_trees, seed=self.seed)
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set."""
        experience = learned(self._experience)
        ledger = Ledger(experience.table, candidates)
        expected = self._means.expect(ledger.columns, descriptors)
        session = fixed_order(experience, ledger, expected.mean)
        return session.expecting(expected.mean, expected.residuals.std(axis=0))
