"""How long the rest of a study will take: from past runs in the lake, and from the cells that are done."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lightning_lde.query import Lake
from lightning_lde.schema import RunStatus
from lightning_lde.study._cells import Cell
from lightning_lde.study._queries import quoted

Kind = tuple[str, str]
"""Data set and algorithm of a cell."""


def past_durations(lake: Lake, settings_id: str) -> dict[Kind, list[float]]:
    """Seconds that finished trainings with the same settings took, of whatever project.

    Args:
        lake: The lake.
        settings_id: The content id of the settings.
    """
    return by_kind(lake.sql(past_durations_sql(settings_id)).to_pylist())


def past_durations_sql(settings_id: str) -> str:
    """The query of `past_durations`."""
    return f"""\
select tags->>'dataset' as dataset, tags->>'algorithm' as algorithm, list(duration_s order by run_id) as seconds
from runs
where status = '{RunStatus.FINISHED}' and tags->>'settings' = {quoted(settings_id)} and duration_s is not null
  and tags->>'cell' is not null and run_id in (select run_id from episodes)
group by all order by dataset, algorithm"""


def by_kind(rows: Iterable[Mapping[str, Any]]) -> dict[Kind, list[float]]:
    """Rows of `past_durations_sql`, by data set and algorithm."""
    return {(row["dataset"], row["algorithm"]): row["seconds"] for row in rows}


class Pace:
    """Expects of a cell what cells of its data set and algorithm took, else those of its algorithm.

    Cells begin in their order, as many at a time as there are processes, the next one as soon as one ends.

    Args:
        cells: What is to be trained, in that order.
        jobs: Cells at a time.
        known: Seconds that such cells took before.
        now: The time at which it begins, seconds of any clock.

    Example:
        >>> cells = [Cell(str(seed), "greek", "pretraining", seed) for seed in range(4)]
        >>> pace = Pace(cells, jobs=2, known={("greek", "pretraining"): [30.0]}, now=0.0)
        >>> pace.remaining_s(now=0.0)
        60.0
        >>> pace.ended(cells[0], 32.0, now=32.0)
        >>> pace.remaining_s(now=32.0)
        31.0
    """

    def __init__(self, cells: Sequence[Cell], *, jobs: int, known: Mapping[Kind, Sequence[float]], now: float) -> None:
        self._took: dict[Kind, list[float]] = {kind: list(seconds) for kind, seconds in known.items()}
        self._jobs = jobs
        self._waiting = list(cells)
        self._began: dict[Cell, float] = {}
        self._begin(now)

    def ended(self, cell: Cell, duration_s: float | None, *, now: float) -> None:
        """Note that a cell is over.

        Args:
            cell: The cell.
            duration_s: What it took; None where that says nothing of others, such as one that failed.
            now: The time.
        """
        if duration_s is not None:
            self._took.setdefault((cell.dataset, cell.algorithm), []).append(duration_s)
        self._began.pop(cell, None)
        self._waiting = [other for other in self._waiting if other != cell]
        self._begin(now)

    def remaining_s(self, *, now: float) -> float | None:
        """Seconds until the last cell ends, None while nothing is known of an algorithm that is left.

        Args:
            now: The time.
        """
        busy = [(self._expected(cell), began) for cell, began in self._began.items()]
        waiting = [self._expected(cell) for cell in self._waiting]
        free = [max(began + took - now, 0.0) for took, began in busy if took is not None]
        ahead = [took for took in waiting if took is not None]
        if len(free) + len(ahead) < len(busy) + len(waiting):
            return None
        free += [0.0] * (self._jobs - len(free))
        heapq.heapify(free)
        for took in ahead:
            heapq.heappush(free, heapq.heappop(free) + took)
        return max(free, default=0.0)

    def _begin(self, now: float) -> None:
        while self._waiting and len(self._began) < self._jobs:
            self._began[self._waiting.pop(0)] = now

    def _expected(self, cell: Cell) -> float | None:
        same = self._took.get((cell.dataset, cell.algorithm))
        like = [
            took
            for (_, algorithm), all_of_it in self._took.items()
            if algorithm == cell.algorithm
            for took in all_of_it
        ]
        return median(same or like) if same or like else None


def about(seconds: float) -> str:
    """A duration in words that promise no more than an estimate can.

    Example:
        >>> [about(seconds) for seconds in (0.4, 76, 185, 2400, 6000, 7200)]
        ['1 s', '76 s', '3 min', '40 min', '1 h 40 min', '2 h']
    """
    if seconds < 119.5:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest))
