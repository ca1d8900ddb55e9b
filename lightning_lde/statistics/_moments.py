"""Correlations from sums of products by cluster, and what becomes of them when each cluster is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from ._checks import FloatArray, IntArray

OfMoments = Callable[[FloatArray], FloatArray]


class Jackknife(NamedTuple):
    """A figure and its standard error over clusters; nan where the figure does not exist without some cluster.

    Attributes:
        value: The figure of all clusters.
        error: Its standard error.
        freedom: Degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: int

    def bounds(self, confidence: float) -> tuple[float, float]:
        """The t interval."""
        reach = float(stats.t.ppf(0.5 + confidence / 2.0, self.freedom)) * self.error
        return self.value - reach, self.value + reach

    @property
    def p(self) -> float:
        """Two-sided p of a true figure of zero."""
        if self.error == 0.0:
            return 1.0 if self.value == 0.0 else 0.0
        return float(2.0 * stats.t.sf(abs(self.value / self.error), self.freedom))


def cluster_moments(columns: Sequence[FloatArray], clusters: IntArray) -> FloatArray:
    """Sums of products of (1, columns) within each cluster, columns in standard units: shape (G, q + 1, q + 1)."""
    standard = [(column - column.mean()) / column.std() for column in columns]
    rows = np.column_stack([np.ones(clusters.size), *standard])
    total = np.zeros((int(clusters.max()) + 1, rows.shape[1], rows.shape[1]))
    np.add.at(total, clusters, rows[:, :, None] * rows[:, None, :])
    return total


def jackknife(moments: FloatArray, statistic: OfMoments, *, n_fixed: int = 0) -> Jackknife:
    """A function of summed moments with its standard error when each cluster is left out in turn.

    The error is somewhat too large on average rather than too small. It needs a scale on which the figure scatters
    evenly, such as Fisher's z.

    Args:
        moments: One matrix a cluster, shape (G, q + 1, q + 1).
        statistic: From matrices of shape (..., q + 1, q + 1) to values of shape (...).
        n_fixed: Variables held fixed; each costs a degree of freedom.

    Source: Efron and Stein (1981), The jackknife estimate of variance, Ann. Statist. 9, 586-596.
    """
    n_clusters = len(moments)
    total = moments.sum(axis=0)
    without = statistic(total - moments)
    error = math.sqrt((n_clusters - 1) / n_clusters * float(((without - without.mean()) ** 2).sum()))
    return Jackknife(float(statistic(total)), error, max(1, n_clusters - 1 - n_fixed))


def correlations_of(moments: FloatArray) -> FloatArray:
    """The correlation matrix of the columns, shape (..., q, q); nan where a column does not vary."""
    n, sums = moments[..., :1, :1], moments[..., :1, 1:]
    covariance = moments[..., 1:, 1:] / n - np.swapaxes(sums, -1, -2) @ sums / n**2
    variances = np.einsum("...ii->...i", covariance)
    spread = np.sqrt(np.where(variances > 1e-12, variances, np.nan))
    return np.asarray(covariance / (spread[..., :, None] * spread[..., None, :]), dtype=np.float64)


def partial_z_of(moments: FloatArray) -> FloatArray:
    """Fisher's z of the last two columns with the others held fixed; nan where it does not exist or is infinite."""
    correlations = correlations_of(moments)
    is_defined = np.asarray(np.isfinite(correlations).all(axis=(-1, -2)))
    filled = np.where(is_defined[..., None, None], correlations, np.eye(correlations.shape[-1]))
    values, vectors = np.linalg.eigh(filled)
    is_defined &= values[..., 0] > 1e-10
    inverse = (vectors / np.maximum(values, 1e-10)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    partial = -inverse[..., -2, -1] / np.sqrt(inverse[..., -2, -2] * inverse[..., -1, -1])
    return fisher_z(np.where(is_defined, partial, np.nan))


def fisher_z(r: FloatArray) -> FloatArray:
    """Fisher's z; nan for a perfect correlation."""
    return np.asarray(np.arctanh(np.where(np.abs(r) < 1.0 - 1e-10, r, np.nan)), dtype=np.float64)
