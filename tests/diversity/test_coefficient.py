"""The coefficient against the plain jackknife, and the coverage of its interval in a random-effects model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lightning_lde.diversity import diversity_coefficient
from lightning_lde.errors import ConfigurationError, DataError

TRUE_MEAN = 0.3


def _distances(n: int, rng: np.random.Generator) -> np.ndarray:
    """Distances with an effect of each task and one of each pair."""
    effects = rng.normal(scale=0.03, size=n)
    pairs = rng.normal(scale=0.03, size=(n, n))
    matrix = TRUE_MEAN + effects[:, None] + effects + (pairs + pairs.T) / 2
    np.fill_diagonal(matrix, 0.0)
    return matrix


def _mean_over_pairs(matrix: np.ndarray) -> float:
    return float(matrix[np.triu_indices(len(matrix), k=1)].mean())


def test_equals_the_jackknife_that_leaves_tasks_out_one_by_one() -> None:
    matrix = _distances(8, np.random.default_rng(0))
    left_out = np.array([_mean_over_pairs(np.delete(np.delete(matrix, i, 0), i, 1)) for i in range(8)])
    standard_error = np.sqrt(7 * left_out.var())
    found = diversity_coefficient(matrix, confidence=0.9)
    low, high = stats.t.interval(0.9, 7, _mean_over_pairs(matrix), standard_error)
    assert found.value == pytest.approx(_mean_over_pairs(matrix))
    assert found.standard_error == pytest.approx(standard_error)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.n_tasks, found.n_pairs, found.confidence) == (8, 28, 0.9)


def test_interval_covers_where_pairs_taken_as_independent_do_not() -> None:
    rng = np.random.default_rng(1)
    over_tasks, over_pairs, repetitions = 0, 0, 400
    for _ in range(repetitions):
        matrix = _distances(30, rng)
        found = diversity_coefficient(matrix)
        over_tasks += found.low <= TRUE_MEAN <= found.high
        pairs = matrix[np.triu_indices(30, k=1)]
        interval = stats.ttest_1samp(pairs, 0.0).confidence_interval(0.95)
        over_pairs += interval.low <= TRUE_MEAN <= interval.high
    assert 0.91 <= over_tasks / repetitions <= 0.98
    assert over_pairs / repetitions < 0.6


def test_zeros_between_copies_count() -> None:
    matrix = np.full((4, 4), 0.5)
    matrix[0, 1] = matrix[1, 0] = 0.0
    assert diversity_coefficient(matrix).value == pytest.approx(0.5 * 5 / 6)


def test_diagonal_is_not_used() -> None:
    matrix = _distances(6, np.random.default_rng(2))
    assert diversity_coefficient(matrix + np.eye(6)).value == pytest.approx(diversity_coefficient(matrix).value)


def test_few_tasks_are_noted() -> None:
    rng = np.random.default_rng(3)
    assert "29 tasks; below 30" in str(diversity_coefficient(_distances(29, rng)).note)
    assert diversity_coefficient(_distances(30, rng)).note is None


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (np.zeros((2, 2)), "2 tasks, expected at least 3"),
        (np.zeros((3, 4)), r"shape \(3, 4\)"),
        (np.triu(np.ones((4, 4))), "from their transpose"),
        (np.full((3, 3), np.nan), "nan or infinity"),
    ],
)
def test_unfit_distances_are_refused(matrix: np.ndarray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        diversity_coefficient(matrix)


def test_confidence_must_be_a_fraction() -> None:
    with pytest.raises(ConfigurationError, match="confidence=95"):
        diversity_coefficient(np.ones((3, 3)), confidence=95)
