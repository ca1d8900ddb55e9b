"""Results on one scale: a matrix of data sets and configurations in which larger is better and rows compare."""

from __future__ import annotations

import dataclasses

import numpy as np

from ._table import BoolArray, FloatArray, IntArray, ResultTable

_FARTHEST = 5.0
_SPARSE = 0.5
_ENOUGH = 50
_PRIOR_CELLS = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScoreMatrix:
    """What a table says in scores: ``metric = sign · (location + scale · score)`` in each row.

    Args:
        values: Scores, shape (data sets, configurations); nan where nothing was tried.
        location: What score 0 means in each row, shape (data sets,), turned so that larger is better.
        scale: What a difference of 1 means in each row, shape (data sets,); 1 for a constant row.
        noise: Variance of a single run's score by repetition in each row, shape (data sets,); nan where unknown.
    """

    values: FloatArray
    location: FloatArray
    scale: FloatArray
    noise: FloatArray


def score_matrix(table: ResultTable) -> ScoreMatrix:
    """Bring each data set to scores from 0 (its worst configuration) to 1 (its best).

    A configuration that lies more than five times as far below the worst tenth as the best lies above it, such as a
    loss that exploded, does not stretch the scale: it counts as score 0. A data set on which few of the configurations
    were tried (less than half, and less than 50) may have missed its best and worst: its scale is pulled towards the
    others', and its location is such that its scores are ordinary on average for the configurations that it tried.
    """
    cells = table.aggregated()
    raw = np.full((len(table.datasets), len(table.configurations)), np.nan)
    raw[cells.dataset_index, cells.configuration_index] = cells.mean if table.maximize else -cells.mean
    best, worst, poor = np.nanmax(raw, axis=1), np.nanmin(raw, axis=1), np.nanquantile(raw, 0.1, axis=1)
    location = np.where(best > poor, np.maximum(worst, poor - _FARTHEST * (best - poor)), worst)
    raw = np.maximum(raw, location[:, None])
    scale = best - location
    constant = ~(scale > 1e-12 * np.maximum(np.abs(best), 1e-300))
    scale[constant] = 1.0
    location, scale = _aligned(raw, location, scale, constant)
    return ScoreMatrix(
        values=(raw - location[:, None]) / scale[:, None],
        location=location,
        scale=scale,
        noise=table.pooled_sd**2 / scale**2,
    )


def _aligned(
    raw: FloatArray, location: FloatArray, scale: FloatArray, constant: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Locations and scales of data sets that tried few of the configurations that data sets share."""
    known = np.isfinite(raw)
    shared = known.sum(axis=0) > 1
    tried = (known & shared).sum(axis=1)
    few = (tried < _SPARSE * shared.sum()) & (tried < _ENOUGH)
    sparse = few & (tried > 0) & ~constant
    if not sparse.any():
        return location, scale
    usual = float(np.exp(np.median(np.log(scale[~constant]))))
    weight = tried / (tried + _PRIOR_CELLS)
    scale = np.where(sparse, np.exp(weight * np.log(scale) + (1.0 - weight) * np.log(usual)), scale)
    for _ in range(3):
        means = column_means((raw - location[:, None]) / scale[:, None])
        excess = np.where(known & shared, raw - scale[:, None] * means, 0.0).sum(axis=1) / np.maximum(tried, 1)
        location = np.where(sparse, excess, location)
    return location, scale


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


def column_spread(values: FloatArray) -> FloatArray:
    """Standard deviation of each column without nan, one value of ordinary distance added to each."""
    known = np.isfinite(values)
    squares = np.where(known, (values - column_means(values)) ** 2, 0.0)
    overall = float(squares.sum() / max(known.sum() - 1, 1))
    return np.asarray(np.sqrt((squares.sum(axis=0) + overall) / (known.sum(axis=0) + 1)), dtype=np.float64)


def best_first(scores: FloatArray, open_: IntArray) -> IntArray:
    """Positions among ``open_``, by falling score; equal scores keep their order."""
    return open_[np.argsort(-scores[open_], kind="stable")]
