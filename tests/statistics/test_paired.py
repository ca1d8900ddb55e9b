"""Paired tests against scipy, brute force and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import clustered_mean_interval, paired_test


def pairs(n: int, *, seed: int, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    first, noise = np.random.default_rng(seed).normal(size=(2, n))
    return first, first + shift + noise


def test_agrees_with_scipy() -> None:
    first, second = pairs(14, seed=0)
    found = paired_test(first, second, confidence=0.9)
    t = stats.ttest_rel(second, first)
    interval = t.confidence_interval(0.9)
    assert (found.t, found.p_t, found.degrees_of_freedom) == pytest.approx((t.statistic, t.pvalue, t.df))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(second, first).pvalue)
    assert (found.n, found.n_clusters, found.sd) == (14, 14, pytest.approx((second - first).std(ddof=1)))


def test_few_pairs_are_flipped_in_every_way() -> None:
    first, second = pairs(9, seed=1)
    difference = second - first
    means = np.array([np.mean(difference * np.array(one)) for one in itertools.product((1, -1), repeat=9)])
    expected = np.mean(np.abs(means) >= abs(difference.mean()) - 1e-12)
    assert paired_test(first, second).p_sign_flip == pytest.approx(expected)


def test_many_pairs_are_flipped_at_random_and_never_reach_zero() -> None:
    first, second = pairs(60, seed=2, shift=5.0)
    assert paired_test(first, second, resamples=999).p_sign_flip == pytest.approx(2 / 1000)
    first, second = pairs(60, seed=3, shift=0.25)
    found = paired_test(first, second)
    assert found.p_sign_flip == pytest.approx(found.p_t, abs=0.015)


def test_data_sets_count_once_each() -> None:
    rng = np.random.default_rng(4)
    sizes = [5, 20, 8, 30, 2, 11]
    labels = np.repeat(list("abcdef"), sizes).tolist()
    effect = np.repeat(rng.normal(0.5, 0.5, size=6), sizes)
    first = rng.normal(size=len(labels))
    second = first + effect + 0.1 * rng.normal(size=len(labels))
    found = paired_test(first, second, clusters=labels)
    expected = clustered_mean_interval(second - first, labels)
    assert (found.difference, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
    means = [np.mean((second - first)[np.array(labels) == one]) for one in "abcdef"]
    assert (found.p_t, found.p_wilcoxon) == pytest.approx(
        (stats.ttest_1samp(means, 0.0).pvalue, stats.wilcoxon(means).pvalue)
    )
    assert (found.n, found.n_clusters, found.degrees_of_freedom) == (76, 6, 5)
    assert found.p_t > paired_test(first, second).p_t


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-4, 1e4))
def test_unit_order_and_sides_do_not_matter(seed: int, unit: float) -> None:
    first, second = pairs(8, seed=seed)
    found = paired_test(first, second)
    order = np.random.default_rng(seed).permutation(8)
    moved = paired_test(-unit * second[order], -unit * first[order])
    turned = paired_test(second, first)
    for other in (moved, turned):
        assert (other.p_t, other.p_wilcoxon, other.p_sign_flip) == pytest.approx(
            (found.p_t, found.p_wilcoxon, found.p_sign_flip)
        )
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert moved.difference == pytest.approx(unit * found.difference)


def test_equal_methods_and_differences_without_scatter() -> None:
    same = paired_test([0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (same.difference, same.t, same.p_t, same.p_wilcoxon, same.p_sign_flip) == (0.0, 0.0, 1.0, 1.0, 1.0)
    constant = paired_test([0.5, 0.6, 0.7], [0.6, 0.7, 0.8])
    assert (constant.t, constant.p_t) == (math.inf, 0.0)
    assert constant.low == constant.high == pytest.approx(0.1)
    assert constant.p_sign_flip == pytest.approx(0.25)


def test_unfit_values_are_refused() -> None:
    with pytest.raises(DataError, match="first has 1 values, expected at least 2"):
        paired_test([1.0], [2.0])
    with pytest.raises(DataError, match="first and second have 2 and 3"):
        paired_test([1.0, 2.0], [2.0, 3.0, 4.0])
    with pytest.raises(DataError, match=r"second\[1\] is inf"):
        paired_test([1.0, 2.0], [2.0, math.inf])
    with pytest.raises(DataError, match="there is one cluster"):
        paired_test([1.0, 2.0], [2.0, 4.0], clusters=["a", "a"])
    with pytest.raises(DataError, match="'clusters' has 1 labels"):
        paired_test([1.0, 2.0], [2.0, 4.0], clusters=["a"])
    with pytest.raises(ConfigurationError, match="resamples=9"):
        paired_test([1.0, 2.0], [2.0, 4.0], resamples=9)
