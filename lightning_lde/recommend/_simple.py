"""Recommenders that look at no descriptor: chance, what is best on average, and a portfolio that covers data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_lde.errors import ConfigurationError

from ._experience import Experience, experience_of
from ._portfolio import portfolio
from ._scores import column_means, column_spread, row_ranks
from ._sessions import FixedOrder, Ledger
from ._table import FloatArray, ResultTable


def fixed_order(experience: Experience, ledger: Ledger, order: FloatArray) -> FixedOrder:
    """A session that proposes by falling ``order`` and expects each candidate's mean score."""
    values = experience.observed(ledger.columns)
    return FixedOrder(
        ledger, order=order, mean=column_means(values), sd=column_spread(values), scores=experience.scores
    )


def learned(experience: Experience | None) -> Experience:
    """The experience that was learned.

    Raises:
        ConfigurationError: If nothing was learned yet.
    """
    if experience is None:
        raise ConfigurationError("the recommender has learned nothing; call fit(table) first.")
    return experience


class RandomChoice:
    """Proposes at random, with equal chances: what every other recommender has to beat.

    Args:
        seed: Seed of the orders; each beginning draws one of its own.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._experience: Experience | None = None

    def fit(self, table: ResultTable) -> RandomChoice:
        """Learn which configurations there are."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> RandomChoice:
        """Learn from experience."""
        self._experience = experience
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set."""
        experience = learned(self._experience)
        ledger = Ledger(experience.table, candidates)
        return fixed_order(experience, ledger, self._rng.random(ledger.columns.size))


class AverageRank:
    """Proposes what ranked best on average over the data sets of the table."""

    def __init__(self) -> None:
        self._experience: Experience | None = None
        self._order: FloatArray | None = None

    def fit(self, table: ResultTable) -> AverageRank:
        """Learn the mean rank of each configuration among those tried on the same data set."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> AverageRank:
        """Learn from experience."""
        self._experience, self._order = experience, None
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set."""
        experience = learned(self._experience)
        ledger = Ledger(experience.table, candidates)
        if not experience.shares_configurations:
            return fixed_order(experience, ledger, column_means(row_ranks(experience.observed(ledger.columns))))
        if self._order is None:
            self._order = column_means(row_ranks(experience.scores.values))
        return fixed_order(experience, ledger, self._order[ledger.columns])


class GreedyPortfolio:
    """Proposes first what is best on average, then what adds most to the best of those before it.

    Args:
        size: Configurations in the portfolio; the others follow by their mean.

    Source: Feurer et al. (2022), Auto-sklearn 2.0, JMLR 23, section 3.1.
    """

    def __init__(self, *, size: int = 25) -> None:
        self.size = size
        self._experience: Experience | None = None

    def fit(self, table: ResultTable) -> GreedyPortfolio:
        """Learn the portfolio."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> GreedyPortfolio:
        """Learn from experience."""
        self._experience = experience
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set; the portfolio is one of its candidates."""
        experience = learned(self._experience)
        ledger = Ledger(experience.table, candidates)
        return fixed_order(experience, ledger, portfolio_order(experience.filled(ledger.columns), size=self.size))


def portfolio_order(filled: FloatArray, *, size: int) -> FloatArray:
    """Scores that put the greedy portfolio first and all others by their mean behind it.

    Args:
        filled: Scores, shape (data sets, configurations).
        size: Configurations in the portfolio.
    """
    mean = filled.mean(axis=0)
    order = np.asarray(mean - mean.max() - 1.0, dtype=np.float64)
    chosen = portfolio(filled.T, size)
    order[chosen] = size - np.arange(chosen.size)
    return order
