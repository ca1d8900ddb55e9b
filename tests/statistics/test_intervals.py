"""Intervals of means against scipy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import clustered_mean_interval, mean_interval


def test_mean_interval_agrees_with_scipy_and_statsmodels() -> None:
    values = np.random.default_rng(0).normal(size=17)
    found = mean_interval(values, confidence=0.9)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.low, found.high) == pytest.approx(DescrStatsW(values).tconfint_mean(alpha=0.1))
    assert (found.mean, found.sd, found.n) == pytest.approx((values.mean(), values.std(ddof=1), 17))


def test_single_value_has_no_bounds() -> None:
    found = mean_interval([0.5])
    assert (found.mean, found.n) == (0.5, 1)
    assert all(math.isnan(bound) for bound in (found.low, found.high, found.sd))


def test_equal_clusters_are_a_t_interval_of_cluster_means() -> None:
    values = np.random.default_rng(1).normal(size=(6, 10))
    found = clustered_mean_interval(values.ravel(), np.repeat(np.arange(6), 10).tolist())
    expected = stats.ttest_1samp(values.mean(axis=1), 0.0).confidence_interval(0.95)
    assert (found.low, found.high, found.n) == pytest.approx((expected.low, expected.high, 6))


def test_every_cluster_counts_the_same() -> None:
    assert clustered_mean_interval([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"]).mean == 0.5


def test_clusters_cover_where_values_taken_as_independent_do_not() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(8), 20).tolist()
    naive, clustered, repetitions = 0, 0, 300
    for _ in range(repetitions):
        values = (rng.normal(size=(8, 1)) + rng.normal(size=(8, 20))).ravel()
        naive += _holds_zero(mean_interval(values))
        clustered += _holds_zero(clustered_mean_interval(values, labels))
    low, high = stats.binom.ppf([0.0005, 0.9995], repetitions, 0.95)
    assert low <= clustered <= high
    assert naive < 0.6 * repetitions


def _holds_zero(interval: object) -> bool:
    return interval.low <= 0.0 <= interval.high


def test_unfit_values_are_refused() -> None:
    with pytest.raises(DataError, match="0 values"):
        mean_interval([])
    with pytest.raises(DataError, match=r"values\[1\] is nan"):
        mean_interval([1.0, math.nan])
    with pytest.raises(DataError, match="2 and 1 entries"):
        clustered_mean_interval([1.0, 2.0], ["a"])
    with pytest.raises(ConfigurationError, match="confidence=1"):
        mean_interval([1.0, 2.0], confidence=1)
