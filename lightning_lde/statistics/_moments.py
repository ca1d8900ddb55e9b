"""Bootstrap over clusters through sums of products: each cluster is drawn whole, whatever its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ._checks import FloatArray, IntArray
from ._resampling import bootstrap_interval

OfMoments = Callable[[FloatArray], FloatArray]


def cluster_moments(columns: Sequence[FloatArray], clusters: IntArray) -> FloatArray:
    """Sums of products of (1, columns) within each cluster, columns in standard units: shape (G, q + 1, q + 1)."""
    standard = [(column - column.mean()) / column.std() for column in columns]
    rows = np.column_stack([np.ones(clusters.size), *standard])
    total = np.zeros((int(clusters.max()) + 1, rows.shape[1], rows.shape[1]))
    np.add.at(total, clusters, rows[:, :, None] * rows[:, None, :])
    return total


def correlations_of(moments: FloatArray) -> FloatArray:
    """The correlation matrix of the columns, shape (..., q, q); nan where a column does not vary."""
    n, sums = moments[..., :1, :1], moments[..., :1, 1:]
    covariance = moments[..., 1:, 1:] / n - np.swapaxes(sums, -1, -2) @ sums / n**2
    variances = np.einsum("...ii->...i", covariance)
    spread = np.sqrt(np.where(variances > 1e-12, variances, np.nan))
    return np.asarray(covariance / (spread[..., :, None] * spread[..., None, :]), dtype=np.float64)


def partial_correlation_of(moments: FloatArray) -> FloatArray:
    """The correlation of the last two columns, the others held fixed; nan where it does not exist."""
    correlations = correlations_of(moments)
    is_defined = np.asarray(np.isfinite(correlations).all(axis=(-1, -2)))
    filled = np.where(is_defined[..., None, None], correlations, np.eye(correlations.shape[-1]))
    values, vectors = np.linalg.eigh(filled)
    is_defined &= values[..., 0] > 1e-10
    inverse = (vectors / np.maximum(values, 1e-10)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    partial = -inverse[..., -2, -1] / np.sqrt(inverse[..., -2, -2] * inverse[..., -1, -1])
    return np.where(is_defined, partial, np.nan)


def moments_interval(
    moments: FloatArray, statistic: OfMoments, *, confidence: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The interval of a function of summed moments when clusters are drawn with replacement.

    Args:
        moments: One matrix a cluster, shape (G, q + 1, q + 1).
        statistic: From matrices of shape (..., q + 1, q + 1) to values of shape (...).
        confidence: Coverage aimed at, a fraction.
        resamples: Number of resamples.
        rng: Source of the draws.
    """

    def of_drawn(numbers: FloatArray, *, axis: int = -1) -> FloatArray:
        drawn = np.moveaxis(numbers, axis, -1).astype(np.int64)
        return statistic(np.tensordot(_counts(drawn, len(moments)), moments, axes=1))

    numbers = np.arange(len(moments), dtype=np.float64)
    return bootstrap_interval((numbers,), of_drawn, confidence=confidence, resamples=resamples, rng=rng)


def _counts(drawn: IntArray, n_clusters: int) -> FloatArray:
    """How often each row of draws holds each cluster, shape (..., G)."""
    rows = drawn.reshape(-1, drawn.shape[-1])
    places = rows + n_clusters * np.arange(len(rows))[:, None]
    counts = np.bincount(places.ravel(), minlength=n_clusters * len(rows))
    return counts.reshape(*drawn.shape[:-1], n_clusters).astype(np.float64)
