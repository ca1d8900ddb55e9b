"""Equivalence against statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import equivalence, mean_difference, mean_interval, paired_equivalence


def test_two_samples_agree_with_statsmodels() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.0, 1.0, 12), rng.normal(0.1, 2.0, 30)
    found = equivalence(first, second, (-1.0, 1.5))
    p, lower, upper = ttost_ind(second, first, -1.0, 1.5, usevar="unequal")
    assert (found.p, found.p_lower, found.p_upper) == pytest.approx((p, lower[1], upper[1]))
    assert found.degrees_of_freedom == pytest.approx(lower[2])
    welch = mean_difference(first, second, confidence=0.9)
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high))


def test_pairs_agree_with_statsmodels() -> None:
    first, noise = np.random.default_rng(1).normal(size=(2, 15))
    second = first + 0.3 * noise
    found = paired_equivalence(first, second, 0.2)
    p, lower, upper = ttost_paired(second, first, -0.2, 0.2)
    assert (found.p, found.p_lower, found.p_upper) == pytest.approx((p, lower[1], upper[1]))
    assert (found.margin_low, found.margin_high, found.n_1) == (-0.2, 0.2, 15)


def test_clusters_count_once() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(size=(6, 50))
    second = first + rng.normal(0.0, 0.2, size=(6, 1)) + rng.normal(0.0, 0.5, size=(6, 50))
    found = paired_equivalence(
        first.ravel(), second.ravel(), 0.3, clusters=np.repeat(np.arange(6), 50).tolist(), alpha=0.1
    )
    means = (second - first).mean(axis=1)
    expected = mean_interval(means, confidence=0.8)
    assert (found.difference, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))
    assert found.p == pytest.approx(ttost_paired(means, np.zeros(6), -0.3, 0.3)[0])
    assert found.n_1 == 6
    assert paired_equivalence(first.ravel(), second.ravel(), 0.3).p < found.p


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 3.0), st.floats(1e-3, 1e3))
def test_the_verdict_is_that_of_the_interval(seed: int, margin: float, unit: float) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, 10))
    for test in (equivalence, paired_equivalence):
        found = test(first, second, margin)
        assert found.is_equivalent == (-margin < found.low and found.high < margin)
        scaled = test(unit * first, unit * second, unit * margin)
        assert scaled.p == pytest.approx(found.p, rel=1e-6, abs=1e-12)
        turned = test(second, first, margin)
        assert (turned.p_lower, turned.p_upper) == pytest.approx((found.p_upper, found.p_lower))
        assert test(first, second, 1.5 * margin).p <= found.p


def test_values_without_scatter_are_decided_by_the_difference_alone() -> None:
    assert paired_equivalence([1.0, 2.0], [1.0, 2.0], 0.1).p == 0.0
    assert not paired_equivalence([1.0, 2.0], [1.5, 2.5], 0.1).is_equivalent
    assert equivalence([1.0, 1.0], [1.0, 1.0], 0.1).is_equivalent


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan, math.inf, (1.0, 1.0), (0.5, -0.5)])
def test_margins_that_are_none_are_refused(margin: float | tuple[float, float]) -> None:
    with pytest.raises(ConfigurationError, match="margin="):
        equivalence([1.0, 2.0], [1.0, 2.0], margin)


def test_unfit_values_are_refused() -> None:
    with pytest.raises(DataError, match="second has 1 values"):
        equivalence([1.0, 2.0], [1.0], 0.1)
    with pytest.raises(DataError, match=r"first\[0\] is nan"):
        paired_equivalence([math.nan, 2.0], [1.0, 1.0], 0.1)
    with pytest.raises(ConfigurationError, match=r"alpha=0\.5"):
        equivalence([1.0, 2.0], [1.0, 3.0], 0.1, alpha=0.5)
