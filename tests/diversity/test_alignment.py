"""Cross-diversity against loops over pairs and tasks left out; mean features; complexity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lightning_lde.diversity import (
    cross_diversity,
    crossvalidated_coefficient,
    feature_deviation,
    halve,
    mean_complexity,
    mean_feature_halves,
)
from lightning_lde.errors import DataError


def halves(n: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = shift + rng.normal(size=(n, 30)) + rng.normal(size=(2, n, 30))
    return first, second


def brute_force(x: tuple[np.ndarray, np.ndarray], y: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    pairs = [(a - c) @ (b - d) / 60 for a, b in zip(*x, strict=True) for c, d in zip(*y, strict=True)]
    inner = [crossvalidated_coefficient(*one).value for one in (x, y)]
    return float(np.mean(pairs)), float(np.mean(pairs) - np.mean(inner))


def test_equals_loops_over_pairs_and_over_tasks_left_out() -> None:
    x, y = halves(7, seed=0), halves(5, seed=1, shift=0.5)
    found = cross_diversity(x, y)
    assert (found.value, found.separation) == pytest.approx(brute_force(x, y))
    variances = np.zeros(2)
    for one, swap in ((x, False), (y, True)):
        left_out = []
        for i in range(len(one[0])):
            rest = tuple(np.delete(part, i, axis=0) for part in one)
            left_out.append(brute_force(rest, x if swap else y))
        n = len(left_out)
        variances += (n - 1) * np.var(left_out, axis=0)
    assert found.standard_error == pytest.approx(np.sqrt(variances[0]))
    assert found.n_tasks == (7, 5)
    ratio = (found.separation_high - found.separation) / np.sqrt(variances[1])
    assert stats.t.ppf(0.975, 10) < ratio < stats.t.ppf(0.975, 4)


def test_aligned_sets_have_no_separation_and_shifted_ones_theirs() -> None:
    aligned = cross_diversity(halves(60, seed=2), halves(60, seed=3))
    shifted = cross_diversity(halves(60, seed=2), halves(60, seed=3, shift=1.0))
    assert aligned.separation_low < 0.0 < aligned.separation_high
    assert aligned.value > 0.8
    assert shifted.separation_low < 0.5 < shifted.separation_high


def test_sets_of_two_probes_are_refused() -> None:
    other = tuple(part[:, :9] for part in halves(5, seed=0))
    with pytest.raises(DataError, match="30 and 9 dimensions"):
        cross_diversity(halves(5, seed=0), other)
    with pytest.raises(DataError, match=r"other\.first has 2 rows"):
        cross_diversity(halves(5, seed=0), halves(2, seed=0))


def test_mean_features_see_planted_diversity_in_units_of_the_spread_of_images() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 10)
    scales = np.array([1.0, 100.0, 0.01, 1.0])
    tasks = [scales * (rng.normal(size=4) * 0.7 + rng.normal(size=(20, 4))) for _ in range(200)]
    for task in tasks:
        task[:, 3] = 5.0
    deviation = feature_deviation(np.concatenate(tasks))
    first, second = mean_feature_halves(tasks, [halve(labels, seed=i) for i in range(200)], deviation=deviation)
    np.testing.assert_array_equal(first[:, 3], 0.0)
    found = crossvalidated_coefficient(first[:, :3], second[:, :3])
    assert found.low < 0.49 / 1.49 < found.high
    assert found.noise == pytest.approx(1 / 20 / 1.49, rel=0.15)


def test_unfit_features_are_refused() -> None:
    with pytest.raises(DataError, match="same for all images"):
        feature_deviation(np.ones((4, 2)))
    with pytest.raises(DataError, match="features of 1 tasks and halves of 0"):
        mean_feature_halves([np.ones((4, 2))], [], deviation=[1.0, 1.0])
    with pytest.raises(DataError, match="2 and 1 dimensions"):
        mean_feature_halves([np.ones((4, 2))], [halve([0, 0, 1, 1])], deviation=[1.0])


def test_complexity_is_the_mean_norm_with_a_t_interval() -> None:
    vectors = np.random.default_rng(0).gamma(2.0, size=(12, 9))
    norms = np.linalg.norm(vectors, ord=1, axis=1)
    found = mean_complexity(vectors, confidence=0.9)
    low, high = stats.t.interval(0.9, 11, norms.mean(), stats.sem(norms))
    assert (found.value, found.low, found.high) == pytest.approx((norms.mean(), low, high))
