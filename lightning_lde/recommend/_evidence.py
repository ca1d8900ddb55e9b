"""The past results that speak for a configuration: on which data sets, how similar, how often repeated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ._neighbours import DescriptorSpace
from ._scores import row_ranks, score_matrix
from ._table import ResultTable

_MOST = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilarDataset:
    """A past data set.

    Args:
        dataset: Its name.
        similarity: 1 less the mean difference of its descriptors' ranks; None where no descriptor is known.
        n_configurations: Configurations tried on it.
        best: Id of the best of them.
    """

    dataset: str
    similarity: float | None
    n_configurations: int
    best: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """A configuration's result on a past data set.

    Args:
        dataset: Its name.
        similarity: How similar that data set is, as in [SimilarDataset][].
        mean: Mean metric.
        low: Lower bound of its interval over repetitions; None for a single run.
        high: Upper bound of it.
        n: Repetitions.
        rank: Share of the configurations tried there that it was better than, from 0 to 1.
    """

    dataset: str
    similarity: float | None
    mean: float
    low: float | None
    high: float | None
    n: int
    rank: float


def similar_datasets(table: ResultTable, descriptors: Mapping[str, float | None] | None) -> tuple[SimilarDataset, ...]:
    """All past data sets, most similar first; in the order of their names where no descriptor is known."""
    distances = DescriptorSpace(table).distances(descriptors)
    values = score_matrix(table).values
    tried = np.isfinite(values)
    best = np.where(tried, values, -np.inf).argmax(axis=1)
    return tuple(
        SimilarDataset(
            dataset=table.datasets[row],
            similarity=None if math.isnan(distances[row]) else float(1.0 - distances[row]),
            n_configurations=int(tried[row].sum()),
            best=table.configurations[best[row]],
        )
        for row in np.argsort(distances, kind="stable")
    )


def evidence_for(cells: ResultTable, configuration: str, similar: Sequence[SimilarDataset]) -> tuple[Evidence, ...]:
    """Results of a configuration on the most similar data sets on which it was tried.

    Args:
        cells: Aggregated results.
        configuration: Its id.
        similar: Past data sets, most similar first.
    """
    column = cells.configurations.index(configuration)
    rows = {
        cells.datasets[cells.dataset_index[row]]: row for row in np.flatnonzero(cells.configuration_index == column)
    }
    low, high = cells.intervals()
    found: list[Evidence] = []
    for one in similar:
        if one.dataset in rows and len(found) < _MOST:
            row = int(rows[one.dataset])
            there = cells.dataset_index == cells.dataset_index[row]
            values = cells.mean[there] if cells.maximize else -cells.mean[there]
            rank = row_ranks(values[None, :])[0][cells.configuration_index[there] == column][0]
            found.append(
                Evidence(
                    dataset=one.dataset,
                    similarity=one.similarity,
                    mean=float(cells.mean[row]),
                    low=None if math.isnan(low[row]) else float(low[row]),
                    high=None if math.isnan(high[row]) else float(high[row]),
                    n=int(cells.n[row]),
                    rank=float(rank),
                )
            )
    return tuple(found)
