"""Pooled deviations against numpy and scipy, numbers of repetitions against statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import detectable_difference, pooled_deviation, repetitions_required


def test_pooled_deviation_of_equal_cells_is_the_root_of_the_mean_variance() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6)) + np.arange(4)[:, None] * 100
    found = pooled_deviation(values.ravel(), np.repeat(np.arange(4), 6).tolist())
    assert found is not None
    assert found.sd == pytest.approx(math.sqrt(values.var(axis=1, ddof=1).mean()))
    assert (found.degrees_of_freedom, found.n, found.n_cells) == (20, 24, 4)


def test_pooled_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(1)
    cells = np.repeat([0, 1, 2, 3], [2, 1, 4, 3])
    covered, repetitions = 0, 1000
    for _ in range(repetitions):
        found = pooled_deviation(rng.normal(scale=0.3, size=10) + cells, cells.tolist())
        assert found is not None
        covered += found.low <= 0.3 <= found.high
    assert covered / repetitions == pytest.approx(0.95, abs=0.02)


def test_no_repetition_is_no_zero() -> None:
    assert pooled_deviation([1.0, 2.0], ["a", "b"]) is None
    with pytest.raises(DataError, match="1 cells for 2 values"):
        pooled_deviation([1.0, 2.0], ["a"])


@pytest.mark.parametrize("effect", [0.1, 0.35, 0.8, 1.5, 4.0])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.95, 0.01)])
def test_repetitions_agree_with_statsmodels(effect: float, power: float, alpha: float) -> None:
    found = repetitions_required(0.02, 0.02 * effect, power=power, alpha=alpha)
    reference = TTestIndPower()
    assert reference.power(effect, found, alpha) >= power
    assert found == 2 or reference.power(effect, found - 1, alpha) < power
    least = detectable_difference(0.02, found, power=power, alpha=alpha)
    assert reference.power(least / 0.02, found, alpha) == pytest.approx(power, abs=1e-6)


def test_the_power_is_that_of_simulated_t_tests() -> None:
    n = repetitions_required(1.0, 1.2)
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(4000, n)), rng.normal(size=(4000, n)) + 1.2
    assert (stats.ttest_ind(first, second, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.04)


def test_huge_and_tiny_differences() -> None:
    assert repetitions_required(1e-6, 1.0) == 2
    with pytest.raises(ConfigurationError, match="more than 1000000 repetitions"):
        repetitions_required(1.0, 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0.0, 1.0), "sd=0.0"), ((1.0, 0.0), "difference=0.0"), ((math.nan, 1.0), "sd=nan")],
)
def test_wrong_numbers_are_named(arguments: tuple[float, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        repetitions_required(*arguments)
    with pytest.raises(ConfigurationError, match="n=1"):
        detectable_difference(1.0, 1)
