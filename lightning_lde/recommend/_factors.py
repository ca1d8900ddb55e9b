"""Gaps in a matrix of scores, filled from what its rows have in common."""

from __future__ import annotations

import dataclasses

import numpy as np

from ._scores import column_means
from ._table import FloatArray

_LEAST = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FactorModel:
    """Rows as ``mean + z @ loadings`` with standard normal z, and independent noise.

    Args:
        mean: Shape (columns,).
        loadings: Shape (rank, columns).
        noise: Variance of what the factors leave, the same for all columns.
        filled: The matrix, gaps filled with their expectation, shape (rows, columns).
    """

    mean: FloatArray
    loadings: FloatArray
    noise: float
    filled: FloatArray


def factor_model(values: FloatArray, *, rank: int, iterations: int = 15) -> FactorModel:
    """Fit probabilistic principal components to a matrix with gaps by expectation and maximisation.

    Args:
        values: Shape (rows, columns); nan where unknown.
        rank: Factors; fewer where there are few rows.
        iterations: Steps.

    Source: Tipping and Bishop (1999), JRSS B 61, 611-622, section 3.2; Ilin and Raiko (2010), JMLR 11, 1957-2000,
    section 3 (gaps).
    """
    known = np.isfinite(values)
    mean = column_means(values)
    centred = np.where(known, values - mean, 0.0)
    rank = max(1, min(rank, len(values) - 1, values.shape[1]))
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    loadings = directions[:rank] * (singular[:rank, None] / np.sqrt(len(values)))
    noise = max(float((centred**2).sum() / known.sum()) / 2.0, _LEAST)
    for _ in range(iterations):
        z, spread = _expected(centred, known, loadings, noise)
        loadings = _loadings(centred, known, z, spread, noise)
        left = np.where(known, values - z @ loadings, 0.0)
        mean = (left.sum(axis=0) + mean.mean()) / (known.sum(axis=0) + 1.0)
        centred = np.where(known, values - mean, 0.0)
        noise = _noise(centred, known, z, spread, loadings)
    z, _ = _expected(centred, known, loadings, noise)
    filled = np.where(known, values, mean + z @ loadings)
    return FactorModel(mean=mean, loadings=loadings, noise=noise, filled=filled)


def _expected(
    centred: FloatArray, known: FloatArray, loadings: FloatArray, noise: float
) -> tuple[FloatArray, FloatArray]:
    """Mean (rows, rank) and covariance (rows, rank, rank) of each row's factors."""
    rank = len(loadings)
    products = (loadings[:, None, :] * loadings[None, :, :]).reshape(rank * rank, -1)
    precision = np.eye(rank) + (known @ products.T).reshape(-1, rank, rank) / noise
    spread = np.linalg.inv(precision)
    return np.einsum("nrs,ns->nr", spread, centred @ loadings.T / noise), spread


def _loadings(centred: FloatArray, known: FloatArray, z: FloatArray, spread: FloatArray, noise: float) -> FloatArray:
    """Each column's regression on the factors, with a standard normal prior on each loading."""
    rank = z.shape[1]
    squares = z[:, :, None] * z[:, None, :] + spread
    moments = (known.T @ squares.reshape(len(z), -1)).reshape(-1, rank, rank) + noise * np.eye(rank)
    return np.asarray(np.linalg.solve(moments, (centred.T @ z)[:, :, None])[:, :, 0].T)


def _noise(centred: FloatArray, known: FloatArray, z: FloatArray, spread: FloatArray, loadings: FloatArray) -> float:
    rank = len(loadings)
    errors = np.where(known, centred - z @ loadings, 0.0) ** 2
    products = (loadings[:, None, :] * loadings[None, :, :]).reshape(rank * rank, -1)
    uncertain = (spread.reshape(-1, rank * rank) * (known @ products.T)).sum()
    return max(float((errors.sum() + uncertain) / known.sum()), _LEAST)


def fill_gaps(values: FloatArray, *, rank: int = 8, iterations: int = 12) -> FloatArray:
    """Fill the gaps of a matrix by shrunk singular values, again and again.

    Each singular value is made smaller by the one after the last that is kept, so that few observed cells say little.

    Args:
        values: Shape (rows, columns); nan where unknown.
        rank: Singular values that are kept, at most.
        iterations: Steps.

    Source: Mazumder et al. (2010), Spectral regularization algorithms for learning large incomplete matrices, JMLR
    11, 2287-2322, algorithm 1 (with a penalty taken from the matrix itself).
    """
    known = np.isfinite(values)
    filled = np.where(known, values, column_means(values))
    rank = min(rank, min(values.shape) - 1)
    if known.all() or rank < 1:
        return filled
    for _ in range(iterations):
        mean = filled.mean(axis=0)
        left, singular, right = np.linalg.svd(filled - mean, full_matrices=False)
        shrunk = np.maximum(singular[:rank] - singular[rank], 0.0)
        filled = np.where(known, values, mean + (left[:, :rank] * shrunk) @ right[:rank])
    return filled
