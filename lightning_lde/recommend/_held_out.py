"""One data set that recommenders have not seen: its results, and the regret of a session that is told them."""

from __future__ import annotations

import dataclasses

import numpy as np

from ._protocol import Session
from ._table import FloatArray, ResultTable


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """Results of one data set.

    Args:
        ids: Configurations that were tried on it.
        values: What they reached, shape (configurations,).
        scores: The same from 0 (worst) to 1 (best).
        sign: 1 where larger values are better, else -1.
    """

    ids: tuple[str, ...]
    values: FloatArray
    scores: FloatArray
    sign: float

    def sample(self, most: int, rng: np.random.Generator) -> HeldOut:
        """At most so many of the configurations, drawn at random; scores stay as they are."""
        if len(self.ids) <= most:
            return self
        kept = np.sort(rng.choice(len(self.ids), most, replace=False))
        return HeldOut(tuple(self.ids[i] for i in kept), self.values[kept], self.scores[kept], self.sign)


def held_out_rows(table: ResultTable, min_range: float) -> dict[str, HeldOut]:
    """The data sets of a table whose best and worst differ by more than ``min_range``, by name."""
    cells = table.aggregated()
    sign = 1.0 if cells.maximize else -1.0
    order = np.argsort(cells.dataset_index, kind="stable")
    bounds = np.searchsorted(cells.dataset_index[order], np.arange(len(cells.datasets) + 1))
    found = {}
    for number, name in enumerate(cells.datasets):
        here = order[bounds[number] : bounds[number + 1]]
        values = cells.mean[here]
        if values.size > 1 and np.ptp(values) > max(min_range, 0.0):
            ids = tuple(cells.configurations[i] for i in cells.configuration_index[here])
            turned = sign * values
            found[name] = HeldOut(ids, values, (turned - turned.min()) / np.ptp(turned), sign)
    return found


def regret_curve(session: Session, row: HeldOut, length: int) -> FloatArray:
    """Regret after each of the first proposals, from 0 to 1, shape (length,)."""
    place = {name: number for number, name in enumerate(row.ids)}
    best_possible = float(row.scores.max())
    reached = np.zeros(length)
    best = 0.0
    for step in range(length):
        for name in session.ask():
            best = max(best, float(row.scores[place[name]]))
            session.tell(name, float(row.values[place[name]]))
        reached[step] = best
    return best_possible - reached
