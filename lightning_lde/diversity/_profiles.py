"""Distances between log profiles: the log-ratio variance, and its cross-validated form without noise bias."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._distance import checked_vectors
from ._inputs import FloatArray, finite_rows, halves_of_rows

OFFSET = 1e-3


def log_profiles(vectors: npt.ArrayLike, *, offset: float = OFFSET) -> FloatArray:
    """Centred logarithms of task embeddings, in which the distances of this module are Euclidean.

    x = log(F + offset · mean F) less its mean over filters. The common scale of an embedding, which follows
    the loss of its head, drops out. The offset keeps filters that hardly react from dominating.

    Args:
        vectors: Embeddings F, (n, D), finite, not negative, none all zero.
        offset: Share of the mean that is added to each filter, above 0.

    Returns:
        Profiles, each with mean 0, float64, (n, D).

    Raises:
        DataError: If the embeddings have another form.

    Example:
        >>> log_profiles([[1.0, 1.0, 4.0], [10.0, 10.0, 40.0]]).round(3).tolist()
        [[-0.462, -0.462, 0.923], [-0.462, -0.462, 0.923]]

    Source: centred log-ratio transform: Aitchison (1982), JRSS B 44, 139-177.
    """
    fisher = checked_vectors(vectors)
    logs = np.log(fisher + offset * fisher.mean(axis=1, keepdims=True))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


def log_ratio_distances(profiles: npt.ArrayLike) -> FloatArray:
    """Half the variance over filters of the log ratio of two embeddings, for all pairs.

        d_ij = 1/2 Var_filters(log F_i - log F_j) = ||x_i - x_j||² / (2D).

    This is the Task2Vec cosine distance for small differences, without its normalisation for each pair: a
    squared Euclidean distance in one space, and additive. It holds the noise of both embeddings.

    Args:
        profiles: Centred logarithms, as of `log_profiles`, (n, D).

    Returns:
        Symmetric, zero on the diagonal, (n, n).

    Raises:
        DataError: If the profiles are not a finite matrix.

    Example:
        >>> log_ratio_distances(log_profiles([[1.0, 1.0, 4.0], [4.0, 1.0, 1.0]])).round(3).tolist()
        [[0.0, 0.639], [0.639, 0.0]]

    Source: Aitchison (1986), The Statistical Analysis of Compositional Data, section 4 (Aitchison distance);
    the cosine that it approximates: Achille et al. (2019), arXiv 1902.03545.
    """
    x = finite_rows(profiles, "profiles")
    return _from_products(x, x)


def crossvalidated_distances(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Squared distances between tasks without the bias that estimation noise adds to every other distance.

        d_ij = ⟨x^A_i - x^A_j, x^B_i - x^B_j⟩ / (2D)

    with A and B the two halves of each task's images. The noise of the halves is independent, so its product
    has mean 0: the estimate is unbiased for half the mean squared difference of the noise-free profiles. It
    is 0 on average for two tasks that are the same, and so may be negative.

    Args:
        first: Profiles from the first half of each task, (n, D).
        second: Profiles from the second half, which shares no image and no group with the first, (n, D).

    Returns:
        Symmetric, zero on the diagonal, (n, n).

    Raises:
        DataError: If the halves are not finite matrices of one shape.

    Example:
        >>> crossvalidated_distances([[1.0, -1.0], [-1.0, 1.0]], [[0.5, -0.5], [-0.5, 0.5]]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]

    Source: Walther et al. (2016), Reliability of dissimilarity measures for multi-voxel pattern analysis,
    NeuroImage 137, 188-200 (crossnobis); Diedrichsen et al. (2021), arXiv 2007.02789.
    """
    return _from_products(*halves_of_rows(first, second))


def _from_products(first: FloatArray, second: FloatArray) -> FloatArray:
    # A shift common to all tasks changes no difference; without it the products cancel to fewer digits.
    products = (first - first.mean(axis=0)) @ (second - second.mean(axis=0)).T
    own = np.diag(products)
    distances = (own[:, None] + own - products - products.T) / (2.0 * first.shape[1])
    np.fill_diagonal(distances, 0.0)
    return np.asarray(distances)
