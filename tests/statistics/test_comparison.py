"""Dependent comparisons against published values, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_lde.errors import DataError
from lightning_lde.statistics import compare_dependent, regress


def _with_correlations(target: np.ndarray, *, n: int) -> np.ndarray:
    """Columns whose sample correlations are exactly the target."""
    noise = np.random.default_rng(0).normal(size=(n, len(target)))
    orthogonal, _ = np.linalg.qr(noise - noise.mean(axis=0))
    return orthogonal @ np.linalg.cholesky(target).T


def test_williams_test_agrees_with_the_published_example() -> None:
    # R package psych, help page of r.test, case A of Steiger (1980): t -0.89, p 0.37.
    target = np.array([[1.0, 0.4, 0.5], [0.4, 1.0, 0.1], [0.5, 0.1, 1.0]])
    found = compare_dependent(*_with_correlations(target, n=103).T, resamples=200)
    assert (found.r_1, found.r_2, found.n) == (pytest.approx(0.4), pytest.approx(0.5), 103)
    assert found.t_williams == pytest.approx(-0.89, abs=0.005)
    assert found.p_williams == pytest.approx(0.37, abs=0.005)


def test_differences_are_those_of_two_regressions() -> None:
    rng = np.random.default_rng(1)
    x, y1, y2 = rng.normal(size=(3, 12))
    first, second = stats.linregress(x, y1), stats.linregress(x, y2)
    found = compare_dependent(x, y1, y2, resamples=200)
    assert found.slope_difference == pytest.approx(first.slope - second.slope)
    assert found.r_squared_difference == pytest.approx(first.rvalue**2 - second.rvalue**2)
    assert found.slope_difference_low <= found.slope_difference <= found.slope_difference_high
    assert found.r_squared_difference_low <= found.r_squared_difference <= found.r_squared_difference_high


def test_bootstrap_keeps_the_pairing() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=14)
    y1 = 0.5 * x + rng.normal(size=14)
    found = compare_dependent(x, y1, y1 - 0.3 * x, resamples=500)
    assert (found.slope_difference_low, found.slope_difference_high) == pytest.approx((0.3, 0.3))


def test_equal_quantities_do_not_differ() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 10))
    found = compare_dependent(x, y, y, resamples=200)
    assert (found.t_williams, found.p_williams, found.r_squared_difference) == (0.0, 1.0, 0.0)
    assert (found.r_squared_difference_low, found.slope_difference_high) == (0.0, 0.0)


def test_rates_hold_where_both_correlations_are_equal() -> None:
    rng = np.random.default_rng(4)
    repetitions, rejected, covered = 300, 0, 0
    for seed in range(repetitions):
        shared, x = rng.normal(size=(2, 20))
        y1, y2 = 0.5 * x + shared + rng.normal(size=(2, 20))
        found = compare_dependent(x, y1, y2, resamples=199, seed=seed)
        rejected += found.p_williams <= 0.05
        covered += found.slope_difference_low <= 0.0 <= found.slope_difference_high
    low, high = stats.binom.ppf([0.0005, 0.9995], repetitions, 0.05)
    assert low <= rejected <= high
    assert covered / repetitions >= 0.86


def test_unfit_comparisons_are_refused() -> None:
    with pytest.raises(DataError, match="x and y2 have 4 and 5"):
        compare_dependent([1, 2, 3, 4], [1, 2, 4, 3], [1, 2, 3, 4, 5])
    with pytest.raises(DataError, match=r"y1 is 1\.0 at every point"):
        compare_dependent([1, 2, 3, 4], [1, 1, 1, 1], [1, 2, 3, 5])


def test_zous_interval_is_the_published_example() -> None:
    # Zou (2007), section "Overlapping correlations": r 0.396 and 0.179, 0.088 between, n 66: -0.093 to 0.517.
    target = np.array([[1.0, 0.396, 0.179], [0.396, 1.0, 0.088], [0.179, 0.088, 1.0]])
    found = compare_dependent(*_with_correlations(target, n=66).T, resamples=200)
    assert found.r_difference == pytest.approx(0.217)
    assert (found.r_difference_low, found.r_difference_high) == pytest.approx((-0.093, 0.517), abs=6e-4)


def test_slopes_are_compared_by_the_regression_of_the_difference() -> None:
    x, y1, y2 = np.random.default_rng(6).normal(size=(3, 15))
    found, of_difference = compare_dependent(x, y1, y2, resamples=400), regress(x, y1 - y2, resamples=400)
    expected = (of_difference.slope_bootstrap_low, of_difference.slope_bootstrap_high, of_difference.p_bootstrap)
    assert (found.slope_difference_low, found.slope_difference_high, found.p_slope_difference) == expected


def test_clusters_are_drawn_whole() -> None:
    x, y1, y2 = np.random.default_rng(7).normal(size=(3, 12))
    once = compare_dependent(x, y1, y2)
    labels = np.tile(np.arange(12), 3).tolist()
    copied = compare_dependent(*np.tile([x, y1, y2], 3), clusters=labels)
    assert (copied.n, copied.n_clusters, copied.r_difference) == (36, 12, pytest.approx(once.r_difference))
    assert (copied.slope_difference_low, copied.slope_difference_high, copied.p_slope_difference) == pytest.approx(
        (once.slope_difference_low, once.slope_difference_high, once.p_slope_difference)
    )
    assert np.isnan([copied.t_williams, copied.p_williams]).all()

    assert copied.p_jackknife == pytest.approx(once.p_jackknife)
    # Over one point each, both ways of putting an interval together are close.
    assert (copied.r_difference_low, copied.r_difference_high) == pytest.approx(
        (once.r_difference_low, once.r_difference_high), abs=0.25
    )


def test_the_jackknife_leaves_each_cluster_out() -> None:
    x, y1, y2 = np.random.default_rng(9).normal(size=(3, 20))
    clusters = np.repeat(np.arange(5), 4)

    def difference(kept: np.ndarray) -> float:
        return np.arctanh(np.corrcoef(x[kept], y1[kept])[0, 1]) - np.arctanh(np.corrcoef(x[kept], y2[kept])[0, 1])

    without = np.array([difference(clusters != one) for one in range(5)])
    t = difference(clusters >= 0) / np.sqrt(4 / 5 * ((without - without.mean()) ** 2).sum())
    found = compare_dependent(x, y1, y2, clusters=clusters.tolist(), resamples=200)
    assert found.p_jackknife == pytest.approx(2 * stats.t.sf(abs(t), 4))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-3, 1e3), st.sampled_from([1.0, -1.0]))
def test_exchanging_the_quantities_turns_the_signs(seed: int, unit: float, sign: float) -> None:
    x, y1, y2 = np.random.default_rng(seed).normal(size=(3, 12))
    one = compare_dependent(x, y1, y2, resamples=2048)
    other = compare_dependent(sign * unit * x + 1.0, sign * y2, sign * y1, resamples=2048)
    for name in ("r_difference", "r_squared_difference"):
        bounds = (getattr(one, f"{name}_low"), getattr(one, f"{name}_high"))
        turned = (-getattr(other, f"{name}_high"), -getattr(other, f"{name}_low"))
        assert bounds == pytest.approx(turned, abs=1e-9)
    assert other.t_williams == pytest.approx(-one.t_williams)
    assert other.p_slope_difference == pytest.approx(one.p_slope_difference)


def test_one_quantity_in_two_units_and_with_both_signs() -> None:
    x, y = np.random.default_rng(8).normal(size=(2, 10))
    same = compare_dependent(x, y, 3.0 * y + 1.0, resamples=200)
    assert (same.r_difference_low, same.r_difference_high) == (0.0, 0.0)
    turned = compare_dependent(x, y, -y, resamples=200)
    bounds = stats.pearsonr(x, y).confidence_interval()
    assert (turned.r_difference_low, turned.r_difference_high) == pytest.approx((2 * bounds.low, 2 * bounds.high))
    assert (turned.r_squared_difference_low, turned.r_squared_difference_high) == (0.0, 0.0)


def test_one_cluster_that_carries_a_correlation_leaves_no_interval() -> None:
    x = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0]
    y1, y2 = np.random.default_rng(10).normal(size=(2, 8))
    found = compare_dependent(x, y1, y2, clusters=[0, 0, 1, 1, 2, 2, 3, 3], resamples=200)
    assert np.isnan([found.r_difference_low, found.r_difference_high, found.r_squared_difference_low]).all()
    assert np.isnan(found.p_jackknife)
