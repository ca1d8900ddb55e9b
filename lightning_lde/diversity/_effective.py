"""Effective numbers: how many distinct tasks or samples a set is worth."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from lightning_lde.errors import ConfigurationError, DataError

from ._coefficient import diversity_coefficient
from ._inputs import FloatArray, finite_rows, positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectiveNumber:
    """An effective number of tasks.

    Args:
        value: Effective number; infinite where no two tasks are alike.
        low: Lower bound of the interval.
        high: Upper bound of it, may be infinite.
        similarity: Mean similarity of two tasks, of which the value is the inverse.
        n_tasks: Number of tasks.
        scale: Distance at which similarity has fallen to 1/e.
        confidence: Coverage that the interval aims at.
        note: What a reader of the interval must know; None if nothing.
    """

    value: float
    low: float
    high: float
    similarity: float
    n_tasks: int
    scale: float
    confidence: float
    note: str | None


def effective_number(distances: npt.ArrayLike, *, scale: float, confidence: float = 0.95) -> EffectiveNumber:
    """The effective number of tasks of order 2: the inverse of the mean similarity of two tasks.

        N = 1 / mean_{i<j} exp(-d_ij / scale).

    Tasks from k equally frequent sources that lie far apart, in units of ``scale``, have N = k however many
    tasks there are: pairs of a task with itself are left out, as in the unbiased Simpson index. A new source
    near an old one raises N, while it may lower a mean distance. With cross-validated distances identical
    tasks have N close to 1; with plain ones noise makes every task unique.

    Args:
        distances: Symmetric distances between tasks, (n, n); `crossvalidated_distances` are meant.
        scale: The distance τ at which two tasks count as mostly different, in the same units; the same for
            all data sets that are compared. A usual choice is the mean distance between tasks of two sources.
        confidence: Coverage of the interval, a fraction.

    Returns:
        The number, with a jackknife interval over tasks of the mean similarity, inverted.

    Raises:
        DataError: If the distances are not a finite symmetric matrix of at least three tasks.
        ConfigurationError: If scale is not above 0 or confidence no fraction.

    Example:
        >>> import numpy as np
        >>> sources = np.arange(40) % 4
        >>> found = effective_number(5.0 * (sources[:, None] != sources), scale=0.5)
        >>> round(found.value, 1)
        4.3

    Source: Leinster and Cobbold (2012), Ecology 93, 477-489 (order 2, similarity exp(-d)); Ricotta and Szeidl
    (2009), Theor. Popul. Biol. 76, 10-16; without self-pairs: Simpson (1949), Nature 163, 688.
    """
    matrix = np.asarray(distances, dtype=np.float64) / positive(scale, "scale")
    with np.errstate(over="ignore"):
        similarities = np.exp(-matrix)
    found = diversity_coefficient(similarities, confidence=confidence)
    return EffectiveNumber(
        value=_inverse(found.value),
        low=_inverse(found.high),
        high=_inverse(found.low),
        similarity=found.value,
        n_tasks=found.n_tasks,
        scale=scale,
        confidence=confidence,
        note=found.note,
    )


def _inverse(similarity: float) -> float:
    return 1.0 / similarity if similarity > 0.0 else math.inf


def vendi_score(features: npt.ArrayLike, *, order: float = 1.0) -> float:
    """The Vendi score of vectors under the cosine kernel: their effective number, from 1 to n.

    With λ the eigenvalues of K/n and K the cosines of the rows,

        order 1: exp(-Σ λ log λ);  order q: (Σ λ^q)^(1/(1 - q));  infinite order: 1/max λ.

    Order 2 needs no eigenvalues, 1/||K/n||². Where D < n the D × D second moment has the same eigenvalues and
    is used instead, so the cost is O(n D min(n, D)). There is no correction for noise: noisy vectors all count
    as different, and so does the score of a finite sample grow with n. Compare equal n.

    Args:
        features: Vectors of samples or tasks, (n, D), none all zero.
        order: q, above 0; large q looks at the dominant kinds only.

    Returns:
        The score.

    Raises:
        DataError: If the vectors are not a finite matrix without zero rows.
        ConfigurationError: If the order is not above 0.

    Example:
        >>> round(vendi_score([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), 6)
        2.0

    Source: Friedman and Dieng (2023), The Vendi Score, TMLR, arXiv 2210.02410; orders: Pasarkar and Dieng
    (2024), arXiv 2310.12952.
    """
    vectors = finite_rows(features, "features")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (norms == 0.0).any():
        raise DataError(
            f"features[{int(np.argmin(norms))}] is all zero, expected a direction; leave that sample out, or "
            "centre and standardise."
        )
    unit = vectors / norms
    small = unit.T @ unit if unit.shape[1] < unit.shape[0] else unit @ unit.T
    return _of_kernel(small / unit.shape[0], order)


def _of_kernel(kernel: FloatArray, order: float) -> float:
    if not order > 0.0:
        raise ConfigurationError(f"order={order!r}, expected a number above 0; 1 and 2 are usual.")
    if order == 2.0:
        return float(1.0 / (kernel**2).sum())
    eigenvalues = np.clip(np.linalg.eigvalsh(kernel), 0.0, None)
    if order == 1.0:
        return float(np.exp(entr(eigenvalues).sum()))
    if math.isinf(order):
        return float(1.0 / eigenvalues.max())
    return float((eigenvalues**order).sum() ** (1.0 / (1.0 - order)))
