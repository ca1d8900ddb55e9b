"""Configurations that together do well on all past data sets, whether or not the same ones were tried on each."""

from __future__ import annotations

import numpy as np

from ._table import FloatArray, IntArray


def portfolio(surfaces: FloatArray, k: int) -> IntArray:
    """Rows of which each adds most to the best of those before it, over columns; the first is best on average.

    Args:
        surfaces: What each past data set shows or expects of each candidate, on a scale on which data sets compare,
            larger is better, shape (candidates, data sets).
        k: How many rows.

    Returns:
        Their numbers, shape (k,), fewer where there are fewer candidates.

    Source: Feurer et al. (2022), Auto-sklearn 2.0, JMLR 23, section 3.1, there over measured results.

    Example:
        >>> portfolio(np.array([[2.0, 2.0], [3.0, 0.0], [0.0, 3.5], [1.0, 1.0]]), 3).tolist()
        [0, 2, 1]
    """
    chosen: list[int] = []
    best = np.full(surfaces.shape[1], -np.inf)
    for _ in range(min(k, surfaces.shape[0])):
        # Nothing to compare with yet: the mean itself.
        gain = np.maximum(surfaces, best).mean(axis=1)
        gain[chosen] = -np.inf
        chosen.append(int(np.argmax(gain)))
        best = np.maximum(best, surfaces[chosen[-1]])
    return np.array(chosen, dtype=np.int64)
