"""Effect sizes against scipy, published examples and the definition of the noncentral t distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import cohens_d, paired_cohens_d
from lightning_lde.statistics._effect import hedges_factor, noncentrality_interval


def test_d_is_t_in_other_units_and_the_raw_difference_is_welchs() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=9), rng.normal(0.5, 1.0, size=14)
    found = cohens_d(first, second, confidence=0.9)
    t = stats.ttest_ind(second, first).statistic
    assert found.d == pytest.approx(t * math.sqrt(1 / 9 + 1 / 14))
    assert found.difference == pytest.approx(found.d * found.sd)
    welch = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.9)
    assert (found.difference_low, found.difference_high) == pytest.approx((welch.low, welch.high))
    assert (found.n_1, found.n_2) == (9, 14)


def test_hedges_factor_is_the_published_table() -> None:
    # Hedges (1981), J. Educ. Stat. 6, table 1: c(m) for m = 2, 10, 20, 50.
    table = [0.5642, 0.9228, 0.9619, 0.9849]
    assert [hedges_factor(m) for m in (2, 10, 20, 50)] == pytest.approx(table, abs=1e-4)


def noncentral_cdf(t: float, freedom: int, shift: float) -> float:
    """P(Z + shift <= t sqrt(V/f)) by integrating over the chi-square V."""

    def part(v: float) -> float:
        return float(stats.norm.cdf(t * math.sqrt(v / freedom) - shift) * stats.chi2.pdf(v, freedom))

    return float(integrate.quad(part, 0.0, stats.chi2.isf(1e-14, freedom), limit=200)[0])


@pytest.mark.parametrize(("t", "freedom"), [(2.6, 18), (0.0, 5), (-7.5, 30), (12.0, 4)])
def test_bounds_put_the_observed_t_at_the_tails(t: float, freedom: int) -> None:
    low, high = noncentrality_interval(t, freedom, confidence=0.95)
    assert noncentral_cdf(t, freedom, low) == pytest.approx(0.975, abs=1e-7)
    assert noncentral_cdf(t, freedom, high) == pytest.approx(0.025, abs=1e-7)


def test_bounds_exist_for_large_effects_over_many_tasks() -> None:
    low, high = noncentrality_interval(300.0, 5000, confidence=0.95)
    # Far out t/sqrt(f) is close to normal around the truth with variance (1 + d²/2)/f.
    reach = 1.96 * math.sqrt(1.0 + 300.0**2 / 5000 / 2.0)
    assert (low, high) == pytest.approx((300.0 - reach, 300.0 + reach), abs=0.3)


def test_bounds_exist_where_scipy_has_no_number() -> None:
    # Its distribution function is nan at many places far from the middle; a search that meets one must go on.
    for t in np.linspace(-16.0, 16.0, 41):
        low, high = noncentrality_interval(float(t), 99, confidence=0.95)
        assert stats.nct.cdf(abs(t), 99, high if t >= 0 else -low) == pytest.approx(0.025, abs=1e-7)
        assert low < t < high


def test_paired_d_is_that_of_the_differences() -> None:
    rng = np.random.default_rng(1)
    first = rng.normal(size=20)
    second = first + rng.normal(0.3, 0.4, size=20)
    found = paired_cohens_d(first, second)
    difference = second - first
    assert found.d == pytest.approx(difference.mean() / difference.std(ddof=1))
    expected = stats.ttest_rel(second, first).confidence_interval()
    assert (found.difference_low, found.difference_high) == pytest.approx((expected.low, expected.high))
    assert (found.low > 0.0) == (stats.ttest_rel(second, first).pvalue < 0.05)
    average = paired_cohens_d(first, second, standardizer="average")
    sd = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    assert average.d == pytest.approx(difference.mean() / sd)
    assert average.low / found.low == pytest.approx(average.d / found.d)
    assert average.difference == found.difference


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-4, 1e4), st.floats(-100, 100))
def test_d_has_no_unit_and_turns_with_the_sides(seed: int, unit: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=8), rng.normal(1.0, 2.0, size=8)
    for measure in (cohens_d, paired_cohens_d):
        found = measure(first, second)
        moved = measure(unit * (first[::-1] + shift), unit * (second[::-1] + shift))
        assert (moved.d, moved.low, moved.high) == pytest.approx((found.d, found.low, found.high), rel=1e-5, abs=1e-7)
        assert moved.difference == pytest.approx(unit * found.difference, rel=1e-5, abs=1e-7 * unit)
        turned = measure(second, first)
        assert (turned.d, turned.low, turned.high) == pytest.approx((-found.d, -found.high, -found.low))
        assert abs(found.g) < abs(found.d)


def test_g_is_right_on_average_where_d_is_not() -> None:
    first, second = np.random.default_rng(2).normal([[[0.0]], [[1.0]]], 1.0, size=(2, 20_000, 5))
    d = stats.ttest_ind(second, first, axis=1).statistic * math.sqrt(2 / 5)
    one = cohens_d(first[0], second[0])
    assert (one.d, one.g) == pytest.approx((d[0], d[0] * hedges_factor(8)))
    error = d.std() / math.sqrt(d.size)
    assert d.mean() * hedges_factor(8) == pytest.approx(1.0, abs=3 * error)
    assert d.mean() > 1.0 + 10 * error


def test_unfit_values_are_refused() -> None:
    with pytest.raises(DataError, match="first has 1 values, expected at least 2"):
        cohens_d([1.0], [1.0, 2.0])
    with pytest.raises(DataError, match=r"second\[0\] is nan"):
        cohens_d([1.0, 2.0], [math.nan, 2.0])
    with pytest.raises(DataError, match="first and second are constant"):
        cohens_d([1.0, 1.0], [2.0, 2.0])
    with pytest.raises(DataError, match="differences of pairs are all the same"):
        paired_cohens_d([1.0, 2.0], [2.0, 3.0])
    with pytest.raises(DataError, match="2 and 3 values"):
        paired_cohens_d([1.0, 2.0], [2.0, 3.0, 4.0])
    with pytest.raises(ConfigurationError, match="standardizer='pooled'"):
        paired_cohens_d([1.0, 2.0], [2.0, 4.0], standardizer="pooled")
    with pytest.raises(ConfigurationError, match="confidence=95"):
        cohens_d([1.0, 2.0], [2.0, 4.0], confidence=95)
