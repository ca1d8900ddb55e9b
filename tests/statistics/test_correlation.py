"""The correlation against scipy, statsmodels, brute force and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import correlate, regression_band


def _points(n: int, *, r: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return x, r * x + np.sqrt(1 - r**2) * rng.normal(size=n)


def test_line_and_correlation_agree_with_statsmodels() -> None:
    x, y = _points(12, r=0.6, seed=1)
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    found = correlate(x, y, confidence=0.9, resamples=200)
    low, high = fit.conf_int(alpha=0.1)[1]
    assert found.n == 12
    assert found.slope == pytest.approx(fit.params[1])
    assert found.intercept == pytest.approx(fit.params[0])
    assert (found.slope_low, found.slope_high) == pytest.approx((low, high))
    assert found.r_squared == pytest.approx(fit.rsquared)
    assert found.r_squared_adjusted == pytest.approx(fit.rsquared_adj)
    assert found.r == pytest.approx(stats.pearsonr(x, y).statistic)
    assert found.confidence == 0.9


def test_permutation_p_is_exact_for_few_points() -> None:
    x, y = _points(6, r=0.8, seed=3)
    observed = np.corrcoef(x, y)[0, 1]
    every = np.array([np.corrcoef(x, order)[0, 1] for order in itertools.permutations(y)])
    tail = min(np.mean(every >= observed - 1e-12), np.mean(every <= observed + 1e-12))
    assert correlate(x, y).p_permutation == pytest.approx(min(1.0, 2 * tail))


def test_leave_one_out_is_the_range_over_refits() -> None:
    x, y = _points(9, r=0.3, seed=4)
    fits = [stats.linregress(np.delete(x, i), np.delete(y, i)) for i in range(9)]
    found = correlate(x, y, resamples=200)
    squares, slopes = [fit.rvalue**2 for fit in fits], [fit.slope for fit in fits]
    assert (found.leave_one_out_low, found.leave_one_out_high) == pytest.approx((min(squares), max(squares)))
    expected = (min(slopes), max(slopes))
    assert (found.slope_leave_one_out_low, found.slope_leave_one_out_high) == pytest.approx(expected)


def test_r_interval_is_that_of_scipys_bca_bootstrap() -> None:
    x, y = _points(15, r=0.5, seed=5)
    method = stats.BootstrapMethod(method="BCa", n_resamples=999, batch=1000, rng=np.random.default_rng(7))
    expected = stats.pearsonr(x, y).confidence_interval(method=method)
    found = correlate(x, y, resamples=999, seed=7)
    assert (found.r_low, found.r_high) == pytest.approx(tuple(expected))


def test_r_squared_interval_reaches_zero_where_the_sign_is_open() -> None:
    found = correlate(range(12), [3, -1, 4, 1, -5, 9, 2, -6, 5, 3, -5, 8], resamples=500)
    assert found.r_low < 0 < found.r_high
    assert found.r_squared_low == 0.0
    assert found.r_squared_high == pytest.approx(max(found.r_low**2, found.r_high**2))


def test_r_squared_interval_of_a_clear_negative_correlation() -> None:
    x, y = _points(30, r=-0.9, seed=6)
    found = correlate(x, y, resamples=500)
    assert found.r_high < 0
    assert (found.r_squared_low, found.r_squared_high) == pytest.approx((found.r_high**2, found.r_low**2))


def test_equal_seeds_give_equal_results_and_a_generator_is_taken() -> None:
    x, y = _points(10, r=0.5, seed=8)
    first = correlate(x, y, resamples=300, seed=1)
    assert first == correlate(x, y, resamples=300, seed=np.random.default_rng(1))
    assert first.r_low != correlate(x, y, resamples=300, seed=2).r_low


def test_constant_y_has_slope_zero_and_no_correlation() -> None:
    found = correlate([1, 2, 3, 4, 5], [0.1] * 5)
    assert (found.slope, found.slope_low, found.slope_high, found.p_permutation) == (0.0, 0.0, 0.0, 1.0)
    assert (found.slope_leave_one_out_low, found.slope_leave_one_out_high) == (0.0, 0.0)
    assert np.isnan([found.r, found.r_low, found.r_squared, found.r_squared_high]).all()


def test_perfect_line_has_a_closed_interval() -> None:
    found = correlate([1, 2, 3, 4], [2, 4, 6, 8])
    assert (found.r_low, found.r_high) == pytest.approx((1.0, 1.0))


def test_leave_one_out_is_nan_where_one_point_carries_the_slope() -> None:
    found = correlate([1, 1, 1, 4], [1, 2, 3, 4], resamples=200)
    assert np.isnan([found.leave_one_out_low, found.slope_leave_one_out_high]).all()


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        ([1, 2, 3], [1, 2, 3], "3 values, expected at least 4"),
        ([1, 2, 3, 4], [1, 2, 3, 4, 5], "4 and 5 values"),
        ([1, 2, 3, np.nan], [1, 2, 3, 4], r"x\[3\] is nan"),
        ([1, 2, 3, 4], [1, np.inf, 3, 4], r"y\[1\] is inf"),
        ([2, 2, 2, 2], [1, 2, 3, 4], "x is 2.0 at every point"),
        ([[1, 2], [3, 4]], [1, 2, 3, 4], "one dimension"),
        (["a", "b", "c", "d"], [1, 2, 3, 4], "not a number"),
    ],
)
def test_unfit_points_are_refused(x: list, y: list, match: str) -> None:
    with pytest.raises(DataError, match=match):
        correlate(x, y)


def test_unfit_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="confidence=95"):
        correlate([1, 2, 3, 4], [1, 2, 4, 3], confidence=95)
    with pytest.raises(ConfigurationError, match="resamples=0"):
        correlate([1, 2, 3, 4], [1, 2, 4, 3], resamples=0)


def test_band_agrees_with_statsmodels() -> None:
    x, y = _points(12, r=0.6, seed=9)
    at = np.linspace(-3, 3, 7)
    summary = sm.OLS(y, sm.add_constant(x)).fit().get_prediction(sm.add_constant(at)).summary_frame(alpha=0.1)
    mean, low, high = regression_band(x, y, at, confidence=0.9)
    np.testing.assert_allclose(mean, summary["mean"])
    np.testing.assert_allclose(low, summary["mean_ci_lower"])
    np.testing.assert_allclose(high, summary["mean_ci_upper"])


def test_nominal_rates_hold_in_simulation() -> None:
    repetitions = 400
    rejected, slope_covered, r_covered = 0, 0, 0
    for seed in range(repetitions):
        null = correlate(*_points(12, r=0.0, seed=seed), resamples=199, seed=seed)
        real = correlate(*_points(12, r=0.6, seed=10_000 + seed), resamples=199, seed=seed)
        rejected += null.p_permutation <= 0.05
        slope_covered += real.slope_low <= 0.6 <= real.slope_high
        r_covered += real.r_low <= 0.6 <= real.r_high
    low, high = stats.binom.ppf([0.0005, 0.9995], repetitions, 0.05)
    assert low <= rejected <= high
    assert low <= repetitions - slope_covered <= high
    assert r_covered / repetitions >= 0.86
