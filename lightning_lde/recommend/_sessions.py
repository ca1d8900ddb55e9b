"""Sessions: what was told about one data set, and the proposals of recommenders whose order stays as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from lightning_lde.errors import ConfigurationError

from ._protocol import Prediction
from ._scores import ScoreMatrix, best_first
from ._table import FloatArray, IntArray, ResultTable

_UPPER = 0.975
"""Quantile of the upper bound of a 95 % interval."""


class Ledger:
    """The candidates of a session and what was told of them, turned so that larger is better.

    Args:
        table: Table that the recommender learned from.
        candidates: Ids to choose from; by default all of the table.

    Attributes:
        columns: Place of each candidate among the table's configurations.
        tried: Whether each candidate was told.
        places: Candidates with a finite value, in the order in which they were told.
        values: Their values, larger is better.
    """

    def __init__(self, table: ResultTable, candidates: Sequence[str] | None) -> None:
        known = table.configurations
        self.candidates = known if candidates is None else tuple(dict.fromkeys(candidates))
        if not self.candidates:
            raise ConfigurationError("there is no candidate to choose from; pass ids of the table's configurations.")
        self.columns = np.arange(len(known)) if candidates is None else table.places_of(self.candidates)
        self.sign = 1.0 if table.maximize else -1.0
        self.tried = np.zeros(len(self.candidates), dtype=bool)
        self.places: list[int] = []
        self.values: list[float] = []
        self._place = {name: place for place, name in enumerate(self.candidates)}

    def note(self, configuration: str, value: float) -> bool:
        """Take in a value; False where there is none to learn from, because the configuration failed."""
        if configuration not in self._place:
            raise ConfigurationError(
                f"configuration {configuration!r} is not among the {len(self.candidates)} candidates; tell one of them."
            )
        place = self._place[configuration]
        self.tried[place] = True
        if not math.isfinite(value):
            return False
        self.places.append(place)
        self.values.append(self.sign * float(value))
        return True

    def place(self, configuration: str) -> int:
        """The place of a candidate."""
        return self._place[configuration]

    def untried(self) -> IntArray:
        """Places of candidates that were not told."""
        return np.flatnonzero(~self.tried)

    def prediction(self, mean: FloatArray, sd: FloatArray) -> Prediction:
        """A prediction in the metric's own direction."""
        return Prediction(configurations=self.candidates, mean=self.sign * mean, sd=sd)


class FixedOrder:
    """A session that proposes in an order set beforehand; what is told only sharpens what it predicts.

    Args:
        ledger: Candidates.
        order: Score of each candidate, by which it is proposed, shape (candidates,).
        mean: Expected score of each, shape (candidates,).
        sd: Standard deviation of the score between data sets, shape (candidates,).
        scores: Past results, for locations and scales.
    """

    def __init__(
        self, ledger: Ledger, *, order: FloatArray, mean: FloatArray, sd: FloatArray, scores: ScoreMatrix
    ) -> None:
        self._ledger, self._order = ledger, order
        self._mean, self._sd, self._scores = mean, sd, scores

    def expecting(self, mean: FloatArray, sd: FloatArray) -> FixedOrder:
        """The same order with other expectations."""
        return FixedOrder(self._ledger, order=self._order, mean=mean, sd=sd, scores=self._scores)

    def ask(self, k: int = 1) -> list[str]:
        """The next k configurations to try, best first."""
        at_least_one(k)
        order = best_first(self._order, self._ledger.untried())
        return [self._ledger.candidates[place] for place in order[:k]]

    def tell(self, configuration: str, value: float) -> None:
        """Take in what a configuration reached; nan for one that failed."""
        self._ledger.note(configuration, value)

    def predict(self) -> Prediction:
        """What each candidate is expected to reach."""
        ledger, scale = self._ledger, self._scale()
        location, variance = self._location(scale)
        mean, sd = location + scale * self._mean, np.sqrt(variance + (scale * self._sd) ** 2)
        mean[ledger.places], sd[ledger.places] = ledger.values, 0.0
        return ledger.prediction(mean, sd)

    def difference(self, first: str, second: str) -> tuple[float, float]:
        """How much more one candidate reaches than another: both vary between data sets, each for itself."""
        places = [self._ledger.place(first), self._ledger.place(second)]
        mean, sd = self.predict().mean[places], np.where(self._ledger.tried[places], 0.0, self._sd[places])
        return float(mean[0] - mean[1]), self._scale() * float(np.hypot(*sd))

    def _scale(self) -> float:
        """The scale of a new data set, in the middle of the past ones."""
        return float(np.exp(np.log(self._scores.scale).mean()))

    def _location(self, scale: float) -> tuple[float, float]:
        """Where the data set's results lie: the past data sets' locations, then what was told."""
        past = self._scores.location
        precision = 1.0 / max(_variance_of_another(past, scale), 1e-12 * scale**2 + 1e-300)
        total = precision * float(past.mean())
        places = self._ledger.places
        weights = 1.0 / np.maximum((scale * self._sd[places]) ** 2, 1e-12 * scale**2 + 1e-300)
        shifts = np.array(self._ledger.values) - scale * self._mean[places]
        precision, total = precision + float(weights.sum()), total + float((weights * shifts).sum())
        return total / precision, 1.0 / precision


def _variance_of_another(past: FloatArray, scale: float) -> float:
    """Variance of one more of some locations, so large that a normal interval of 95 % is as wide as Student's.

    Of one location nobody knows how far others are: the scale and the fewest degrees of freedom stand in.
    """
    spread = float(past.var(ddof=1)) if past.size > 1 else scale**2
    wider = stats.t.ppf(_UPPER, max(past.size - 1, 1)) / stats.norm.ppf(_UPPER)
    return float(spread * (1.0 + 1.0 / past.size) * wider**2)


def at_least_one(k: int) -> None:
    """Refuse to propose nothing.

    Raises:
        ConfigurationError: If k is below 1.
    """
    if k < 1:
        raise ConfigurationError(f"k is {k}, expected at least 1 configuration to propose.")
