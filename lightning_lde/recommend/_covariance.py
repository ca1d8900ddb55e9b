"""How scores of configurations vary together: what past data sets shared, and settings where they leave it open."""

from __future__ import annotations

import dataclasses

import numpy as np

from ._experience import Points
from ._factors import factor_model
from ._table import FloatArray, IntArray

_SPARSE = 0.5
_SPARSE_RANK = 5
_LEAST_VARIANCE = 1e-4
_ALIKE = 0.9
_SETTINGS_RANK = 50
_LEAST_REST = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Covariance:
    """A covariance of configurations, ``factors.T @ factors + diag(own)``.

    Args:
        factors: What they share, shape (rank, configurations).
        own: Variance that each has of its own, shape (configurations,).
    """

    factors: FloatArray
    own: FloatArray

    def of(self, columns: IntArray) -> Covariance:
        """The covariance of some of the configurations."""
        return Covariance(factors=self.factors[:, columns], own=self.own[columns])


def covariance(residuals: FloatArray, *, gaps: FloatArray | None = None, points: Points | None = None) -> Covariance:
    """Covariance of columns over rows.

    Args:
        residuals: Rows with mean about zero, shape (rows, columns).
        gaps: Where residuals were filled and not observed, same shape.
        points: Encoded settings of each column, shape (columns, width): nine tenths of the variance that the estimate
            gives to single columns vary together where settings are alike.
    """
    if gaps is not None and gaps.mean() > _SPARSE and len(residuals) > 2:
        model = factor_model(np.where(gaps, np.nan, residuals), rank=_SPARSE_RANK)
        return _with_settings(model.loadings, model.noise, points)
    if len(residuals) < 2 or residuals.shape[1] < 2:
        single = max(float(residuals.var()), 0.05)
        return Covariance(factors=np.zeros((1, residuals.shape[1])), own=np.full(residuals.shape[1], single))
    shrinkage = ledoit_wolf_shrinkage(residuals)
    shared = np.sqrt((1.0 - shrinkage) / len(residuals)) * residuals
    return _with_settings(shared, shrinkage * float((residuals**2).mean()), points)


def _with_settings(shared: FloatArray, single: float, points: Points | None) -> Covariance:
    """Shared factors, and a variance of single configurations that settings divide among them."""
    if points is None or not points.shape[1]:
        return Covariance(factors=shared, own=np.full(shared.shape[1], max(single, _LEAST_VARIANCE)))
    factors, rest = settings_factors(points)
    own = single * (1.0 - _ALIKE + _ALIKE * rest)
    return Covariance(
        factors=np.concatenate([shared, np.sqrt(_ALIKE * single) * factors]), own=np.maximum(own, _LEAST_VARIANCE)
    )


def settings_factors(points: Points) -> tuple[FloatArray, FloatArray]:
    """A squared-exponential kernel of settings as factors, and what they leave of each configuration's variance of 1.

    Its length is the root mean square of the distance between two configurations.

    Args:
        points: Encoded settings, shape (configurations, width).

    Returns:
        Factors, shape (rank, configurations), and the rest, shape (configurations,).

    Source: Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, section 4.2.1; Harbrecht et al.
    (2012), On the low-rank approximation by the pivoted Cholesky decomposition, Appl. Numer. Math. 62, 428-440.
    """
    rest = np.ones(len(points))
    width = max(4.0 * float(points.var(axis=0).sum()), 1e-12)
    factors = np.zeros((min(_SETTINGS_RANK, len(points)), len(points)))
    for number in range(len(factors)):
        pivot = int(rest.argmax())
        if rest[pivot] < _LEAST_REST:
            return factors[:number], rest
        kernel = np.exp(-((points - points[pivot]) ** 2).sum(axis=1) / width)
        before = factors[:number]
        factors[number] = (kernel - before[:, pivot] @ before) / np.sqrt(rest[pivot])
        rest = np.maximum(rest - factors[number] ** 2, 0.0)
    return factors, rest


def ledoit_wolf_shrinkage(residuals: FloatArray) -> float:
    """Ledoit and Wolf's share of the diagonal in the covariance of columns, for rows with mean zero.

    The same as scikit-learn's, whose work grows with the square of the columns: by products of rows, of which there
    are few.

    Args:
        residuals: Shape (rows, columns).

    Source: Ledoit and Wolf (2004), J. Multivariate Analysis 88, 365-411.
    """
    n, p = residuals.shape
    products = residuals @ residuals.T
    squares = float((products**2).sum()) / n**2
    distance = squares - float(np.trace(products) / n) ** 2 / p
    error = (float((np.diagonal(products) ** 2).sum()) / n - squares) / n
    return min(error, distance) / distance if error > 0.0 and distance > 0.0 else 0.0
