"""Last, lowest and highest value of each metric of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_lde.recording._blocks import MetricBlock


class Summary:
    """Running last, minimum and maximum by metric; NaN counts as last, never as lowest or highest.

    One thread adds, any other may ask.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, blocks: Iterable[MetricBlock]) -> None:
        """Take in new values; those of the system are no result of the run."""
        import numpy as np

        # Where blocks share a name, the one that was logged to last has its last value.
        for block in sorted(blocks, key=lambda block: float(block.rows[-1, 0])):
            if block.context == "system":
                continue
            lowest = np.fmin.reduce(block.values, axis=0).tolist()
            highest = np.fmax.reduce(block.values, axis=0).tolist()
            last = block.values[-1].tolist()
            with self._lock:
                for name, *values in zip(block.names, last, lowest, highest, strict=True):
                    self._add(name, *values)

    def _add(self, name: str, last: float, lowest: float, highest: float) -> None:
        row = self._rows.setdefault(name, {})
        row["last"] = last
        if lowest == lowest:
            row["min"] = min(lowest, row.get("min", lowest))
            row["max"] = max(highest, row.get("max", highest))

    def restore(self, rows: Mapping[str, Mapping[str, float]]) -> None:
        """Go on from what another process had."""
        self._rows = {name: dict(row) for name, row in rows.items()}

    def as_dict(self) -> dict[str, dict[str, float]]:
        """A copy: ``{name: {"last": …, "min": …, "max": …}}``."""
        with self._lock:
            return {name: dict(row) for name, row in self._rows.items()}


def renamed_summary(rows: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """A summary under other names; values that come under one name are united.

    Args:
        rows: Last, lowest and highest value by name, as they stand in JSON.
        change: Gives the other name.

    Example:
        >>> renamed_summary({"a": {"last": 1.0, "max": 4.0}, "b": {"last": 2.0, "max": 3.0}}, lambda name: "b")
        {'b': {'last': 2.0, 'max': 4.0}}
    """
    # A name that stays as it is was logged when the policy was known already: its last value is the later one.
    ordered = sorted(rows.items(), key=lambda row: change(row[0]) == row[0])
    renamed: dict[str, Any] = {}
    for name, row in ordered:
        safe = change(name)
        renamed[safe] = _united(renamed[safe], row) if safe in renamed else row
    return renamed


def _united(earlier: Any, later: Any) -> Any:
    if not isinstance(earlier, dict) or not isinstance(later, dict):
        return later
    both = earlier.keys() & later.keys()
    # As JSON has no infinity, it is a word there.
    extremes = {
        name: choose(earlier[name], later[name], key=float)
        for name, choose in (("min", min), ("max", max))
        if name in both
    }
    return {**earlier, **later, **extremes}
