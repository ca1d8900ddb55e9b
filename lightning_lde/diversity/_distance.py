"""The Task2Vec distance: cosine between two embeddings after normalisation of the pair."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import ConfigurationError, DataError

FloatArray = npt.NDArray[np.float64]

_BLOCK_ELEMENTS = 1 << 18
_RELATIVE_EPSILON = 1e-8


def pairwise_distances(vectors: npt.ArrayLike, *, epsilon: float | None = None) -> FloatArray:
    """Distances between all pairs of task embeddings.

    For embeddings a and b, with eps = 1e-8 (mean a + mean b)/2 unless it is given,

        d(a, b) = 1 - cos(a / (a + b + eps), b / (a + b + eps)).

    The eps of the paper's code is 1e-8 whatever the scale; here it follows the pair, so that d(ka, kb) equals
    d(a, b) for every k > 0 and no pair depends on the other tasks. Distances lie in [0, 1].

    Args:
        vectors: Embeddings, (n, D), finite, not negative, none all zero.
        epsilon: Eps for all pairs, above 0; 1e-8 with embeddings of mode "aws" gives the published distance.

    Returns:
        Symmetric, zero on the diagonal, float64, (n, n).

    Raises:
        DataError: If the embeddings have another form.
        ConfigurationError: If epsilon is not above 0.

    Example:
        >>> pairwise_distances([[1.0, 2.0], [2.0, 4.0], [4.0, 1.0]]).round(3).tolist()
        [[0.0, 0.0, 0.366], [0.0, 0.0, 0.366], [0.366, 0.366, 0.0]]

    Source: Achille et al. (2019), arXiv 1902.03545, section 4 (symmetric distance).
    """
    if epsilon is not None and not (epsilon > 0.0 and np.isfinite(epsilon)):
        raise ConfigurationError(f"epsilon={epsilon!r}, expected a finite number above 0; 1e-8 is published.")
    embeddings = checked_vectors(vectors)
    n_tasks, dimension = embeddings.shape
    means = embeddings.mean(axis=1)
    block = max(1, _BLOCK_ELEMENTS // dimension)
    distances = np.zeros((n_tasks, n_tasks))
    for row in range(n_tasks):
        for start in range(row + 1, n_tasks, block):
            part = slice(start, start + block)
            relative = _RELATIVE_EPSILON * (means[row] + means[part]) / 2.0
            added = relative if epsilon is None else np.full_like(relative, epsilon)
            distances[row, part] = _one_to_many(embeddings[row], embeddings[part], added)
    return np.asarray(distances + distances.T)


def _one_to_many(vector: FloatArray, others: FloatArray, epsilon: FloatArray) -> FloatArray:
    total = others + vector
    total += epsilon[:, None]
    first = vector / total
    second = np.divide(others, total, out=total)
    product = np.einsum("ij,ij->i", first, second)
    norms = np.einsum("ij,ij->i", first, first) * np.einsum("ij,ij->i", second, second)
    return np.asarray(np.maximum(1.0 - product / np.sqrt(norms), 0.0))


def checked_vectors(vectors: npt.ArrayLike) -> FloatArray:
    """Embeddings as a float64 matrix (n, D), refused where the distances would mean nothing.

    Raises:
        DataError: If they are no finite matrix, or one is negative or all zero.
    """
    embeddings = np.asarray(vectors, dtype=np.float64)
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise DataError(f"vectors have shape {embeddings.shape}, expected (tasks, filters); stack the embeddings.")
    if not np.isfinite(embeddings).all():
        raise DataError("vectors hold nan or infinity, expected finite Fisher information; embed those tasks anew.")
    if (embeddings < 0.0).any():
        raise DataError(f"vectors hold {embeddings.min()}, expected none below 0; Fisher information is a square.")
    empty = ~embeddings.any(axis=1)
    if empty.any():
        raise DataError(
            f"vectors[{int(np.argmax(empty))}] is all zero, expected some information: a zero vector has no "
            "direction; check that the probe reacts to the images of that task."
        )
    return embeddings
