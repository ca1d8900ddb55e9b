"""What every recommender is: it learns from a table, and then proposes and is told, one data set at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from ._table import FloatArray, ResultTable


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a recommender expects of each candidate on one data set, in the metric's own unit.

    Args:
        configurations: The candidates.
        mean: Expected metric, shape (candidates,).
        sd: Standard deviation of what is not known about it, shape (candidates,).
    """

    configurations: tuple[str, ...]
    mean: FloatArray
    sd: FloatArray


class Session(Protocol):
    """Proposals for one data set: ask, try, tell, ask again."""

    def ask(self, k: int = 1) -> list[str]:
        """The next k configurations to try, best first; fewer where fewer are left untried."""
        ...

    def tell(self, configuration: str, value: float) -> None:
        """Take in what a configuration reached, in the metric's own unit; nan for one that failed."""
        ...

    def predict(self) -> Prediction:
        """What each candidate is expected to reach, given what was told."""
        ...

    def difference(self, first: str, second: str) -> tuple[float, float]:
        """Mean and standard deviation of how much more one candidate reaches than another, in the metric's own unit.

        Where the results of the data set lie is the same for both, however little is known of it.
        """
        ...


class Recommender(Protocol):
    """Learns from past results which configurations to try on a new data set."""

    def fit(self, table: ResultTable) -> Recommender:
        """Learn from a table.

        Raises:
            DataError: If the table has too little to learn from.
        """
        ...

    def start(
        self, descriptors: Mapping[str, float | None] | None = None, *, candidates: Sequence[str] | None = None
    ) -> Session:
        """Begin with a data set.

        Args:
            descriptors: What is known of it, by the table's names; what is missing is taken for ordinary.
            candidates: Configurations to choose from; by default all of the table.

        Raises:
            ConfigurationError: If a candidate is not in the table, or nothing was learned yet.
        """
        ...
