"""How alike data sets are by their descriptors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ._table import BoolArray, FloatArray, ResultTable


class DescriptorSpace:
    """Descriptors as ranks among the data sets of a table, from 0 to 1, so that no outlier squeezes the others.

    Args:
        table: Data sets that are known.

    Attributes:
        names: Descriptors that differ between data sets.
        known: Raw values, shape (data sets, names); what is missing is the median.
        ranks: The same as ranks.
    """

    def __init__(self, table: ResultTable) -> None:
        values = table.descriptors
        differing = varying(values)
        self.names = tuple(name for name, use in zip(table.descriptor_names, differing, strict=True) if use)
        values = values[:, differing]
        self._medians = np.nanmedian(values, axis=0) if self.names else np.zeros(0)
        self.known = np.where(np.isfinite(values), values, self._medians)
        self._sorted = np.sort(self.known, axis=0)
        self.ranks = np.stack([self._rank(row) for row in self.known])

    def values(self, descriptors: Mapping[str, float | None] | None) -> FloatArray:
        """Raw values of a new data set in the order of the names, medians where it has none, shape (names,)."""
        given = [(descriptors or {}).get(name) for name in self.names]
        numbers = np.array([np.nan if value is None else value for value in given], dtype=np.float64)
        return np.where(np.isfinite(numbers), numbers, self._medians)

    def rank(self, descriptors: Mapping[str, float | None] | None) -> FloatArray:
        """The same as ranks among the known data sets, from 0 to 1, shape (names,)."""
        return self._rank(self.values(descriptors))

    def distances(self, descriptors: Mapping[str, float | None] | None) -> FloatArray:
        """Mean difference of ranks to each known data set, from 0 to 1, shape (data sets,); nan without descriptors."""
        if not self.names or not descriptors:
            return np.full(len(self.known), np.nan)
        return np.asarray(np.abs(self.ranks - self.rank(descriptors)).mean(axis=1))

    def _rank(self, row: FloatArray) -> FloatArray:
        below = (self._sorted < row).sum(axis=0)
        equal = (self._sorted == row).sum(axis=0)
        return np.asarray((below + equal / 2.0) / max(len(self._sorted), 1), dtype=np.float64)


def varying(values: FloatArray) -> BoolArray:
    """Which columns have two different values, nan aside, shape (columns,)."""
    known = [column[np.isfinite(column)] for column in values.T]
    return np.array([column.size > 0 and np.ptp(column) > 0 for column in known], dtype=bool)
