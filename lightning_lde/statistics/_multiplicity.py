"""Many tests at once: p-values adjusted for the number of chances to be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from lightning_lde.errors import DataError

from ._checks import FloatArray, finite_vector


def holm(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values so that the chance of any false finding stays at the level of one test.

    Args:
        p_values: p of each test of the family, shape (m,).

    Returns:
        Adjusted p in the same order; at most 1, never below the given p.

    Raises:
        DataError: If a value is no probability.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source: Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6, 65-70.
    """
    values = _probabilities(p_values)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(values.size, 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values so that the expected share of false findings among all findings stays at the level.

    For explorations with many tests; a claim that rests on each single finding needs :func:`holm`. It holds for
    independent tests and for those that depend positively, such as configurations over the same data sets.

    Args:
        p_values: p of each test of the family, shape (m,).

    Returns:
        Adjusted p in the same order; at most 1, never below the given p.

    Raises:
        DataError: If a value is no probability.

    Example:
        >>> [round(p, 3) for p in benjamini_hochberg([0.01, 0.04, 0.03])]
        [0.03, 0.04, 0.04]

    Source: Benjamini and Hochberg (1995), Controlling the false discovery rate, JRSS B 57, 289-300.
    """
    values = _probabilities(p_values)
    if values.size == 0:
        return []
    return [float(value) for value in stats.false_discovery_control(values, method="bh")]


def _probabilities(p_values: Sequence[float] | FloatArray) -> FloatArray:
    values = finite_vector(p_values, "p_values", minimum=0)
    if ((values < 0.0) | (values > 1.0)).any():
        raise DataError(f"p_values={values.tolist()}, expected probabilities from 0 to 1; pass p, not a statistic.")
    return values
