"""The bootstrap over points, and the vectorised statistics it resamples."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy import stats

from ._checks import FloatArray

Statistic = Callable[..., FloatArray]

_BATCH = 1000


def pearson(x: FloatArray, y: FloatArray, *, axis: int = -1) -> FloatArray:
    """Pearson's r along an axis; nan where x or y does not vary there."""
    x_centred = x - x.mean(axis=axis, keepdims=True)
    y_centred = y - y.mean(axis=axis, keepdims=True)
    product = (x_centred * y_centred).sum(axis=axis)
    norm = np.sqrt((x_centred**2).sum(axis=axis) * (y_centred**2).sum(axis=axis))
    varies = (np.ptp(x, axis=axis) > 0) & (np.ptp(y, axis=axis) > 0) & (norm > 0)
    r = np.where(varies, product / np.where(varies, norm, 1.0), np.nan)
    return np.asarray(np.clip(r, -1.0, 1.0), dtype=np.float64)


def slope(x: FloatArray, y: FloatArray, *, axis: int = -1) -> FloatArray:
    """The least-squares slope of y on x along an axis; nan where x does not vary there."""
    x_centred = x - x.mean(axis=axis, keepdims=True)
    square = (x_centred**2).sum(axis=axis)
    varies = (np.ptp(x, axis=axis) > 0) & (square > 0)
    product = np.where(np.ptp(y, axis=axis) > 0, (x_centred * y).sum(axis=axis), 0.0)
    return np.asarray(np.where(varies, product / np.where(varies, square, 1.0), np.nan), dtype=np.float64)


def bootstrap_interval(
    points: tuple[FloatArray, ...],
    statistic: Statistic,
    *,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The interval of a statistic when whole points are drawn with replacement.

    The interval is BCa (bias-corrected and accelerated). Where BCa does not exist, because a resample drew
    one value only or because all resamples agree, it is the percentile interval over the resamples that
    have a value.

    Args:
        points: Vectors of one length (n,), resampled together.
        statistic: Takes the vectors and ``axis``; nan where it is not defined.
        confidence: Coverage aimed at, a fraction.
        resamples: Number of resamples.
        rng: Source of the draws.

    Returns:
        The two bounds; nan where no resample has a value.

    Source: Efron (1987), Better bootstrap confidence intervals, JASA 82, 171-185.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        result = stats.bootstrap(
            points,
            statistic,
            paired=True,
            vectorized=True,
            method="BCa",
            confidence_level=confidence,
            n_resamples=resamples,
            batch=_BATCH,
            rng=rng,
        )
    low, high = float(result.confidence_interval.low), float(result.confidence_interval.high)
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    return _percentile_interval(np.asarray(result.bootstrap_distribution), confidence=confidence)


def squared_range(low: float, high: float) -> tuple[float, float]:
    """The smallest and the largest square of any number between two."""
    squares = (low**2, high**2)
    return (0.0 if low <= 0.0 <= high else min(squares)), max(squares)


def _percentile_interval(distribution: FloatArray, *, confidence: float) -> tuple[float, float]:
    defined = distribution[np.isfinite(distribution)]
    if defined.size == 0:
        return float("nan"), float("nan")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return float(low), float(high)
