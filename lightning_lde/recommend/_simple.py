"""Recommenders that look at no descriptor: chance, what is best on average, and a portfolio that covers data sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lightning_lde.errors import ConfigurationError

from ._scores import ScoreMatrix, column_means, row_ranks, score_matrix
from ._sessions import FixedOrder, Ledger
from ._table import FloatArray, ResultTable


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """What recommenders without descriptors keep of a table."""

    table: ResultTable
    scores: ScoreMatrix
    mean: FloatArray
    sd: FloatArray
    order: FloatArray


def spread(values: FloatArray) -> FloatArray:
    """Standard deviation of each column, one of ordinary size added where a column has few values."""
    known = np.isfinite(values)
    centre = column_means(values)
    squares = np.where(known, (values - centre) ** 2, 0.0)
    overall = float(squares.sum() / max(known.sum() - 1, 1))
    return np.asarray(np.sqrt((squares.sum(axis=0) + overall) / (known.sum(axis=0) + 1)), dtype=np.float64)


def start(learned: Learned | None, candidates: Sequence[str] | None) -> FixedOrder:
    """A session in the learned order.

    Raises:
        ConfigurationError: If nothing was learned yet.
    """
    if learned is None:
        raise ConfigurationError("the recommender has learned nothing; call fit(table) first.")
    ledger = Ledger(learned.table, candidates)
    columns = ledger.columns
    return FixedOrder(
        ledger,
        order=learned.order[columns],
        mean=learned.mean[columns],
        sd=learned.sd[columns],
        scores=learned.scores,
    )


class RandomChoice:
    """Proposes at random, with equal chances: what every other recommender has to beat.

    Args:
        seed: Seed of the order.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self._learned: Learned | None = None
        self._started = 0

    def fit(self, table: ResultTable) -> RandomChoice:
        """Learn which configurations there are."""
        scores = score_matrix(table)
        mean = column_means(scores.values)
        sd = spread(scores.values)
        self._learned = Learned(table=table, scores=scores, mean=mean, sd=sd, order=np.zeros_like(mean))
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set; each beginning draws an order of its own."""
        self._started += 1
        if self._learned is not None:
            rng = np.random.default_rng((self.seed, self._started))
            self._learned = dataclasses.replace(self._learned, order=rng.random(self._learned.mean.size))
        return start(self._learned, candidates)


class AverageRank:
    """Proposes what ranked best on average over the data sets of the table."""

    def __init__(self) -> None:
        self._learned: Learned | None = None

    def fit(self, table: ResultTable) -> AverageRank:
        """Learn the mean rank of each configuration among those tried on the same data set."""
        scores = score_matrix(table)
        mean, sd = column_means(scores.values), spread(scores.values)
        order = column_means(row_ranks(scores.values))
        self._learned = Learned(table=table, scores=scores, mean=mean, sd=sd, order=order)
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set."""
        return start(self._learned, candidates)


class GreedyPortfolio:
    """Proposes first what is best on average, then what adds most to the best of those before it.

    Args:
        size: Configurations in the portfolio; the others follow by their mean.

    Source: Feurer et al. (2022), Auto-sklearn 2.0, JMLR 23, section 3.1.
    """

    def __init__(self, *, size: int = 50) -> None:
        self.size = size
        self._learned: Learned | None = None

    def fit(self, table: ResultTable) -> GreedyPortfolio:
        """Learn the portfolio."""
        scores = score_matrix(table)
        mean, sd = column_means(scores.values), spread(scores.values)
        order = portfolio_order(scores.values, mean, size=self.size)
        self._learned = Learned(table=table, scores=scores, mean=mean, sd=sd, order=order)
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> FixedOrder:
        """Begin with a data set."""
        return start(self._learned, candidates)


def portfolio_order(values: FloatArray, mean: FloatArray, *, size: int) -> FloatArray:
    """Scores that put the greedy portfolio first and all others by their mean behind it.

    A cell that was not tried counts as the configuration's mean.

    Args:
        values: Scores, shape (data sets, configurations); nan where nothing was tried.
        mean: Mean of each configuration, shape (configurations,).
        size: Configurations in the portfolio.
    """
    filled = np.where(np.isfinite(values), values, mean)
    order = mean - (np.ptp(mean) + mean.max() + 1.0)
    best = np.full((len(values), 1), -np.inf)
    for place in range(min(size, mean.size)):
        reached = np.maximum(filled, best).mean(axis=0)
        reached[order > 0.0] = -np.inf
        chosen = int(reached.argmax())
        order[chosen] = float(size - place)
        best = np.maximum(best, filled[:, [chosen]])
    return np.asarray(order, dtype=np.float64)
