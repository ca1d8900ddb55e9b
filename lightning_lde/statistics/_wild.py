"""The wild cluster bootstrap of one slope: p and interval that hold for few and for uneven clusters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from ._checks import FloatArray, IntArray
from ._linear import Partial

# Below this, sign changes are too few to carry a p of 5 % well (MacKinnon, Nielsen and Webb 2023, section 3.2).
FEW_CLUSTERS = 12
_SIX_POINTS = (-math.sqrt(1.5), -1.0, -math.sqrt(0.5), math.sqrt(0.5), 1.0, math.sqrt(1.5))
_PERFECT = 1e-10
_DOUBLINGS = 30


class WildBootstrap(NamedTuple):
    """Interval and p of a slope.

    Attributes:
        low: Lower bound; minus infinity where the clusters are too few to have one.
        high: Upper bound; infinity where the clusters are too few to have one.
        p: Two-sided p of a slope of zero.
    """

    low: float
    high: float
    p: float


class _Terms(NamedTuple):
    """What a vector contributes to the bootstrap's numerators, shape (B,), and cluster scores, shape (B, G)."""

    numerator: FloatArray
    scores: FloatArray


def wild_cluster_bootstrap(
    partial: Partial, clusters: IntArray, *, confidence: float, resamples: int, rng: np.random.Generator
) -> WildBootstrap:
    """Test and interval of a slope when only clusters are independent.

    Under a slope b the residuals of each cluster are multiplied by one random weight, the slope and its
    cluster-robust standard error are computed again, and |t| is compared with the observed one. The interval
    holds each b that is not rejected. Weights are signs, all of them where these are at most ``resamples``, and
    Webb's six points for fewer than twelve clusters.

    Args:
        partial: x and y without the other predictors.
        clusters: Cluster of each point, counted from zero, shape (n,).
        confidence: Coverage of the interval, a fraction.
        resamples: Draws of the weights.
        rng: Source of the draws.

    Source: Cameron, Gelbach and Miller (2008), Rev. Econ. Stat. 90, 414-427; Webb (2023), Can. J. Econ. 56,
    839-858; MacKinnon, Nielsen and Webb (2023), J. Econometrics 232, 272-299; the algebra over clusters is that of
    Roodman et al. (2019), Stata Journal 19, 4-60.
    """
    weights, is_complete = _weights(int(clusters.max()) + 1, resamples, rng)
    slope = partial.slope
    if np.linalg.norm(partial.residual) <= _PERFECT * np.linalg.norm(partial.y):
        return WildBootstrap(slope, slope, 1.0 / len(weights))
    p_at = _p_function(partial, clusters, weights, is_complete=is_complete)
    alpha = 1.0 - confidence
    n_clusters = int(clusters.max()) + 1
    step = float(stats.t.ppf(0.5 + confidence / 2.0, n_clusters - 1)) * _robust_error(partial, clusters)
    low, high = (_edge(lambda place: p_at(place) > alpha, slope, side * step) for side in (-1.0, 1.0))
    return WildBootstrap(low, high, p_at(0.0))


def _p_function(
    partial: Partial, clusters: IntArray, weights: FloatArray, *, is_complete: bool
) -> Callable[[float], float]:
    """The bootstrap's p of any slope; all that depends on the draws is computed once."""
    of_y, of_x = (_terms(partial, vector, clusters, weights) for vector in (partial.y, partial.x))
    squares = [(one.scores * other.scores).sum(axis=1) for one, other in ((of_y, of_y), (of_y, of_x), (of_x, of_x))]
    observed = _terms(partial, partial.y, clusters, np.ones((1, weights.shape[1])))
    observed_square = float((observed.scores**2).sum())
    product, length = float(partial.x @ partial.y), float(partial.x @ partial.x)

    def p_at(place: float) -> float:
        drawn = (of_y.numerator - place * of_x.numerator) ** 2 * observed_square
        variances = squares[0] - 2.0 * place * squares[1] + place**2 * squares[2]
        # Products instead of quotients: a draw with equal weights may have no variance.
        exceeds = drawn >= (product - place * length) ** 2 * variances * (1.0 - 1e-10)
        count, drawn_n = int(exceeds.sum()), int(exceeds.size)
        return count / drawn_n if is_complete else (count + 1) / (drawn_n + 1)

    return p_at


def _terms(partial: Partial, vector: FloatArray, clusters: IntArray, weights: FloatArray) -> _Terms:
    basis = np.column_stack([partial.basis, partial.x / np.linalg.norm(partial.x)])
    scores = _by_cluster(partial.x * vector, clusters)
    fitted = (weights @ _by_cluster(basis * vector[:, None], clusters)) @ _by_cluster(
        basis * partial.x[:, None], clusters
    ).T
    return _Terms(weights @ scores, weights * scores - fitted)


def _by_cluster(values: FloatArray, clusters: IntArray) -> FloatArray:
    total = np.zeros((int(clusters.max()) + 1, *values.shape[1:]))
    np.add.at(total, clusters, values)
    return total


def _robust_error(partial: Partial, clusters: IntArray) -> float:
    scores = _by_cluster(partial.x * partial.residual, clusters)
    return float(np.linalg.norm(scores) / (partial.x @ partial.x))


def _weights(n_clusters: int, resamples: int, rng: np.random.Generator) -> tuple[FloatArray, bool]:
    """Weights of shape (draws, clusters), and whether they are all that exist.

    |t| is the same for opposite signs, so that half of all sign vectors suffices.
    """
    if n_clusters < FEW_CLUSTERS:
        return rng.choice(_SIX_POINTS, size=(resamples, n_clusters)), False
    if 2 ** (n_clusters - 1) <= resamples:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n_clusters - 1)))
        return np.column_stack([np.ones(len(signs)), signs]), True
    return rng.choice((-1.0, 1.0), size=(resamples, n_clusters)), False


def _edge(is_inside: Callable[[float], bool], begin: float, step: float) -> float:
    """Where the places around ``begin`` that are inside end; infinite where no end is near."""
    inner, outer = begin, begin + step
    for _ in range(_DOUBLINGS):
        if not is_inside(outer):
            break
        inner, outer = outer, begin + 2.0 * (outer - begin)
    else:
        return math.copysign(math.inf, step)
    while abs(outer - inner) > 1e-6 * abs(outer - begin):
        middle = (inner + outer) / 2.0
        inner, outer = (middle, outer) if is_inside(middle) else (inner, middle)
    return (inner + outer) / 2.0
