"""Results on one scale: a matrix of data sets and configurations in which larger is better and rows compare."""

from __future__ import annotations

import dataclasses

import numpy as np

from ._table import FloatArray, IntArray, ResultTable


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoreMatrix:
    """What a table says in scores: ``metric = sign · (location + scale · score)`` in each row.

    Args:
        values: Scores, shape (data sets, configurations); nan where nothing was tried.
        noise: Variance of each score by its repetitions, same shape; nan where unknown.
        location: Mean of each row, shape (data sets,), in units of the metric, turned so that larger is better.
        scale: Spread of each row, shape (data sets,); 1 for a constant row.
    """

    values: FloatArray
    noise: FloatArray
    location: FloatArray
    scale: FloatArray


def score_matrix(table: ResultTable) -> ScoreMatrix:
    """Bring each data set of a table to location 0 and scale 1, larger is better."""
    cells = table.aggregated()
    shape = (len(table.datasets), len(table.configurations))
    place = (cells.dataset_index, cells.configuration_index)
    raw, noise = np.full(shape, np.nan), np.full(shape, np.nan)
    raw[place] = cells.mean if table.maximize else -cells.mean
    pooled = table.pooled_sd
    noise[place] = (np.where(cells.n > 1, pooled, np.nan) ** 2) / cells.n
    known = np.isfinite(raw)
    counts = known.sum(axis=1)
    filled = np.where(known, raw, 0.0)
    location = filled.sum(axis=1) / np.maximum(counts, 1)
    deviations = np.where(known, raw - location[:, None], 0.0)
    scale = np.sqrt((deviations**2).sum(axis=1) / np.maximum(counts, 1))
    scale[~(scale > 1e-12 * np.maximum(np.abs(location), 1e-300))] = 1.0
    return ScoreMatrix(
        values=np.where(known, (raw - location[:, None]) / scale[:, None], np.nan),
        noise=noise / scale[:, None] ** 2,
        location=location,
        scale=scale,
    )


def row_ranks(values: FloatArray) -> FloatArray:
    """Ranks within each row as fractions from 0 (worst) to 1 (best), ties shared, nan kept."""
    from scipy import stats

    ranks = stats.rankdata(values, axis=1, nan_policy="omit")
    counts = np.isfinite(values).sum(axis=1, keepdims=True)
    return np.asarray((ranks - 1.0) / np.maximum(counts - 1, 1), dtype=np.float64)


def column_means(values: FloatArray, *, shrink: float = 1.0) -> FloatArray:
    """Means of columns without nan, pulled towards the mean of all where a column has few values.

    Args:
        values: Shape (rows, columns).
        shrink: How many values at the overall mean each column is given beside its own.
    """
    known = np.isfinite(values)
    overall = float(values[known].mean())
    total = np.where(known, values, 0.0).sum(axis=0) + shrink * overall
    return np.asarray(total / (known.sum(axis=0) + shrink), dtype=np.float64)


def best_first(scores: FloatArray, open_: IntArray) -> IntArray:
    """Positions among ``open_``, by falling score; equal scores keep their order."""
    return open_[np.argsort(-scores[open_], kind="stable")]
