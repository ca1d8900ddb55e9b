"""Welch's interval of a difference of means against scipy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import mean_difference


@pytest.mark.parametrize(("n_1", "n_2", "confidence"), [(2, 2, 0.95), (5, 40, 0.9), (100, 7, 0.99)])
def test_agrees_with_scipy_and_statsmodels(n_1: int, n_2: int, confidence: float) -> None:
    rng = np.random.default_rng(n_1)
    first, second = rng.normal(0.0, 1.0, n_1), rng.normal(0.3, 4.0, n_2)
    found = mean_difference(first, second, confidence=confidence)
    expected = stats.ttest_ind(second, first, equal_var=False).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    theirs = CompareMeans(DescrStatsW(second), DescrStatsW(first)).tconfint_diff(alpha=1 - confidence, usevar="unequal")
    assert (found.low, found.high) == pytest.approx(theirs)
    assert found.difference == pytest.approx(second.mean() - first.mean())
    assert (found.n_1, found.n_2) == (n_1, n_2)


def test_single_and_constant_values() -> None:
    found = mean_difference([1.0], [2.0, 3.0])
    assert found.difference == 1.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    constant = mean_difference([1.0, 1.0], [2.0, 2.0])
    assert (constant.low, constant.high) == (1.0, 1.0)
    tiny = mean_difference([1e-170, 2e-170], [1.0, 1.0])
    assert (tiny.low, tiny.high) == pytest.approx((1.0, 1.0))


def test_wrong_values_are_named() -> None:
    with pytest.raises(DataError, match="second"):
        mean_difference([1.0, 2.0], [math.nan])
    with pytest.raises(DataError, match="first"):
        mean_difference([], [1.0])
    with pytest.raises(ConfigurationError, match="confidence"):
        mean_difference([1.0, 2.0], [1.0, 2.0], confidence=95)
