"""Effective numbers against counts that are known, and the Vendi score against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats

from lightning_lde.diversity import crossvalidated_distances, effective_number, log_ratio_distances, vendi_score
from lightning_lde.errors import ConfigurationError, DataError


def tasks_of(sources: int, *, n: int = 60, distance: float = 4.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(sources, 50)) * np.sqrt(distance)
    truth = centres[np.arange(n) % sources]
    first, second = truth + rng.normal(size=(2, n, 50))
    return first, second


@pytest.mark.parametrize("sources", [1, 2, 4, 6])
def test_counts_sources_through_noise(sources: int) -> None:
    found = effective_number(crossvalidated_distances(*tasks_of(sources)), scale=0.7)
    assert found.value == pytest.approx(sources, rel=0.15)


def test_noise_makes_every_task_unique_to_plain_measures() -> None:
    first, second = tasks_of(1)
    assert effective_number(log_ratio_distances(first), scale=0.7).value > 3.5
    assert vendi_score(first - first.mean(axis=0)) > 20
    assert effective_number(crossvalidated_distances(first, second), scale=0.7).value < 1.2


def test_a_new_source_near_an_old_one_raises_it_and_lowers_the_mean_distance() -> None:
    def line(positions: list[float]) -> np.ndarray:
        points = np.repeat(np.array(positions), 30)
        return np.abs(points[:, None] - points)

    two, three = line([0.0, 10.0]), line([0.0, 10.0, 11.0])
    assert three.sum() / (90 * 89) < two.sum() / (60 * 59)
    assert effective_number(three, scale=2.0).value > effective_number(two, scale=2.0).value


def test_interval_is_the_inverted_jackknife_of_the_mean_similarity() -> None:
    distances = crossvalidated_distances(*tasks_of(3, n=12))
    similar = np.exp(-distances / 0.5)
    means = [np.delete(np.delete(similar, i, 0), i, 1)[np.triu_indices(11, 1)].mean() for i in range(12)]
    centre = similar[np.triu_indices(12, 1)].mean()
    low, high = stats.t.interval(0.95, 11, centre, np.sqrt(11 * np.var(means)))
    found = effective_number(distances, scale=0.5)
    assert (found.low, found.value, found.high) == pytest.approx((1 / high, 1 / centre, 1 / low if low > 0 else np.inf))


def test_tasks_of_which_no_two_are_alike_are_beyond_counting() -> None:
    assert effective_number(1e6 * (1 - np.eye(5)), scale=1.0).value == np.inf


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_vendi_score_equals_its_definition(order: float, shape: tuple[int, int]) -> None:
    features = np.random.default_rng(0).normal(size=shape)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    eigenvalues = linalg.eigvalsh(unit @ unit.T / shape[0])
    eigenvalues = eigenvalues[eigenvalues > 1e-12]
    powers = (eigenvalues**order).sum()
    expected = np.exp(stats.entropy(eigenvalues)) if order == 1.0 else powers ** (1 / (1 - order))
    # Order 0.5 weighs the rounding of eigenvalues that are 0.
    assert vendi_score(features, order=order) == pytest.approx(expected, rel=1e-5 if order < 1 else 1e-10)


def test_vendi_score_counts_directions_and_falls_with_the_order() -> None:
    kinds = np.repeat(np.eye(5), [6, 1, 1, 1, 1], axis=0)
    scores = [vendi_score(kinds, order=order) for order in (1.0, 2.0, np.inf)]
    assert vendi_score(np.eye(5)) == pytest.approx(5.0)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == pytest.approx(10 / 6)


def test_unfit_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="scale=0"):
        effective_number(np.zeros((3, 3)), scale=0)
    with pytest.raises(ConfigurationError, match="order=0"):
        vendi_score(np.eye(2), order=0)
    with pytest.raises(DataError, match=r"features\[1\] is all zero"):
        vendi_score([[1.0, 0.0], [0.0, 0.0]])
