"""Factors of the matrix of scores, fitted to a new data set as results are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ._covariance import Covariance
from ._empirical_bayes import GaussianSession
from ._experience import Experience, experience_of
from ._factors import factor_model
from ._sessions import Ledger
from ._simple import learned
from ._table import ResultTable


class MatrixFactorisation:
    """Proposes the highest expectation of a factor model of data sets and configurations.

    Args:
        rank: Factors.

    Source: Tipping and Bishop (1999), JRSS B 61, 611-622; Fusi et al. (2018), Probabilistic matrix factorization for
    automated machine learning, NeurIPS (the use).
    """

    def __init__(self, *, rank: int = 10) -> None:
        self.rank = rank
        self._experience: Experience | None = None

    def fit(self, table: ResultTable) -> MatrixFactorisation:
        """Learn the factors."""
        return self.learn(experience_of(table))

    def learn(self, experience: Experience) -> MatrixFactorisation:
        """Learn from experience."""
        self._experience = experience
        everything = np.arange(len(experience.table.configurations))
        if experience.shares_configurations:
            self._model = factor_model(experience.observed(everything), rank=self.rank)
        return self

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> GaussianSession:
        """Begin with a data set; descriptors are not looked at."""
        experience = learned(self._experience)
        ledger = Ledger(experience.table, candidates)
        columns = ledger.columns
        if experience.shares_configurations:
            model = self._model
        else:
            model, columns = factor_model(experience.filled(columns), rank=self.rank), np.arange(columns.size)
        shared = Covariance(factors=model.loadings, own=np.full(model.mean.size, model.noise)).of(columns)
        return GaussianSession.over(experience, ledger, model.mean[columns], shared, improvement=False)
