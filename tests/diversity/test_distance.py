"""Pairwise distances against a loop over scipy's cosine, and their invariances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cosine

from lightning_lde.diversity import _distance as distance
from lightning_lde.diversity import pairwise_distances
from lightning_lde.errors import ConfigurationError, DataError


def _vectors(n: int = 9, dimension: int = 40) -> np.ndarray:
    return np.random.default_rng(0).gamma(0.3, size=(n, dimension)) ** 2


@pytest.mark.parametrize("block", [1, 100, 1 << 18])
def test_equals_a_loop_over_scipys_cosine(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance, "_BLOCK_ELEMENTS", block)
    vectors = _vectors()
    found = pairwise_distances(vectors)
    for i, first in enumerate(vectors):
        for j, second in enumerate(vectors):
            total = first + second + 1e-8 * (first.mean() + second.mean()) / 2
            assert found[i, j] == pytest.approx(cosine(first / total, second / total), abs=1e-12)


def test_a_given_epsilon_is_the_published_one() -> None:
    vectors = _vectors() * 1e-7
    found = pairwise_distances(vectors, epsilon=1e-8)
    total = vectors[2] + vectors[5] + 1e-8
    assert found[2, 5] == pytest.approx(cosine(vectors[2] / total, vectors[5] / total), abs=1e-12)
    assert found[2, 5] != pytest.approx(pairwise_distances(vectors)[2, 5], rel=1e-3)
    with pytest.raises(ConfigurationError, match="epsilon=0"):
        pairwise_distances(vectors, epsilon=0)


def test_is_symmetric_with_a_zero_diagonal_and_bounded() -> None:
    found = pairwise_distances(_vectors())
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0.0)
    assert found.min() >= 0.0
    assert found.max() <= 1.0


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1e12])
def test_does_not_depend_on_the_common_scale(scale: float) -> None:
    vectors = _vectors()
    np.testing.assert_allclose(pairwise_distances(vectors * scale), pairwise_distances(vectors), rtol=1e-9)


def test_copies_have_distance_zero_and_disjoint_tasks_one() -> None:
    copy = pairwise_distances([[1.0, 2.0, 0.5], [1.0, 2.0, 0.5]])
    assert copy[0, 1] == pytest.approx(0.0, abs=1e-15)
    assert pairwise_distances([[1.0, 0.0], [0.0, 1.0]])[0, 1] == pytest.approx(1.0)


def test_a_pair_does_not_depend_on_other_tasks() -> None:
    vectors = _vectors()
    np.testing.assert_array_equal(pairwise_distances(vectors)[:4, :4], pairwise_distances(vectors[:4]))


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        ([1.0, 2.0], r"shape \(2,\)"),
        ([[1.0, np.nan], [1.0, 2.0]], "nan or infinity"),
        ([[1.0, -0.5], [1.0, 2.0]], "none below 0"),
        ([[1.0, 0.5], [0.0, 0.0]], r"vectors\[1\] is all zero"),
    ],
)
def test_unfit_vectors_are_refused(vectors: list, match: str) -> None:
    with pytest.raises(DataError, match=match):
        pairwise_distances(vectors)
