"""Coverage of every interval over tasks, by simulation from superpopulations of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lightning_lde.diversity import (
    coefficient_difference,
    cross_diversity,
    crossvalidated_coefficient,
    crossvalidated_distances,
    effective_number,
    mean_complexity,
    per_sample_spread,
    standardised_coefficient,
)

DIMENSION = 40
IMAGES = 20
REPETITIONS = 2000
LOADINGS = np.random.default_rng(5).normal(size=(10, DIMENSION)) * np.linspace(0.5, 0.1, 10)[:, None]
CENTRES = np.random.default_rng(6).normal(size=(4, DIMENSION))
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
INNER = float((LOADINGS**2).sum() / DIMENSION)
BETWEEN = float((SHARES @ CENTRES**2 - (SHARES @ CENTRES) ** 2).mean())

Draw = Callable[[int, np.random.Generator], np.ndarray]


def one_source(n: int, rng: np.random.Generator) -> np.ndarray:
    """Tasks of one source, true coefficient INNER."""
    return rng.normal(size=(n, 10)) @ LOADINGS


def four_sources(n: int, rng: np.random.Generator) -> np.ndarray:
    """Tasks of four sources of unequal frequency, true coefficient INNER + BETWEEN."""
    return CENTRES[rng.choice(4, size=n, p=SHARES)] + one_source(n, rng)


def halves(tasks: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of ten images each, every image with variance 1 around its task."""
    first, second = tasks + rng.normal(size=(2, *tasks.shape)) * np.sqrt(2 / IMAGES)
    return first, second


def coverage(interval: Callable[[np.random.Generator], tuple[float, float]], truth: float) -> float:
    rng = np.random.default_rng(0)
    bounds = np.array([interval(rng) for _ in range(REPETITIONS)])
    return float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean())


POPULATIONS = pytest.mark.parametrize(
    ("draw", "truth"), [(one_source, INNER), (four_sources, INNER + BETWEEN)], ids=["one source", "four sources"]
)


@pytest.mark.slow
@POPULATIONS
def test_coefficient(draw: Draw, truth: float) -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        found = crossvalidated_coefficient(*halves(draw(30, rng), rng))
        return found.low, found.high

    assert 0.93 <= coverage(interval, truth) <= 0.97


@pytest.mark.slow
def test_coefficient_of_tasks_without_any_difference() -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        found = crossvalidated_coefficient(*halves(np.zeros((30, DIMENSION)), rng))
        return found.low, found.high

    assert 0.93 <= coverage(interval, 0.0) <= 0.97


@pytest.mark.slow
def test_difference_of_two_data_sets() -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        narrow = crossvalidated_coefficient(*halves(one_source(30, rng), rng))
        wide = crossvalidated_coefficient(*halves(four_sources(30, rng), rng))
        found = coefficient_difference(wide, narrow)
        return found.low, found.high

    assert 0.93 <= coverage(interval, BETWEEN) <= 0.97


@pytest.mark.slow
@POPULATIONS
def test_standardised_coefficient(draw: Draw, truth: float) -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        found = standardised_coefficient(*halves(draw(30, rng), rng), images=IMAGES)
        return found.low, found.high

    assert 0.93 <= coverage(interval, truth / (truth + 1.0)) <= 0.97


@pytest.mark.slow
def test_per_sample_spread() -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        found = per_sample_spread(*halves(four_sources(30, rng), rng), images=IMAGES)
        return found.low, found.high

    assert 0.93 <= coverage(interval, 1.0) <= 0.97


@pytest.mark.slow
def test_complexity() -> None:
    def interval(rng: np.random.Generator) -> tuple[float, float]:
        found = mean_complexity(rng.gamma(4.0, size=(30, DIMENSION)) * rng.gamma(8.0, size=(30, 1)))
        return found.low, found.high

    assert 0.93 <= coverage(interval, DIMENSION * 4.0 * 8.0) <= 0.97


@pytest.mark.slow
def test_cross_diversity_and_separation() -> None:
    shift = np.random.default_rng(7).normal(size=DIMENSION)
    separation = float((shift**2).mean()) / 2.0

    def both(rng: np.random.Generator) -> tuple[float, float, float, float]:
        here = halves(one_source(30, rng), rng)
        there = halves(one_source(40, rng) + shift, rng)
        found = cross_diversity(here, there)
        return found.low, found.high, found.separation_low, found.separation_high

    rng = np.random.default_rng(0)
    low, high, apart_low, apart_high = np.array([both(rng) for _ in range(5 * REPETITIONS)]).T
    value = INNER + separation
    assert 0.93 <= ((low <= value) & (value <= high)).mean() <= 0.97
    assert 0.93 <= ((apart_low <= separation) & (separation <= apart_high)).mean() <= 0.97


@pytest.mark.slow
def test_effective_number() -> None:
    """Sources far apart and alike inside: two tasks are similar with the probability of one source, Σ p²."""

    def interval(rng: np.random.Generator) -> tuple[float, float]:
        tasks = 6.0 * CENTRES[rng.choice(4, size=30, p=SHARES)]
        found = effective_number(crossvalidated_distances(*halves(tasks, rng)), scale=2.0)
        return found.low, found.high

    assert 0.93 <= coverage(interval, 1.0 / float((SHARES**2).sum())) <= 0.97
