"""Distances between log profiles against loops, and what cross-validation does to noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lightning_lde.diversity import crossvalidated_distances, log_profiles, log_ratio_distances, pairwise_distances
from lightning_lde.errors import DataError


def fisher(n: int = 8, dimension: int = 60, spread: float = 1.0) -> np.ndarray:
    return np.exp(np.random.default_rng(0).normal(scale=spread, size=(n, dimension)))


def test_log_ratio_distance_is_half_the_variance_of_the_log_ratio() -> None:
    vectors = fisher()
    shifted = vectors + 1e-3 * vectors.mean(axis=1, keepdims=True)
    found = log_ratio_distances(log_profiles(vectors))
    for i, one in enumerate(shifted):
        for j, other in enumerate(shifted):
            assert found[i, j] == pytest.approx(np.log(one / other).var() / 2.0, abs=1e-12)


def test_log_ratio_distance_is_the_papers_cosine_for_small_differences() -> None:
    vectors = fisher(spread=0.1)
    above = np.triu_indices(len(vectors), k=1)
    cosine, log_ratio = pairwise_distances(vectors)[above], log_ratio_distances(log_profiles(vectors))[above]
    # cos of a/(a+b) and b/(a+b) at r = a/b near 1 is 1 - Var(log r)/2 up to fourth order.
    np.testing.assert_allclose(log_ratio, cosine, rtol=0.05)


def test_profiles_are_centred_and_do_not_see_the_scale_of_a_task() -> None:
    vectors = fisher()
    profiles = log_profiles(vectors)
    np.testing.assert_allclose(profiles.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(log_profiles(vectors * np.arange(1, 9)[:, None] * 1e-20), profiles, atol=1e-9)


def test_crossvalidated_distance_against_a_loop() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 7, 30)) + 5.0
    found = crossvalidated_distances(first, second)
    for i in range(7):
        for j in range(7):
            expected = (first[i] - first[j]) @ (second[i] - second[j]) / 60.0
            assert found[i, j] == pytest.approx(expected, abs=1e-12)


def test_equal_halves_give_the_plain_distance() -> None:
    profiles = log_profiles(fisher())
    np.testing.assert_allclose(crossvalidated_distances(profiles, profiles), log_ratio_distances(profiles), atol=1e-12)


def test_two_identical_tasks_read_as_zero_and_different_ones_as_their_distance() -> None:
    rng = np.random.default_rng(2)
    truth = np.zeros((3, 50))
    truth[2] = rng.normal(size=50)
    found = np.array([crossvalidated_distances(*(truth + rng.normal(scale=0.5, size=(2, 3, 50)))) for _ in range(1500)])
    assert stats.ttest_1samp(found[:, 0, 1], 0.0).pvalue > 0.01
    assert stats.ttest_1samp(found[:, 0, 2], (truth[2] ** 2).mean() / 2.0).pvalue > 0.01
    assert (found[:, 0, 1] < 0.0).mean() > 0.4
    plain = np.mean([log_ratio_distances(truth + rng.normal(scale=0.5, size=(3, 50)))[0, 1] for _ in range(200)])
    assert plain == pytest.approx(0.25, rel=0.1)


def test_halves_of_different_tasks_are_refused() -> None:
    with pytest.raises(DataError, match=r"shapes \(3, 4\) and \(2, 4\)"):
        crossvalidated_distances(np.ones((3, 4)), np.ones((2, 4)))
    with pytest.raises(DataError, match=r"second\[1\] holds nan"):
        crossvalidated_distances(np.ones((2, 2)), [[1.0, 2.0], [np.nan, 1.0]])
    with pytest.raises(DataError, match="none below 0"):
        log_profiles([[1.0, -1.0]])
