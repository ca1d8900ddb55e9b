"""Last, lowest and highest value of each metric of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping


class Summary:
    """Running last, minimum and maximum by metric; NaN counts as last, never as lowest or highest."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """Take in new values."""
        for name, value in values.items():
            row = self._rows.setdefault(name, {})
            row["last"] = value
            if not math.isnan(value):
                row["min"] = min(value, row.get("min", value))
                row["max"] = max(value, row.get("max", value))

    def as_dict(self) -> dict[str, dict[str, float]]:
        """A copy: ``{name: {"last": …, "min": …, "max": …}}``."""
        return {name: dict(row) for name, row in self._rows.items()}
