"""Whether data sets agree at all on which configurations are good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from ._scores import row_ranks
from ._table import FloatArray


def agreement_p(values: FloatArray, groups: Sequence[str]) -> float:
    """How often data sets that agree on nothing would agree as much as these.

    Ranks within data sets, averaged over each family, are compared between configurations and within them by an
    analysis of variance.

    Args:
        values: Scores, shape (data sets, configurations); nan where nothing was tried.
        groups: Family of each data set, so that near copies count once.

    Returns:
        The p of Iman and Davenport's F, approximate where cells are missing; 1 where there is nothing to compare.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> good = np.arange(5.0) + rng.normal(size=(8, 5))
        >>> agreement_p(good, list("abcdefgh")) < 0.001, agreement_p(rng.normal(size=(8, 5)), list("abcdefgh")) > 0.05
        (True, True)

    Source: Iman and Davenport (1980), Communications in Statistics A9, 571-595.
    """
    ranks = row_ranks(values)
    centred = ranks - np.nanmean(ranks, axis=1, keepdims=True)
    labels = np.array(groups, dtype=str)
    families = [centred[labels == one] for one in np.unique(labels)]
    rows = np.stack([_mean(family) for family in families])
    known = np.isfinite(rows)
    counts = known.sum(axis=0)
    repeated = counts > 1
    rows, known, counts = rows[:, repeated], known[:, repeated], counts[repeated]
    free = counts.size - 1
    left = int(known.sum()) - counts.size - len(rows) + 1
    if free < 1 or left < 1:
        return 1.0
    means = np.where(known, rows, 0.0).sum(axis=0) / counts
    between = float((counts * means**2).sum()) / free
    within = float((np.where(known, rows - means, 0.0) ** 2).sum()) / left
    return float(stats.f.sf(between / within, free, left)) if within > 0.0 else 0.0


def _mean(family: FloatArray) -> FloatArray:
    known = np.isfinite(family)
    total = np.where(known, family, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
