"""Permutation of residuals: a test of one predictor beside others that needs no normal errors."""

from __future__ import annotations

import itertools
import math

import numpy as np

from ._checks import FloatArray
from ._linear import Partial

_BATCH = 1000
# Permutations whose r agrees with the observed one up to rounding count as equal to it.
_TIE = 1e-12


def freedman_lane(partial: Partial, *, resamples: int, rng: np.random.Generator) -> float:
    """The p of the partial correlation when the residuals of the model without x are permuted.

    Without other predictors this is the permutation of y. All permutations are taken where they are at most
    ``resamples``. Two-sided: twice the smaller tail, at most 1, as in ``scipy.stats.permutation_test``.

    Args:
        partial: x and y without the other predictors.
        resamples: Random permutations, and the most that are counted in full.
        rng: Source of the permutations.

    Source: Freedman and Lane (1983), A nonstochastic interpretation of reported significance levels, J. Bus.
    Econ. Stat. 1, 292-298; Winkler et al. (2014), NeuroImage 92, 381-397; Phipson and Smyth (2010), Stat. Appl.
    Genet. Mol. Biol. 9, 39 (the observed order counts as one of the random ones).
    """
    n = partial.y.size
    if math.factorial(n) <= resamples:
        orders = np.array(list(itertools.permutations(range(n))))
        drawn, extra = _partial_r(partial, partial.y[orders]), 0
    else:
        drawn, extra = np.concatenate([_draw(partial, size, rng) for size in _batches(resamples)]), 1
    tails = [int((sign * drawn >= sign * partial.r - _TIE).sum()) + extra for sign in (1.0, -1.0)]
    return min(1.0, 2.0 * min(tails) / (drawn.size + extra))


def _batches(total: int) -> list[int]:
    return [min(_BATCH, total - start) for start in range(0, total, _BATCH)]


def _draw(partial: Partial, size: int, rng: np.random.Generator) -> FloatArray:
    return _partial_r(partial, rng.permuted(np.tile(partial.y, (size, 1)), axis=1))


def _partial_r(partial: Partial, permuted: FloatArray) -> FloatArray:
    """The partial correlation with each row of permuted residuals, shape (size, n)."""
    product = permuted @ partial.x
    squares = (permuted**2).sum(axis=1) - ((permuted @ partial.basis) ** 2).sum(axis=1)
    norm = np.sqrt(np.maximum(squares, 0.0) * float(partial.x @ partial.x))
    return np.asarray(np.where(norm > 0.0, product / np.where(norm > 0.0, norm, 1.0), 0.0), dtype=np.float64)
