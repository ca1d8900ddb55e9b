"""The regression against statsmodels, brute force and a bootstrap written out step by step."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import Regression, correlate, regress


def points(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    classes, images, noise = rng.normal(size=(3, n))
    x = 0.6 * classes - 0.3 * images + rng.normal(size=n)
    covariates = {"classes": 50 + 20 * classes, "images": 1e4 + 3e3 * images}
    return x, 0.4 * x + 0.5 * classes + noise, covariates


def ols(
    x: np.ndarray, y: np.ndarray, covariates: dict[str, np.ndarray]
) -> sm.regression.linear_model.RegressionResults:
    return sm.OLS(y, sm.add_constant(np.column_stack([x, *covariates.values()]))).fit()


def test_agrees_with_statsmodels() -> None:
    x, y, covariates = points(25, seed=1)
    reference, without = (
        ols(x, y, covariates),
        sm.OLS(y, sm.add_constant(np.column_stack([*covariates.values()]))).fit(),
    )
    found = regress(x, y, covariates=covariates, confidence=0.9, resamples=200)
    bounds = reference.conf_int(alpha=0.1)
    assert (found.intercept, found.slope) == pytest.approx(tuple(reference.params[:2]))
    assert (found.slope_low, found.slope_high) == pytest.approx(tuple(bounds[1]))
    assert found.p == pytest.approx(reference.pvalues[1])
    assert found.r_squared == pytest.approx(reference.rsquared)
    assert found.r_squared_adjusted == pytest.approx(reference.rsquared_adj)
    assert found.r_squared_covariates == pytest.approx(without.rsquared)
    assert found.r_squared_partial == pytest.approx(1.0 - reference.ssr / without.ssr)
    for index, (name, one) in enumerate(zip(covariates, found.covariates, strict=True), 2):
        assert one.name == name
        expected = (reference.params[index], *bounds[index], reference.tvalues[index], reference.pvalues[index])
        assert (one.slope, one.low, one.high, one.t, one.p) == pytest.approx(tuple(expected))
        left = ols(x, y, {other: values for other, values in covariates.items() if other != name})
        assert one.r_squared_partial == pytest.approx(1.0 - reference.ssr / left.ssr)


def test_partial_correlation_and_inflation_are_those_of_residuals() -> None:
    x, y, covariates = points(20, seed=2)
    z = sm.add_constant(np.column_stack([*covariates.values()]))
    of_x = sm.OLS(x, z).fit()
    found = regress(x, y, covariates=covariates, resamples=200)
    assert found.r_partial == pytest.approx(stats.pearsonr(of_x.resid, sm.OLS(y, z).fit().resid).statistic)
    assert found.variance_inflation == pytest.approx(1.0 / (1.0 - of_x.rsquared))
    # Fisher's z with n less by both covariates, from scipy through points whose plain r is the partial one.
    a, b = np.random.default_rng(0).normal(size=(2, 18))
    a, b = stats.zscore(a), stats.zscore(b)
    b = stats.zscore(b - a * (a @ b) / (a @ a))
    same = stats.pearsonr(a, found.r_partial * a + math.sqrt(1 - found.r_partial**2) * b)
    assert same.statistic == pytest.approx(found.r_partial)
    assert (found.r_partial_low, found.r_partial_high) == pytest.approx(tuple(same.confidence_interval()))


def test_without_covariates_it_is_the_correlation() -> None:
    x, y, _ = points(7, seed=3)
    found, plain = regress(x, y), correlate(x, y)
    for name in ("slope", "slope_low", "slope_high", "intercept", "r_squared", "r_squared_adjusted", "p_permutation"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name)), name
    for name in ("leave_one_out_low", "leave_one_out_high", "slope_leave_one_out_low", "slope_leave_one_out_high"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name)), name
    assert (found.r_partial, found.r_squared_covariates, found.variance_inflation) == pytest.approx((plain.r, 0.0, 1.0))


def test_permutation_is_freedmans_and_lanes() -> None:
    x, y, covariates = points(6, seed=4)
    z = sm.add_constant(covariates["classes"])
    reduced = sm.OLS(y, z).fit()
    full = np.column_stack([z, x])
    t = sm.OLS(y, full).fit().tvalues[-1]
    orders = itertools.permutations(reduced.resid)
    drawn = np.array([sm.OLS(reduced.fittedvalues + np.array(one), full).fit().tvalues[-1] for one in orders])
    tail = min(np.mean(drawn >= t - 1e-9), np.mean(drawn <= t + 1e-9))
    found = regress(x, y, covariates={"classes": covariates["classes"]})
    assert found.p_permutation == pytest.approx(min(1.0, 2 * tail))


def test_leave_one_out_leaves_whole_clusters_out() -> None:
    x, y, covariates = points(15, seed=5)
    clusters = np.repeat(np.arange(5), 3)
    found = regress(x, y, covariates=covariates, clusters=clusters.tolist(), resamples=200)
    slopes = [
        ols(x[kept], y[kept], {name: one[kept] for name, one in covariates.items()}).params[1]
        for kept in (clusters != left_out for left_out in range(5))
    ]
    expected = (min(slopes), max(slopes))
    assert (found.slope_leave_one_out_low, found.slope_leave_one_out_high) == pytest.approx(expected)
    assert (found.n, found.n_clusters) == (15, 5)


def written_out_p(x: np.ndarray, y: np.ndarray, z: np.ndarray, clusters: np.ndarray) -> float:
    """The wild cluster bootstrap of slope 0, refitting under each of all changes of signs."""
    design, members = np.column_stack([z, x]), np.eye(int(clusters.max()) + 1)[clusters]
    inverse = np.linalg.inv(design.T @ design)

    def t(values: np.ndarray) -> float:
        slopes = inverse @ design.T @ values
        scores = members.T @ (design * (values - design @ slopes)[:, None])
        return float(slopes[-1] / np.sqrt((inverse @ scores.T @ scores @ inverse)[-1, -1]))

    restricted = sm.OLS(y, z).fit()
    signs = itertools.product((1.0, -1.0), repeat=members.shape[1])
    drawn = [t(restricted.fittedvalues + restricted.resid * np.array(one)[clusters]) for one in signs]
    return float(np.mean(np.abs(drawn) >= abs(t(y)) * (1 - 1e-9)))


def test_wild_bootstrap_is_the_one_written_out() -> None:
    x, y, covariates = points(24, seed=6)
    clusters = np.repeat(np.arange(12), 2)
    found = regress(x, y, covariates=covariates, clusters=clusters.tolist(), resamples=2048)
    z = sm.add_constant(np.column_stack([stats.zscore(one) for one in covariates.values()]))
    assert found.p_bootstrap == pytest.approx(written_out_p(x, y, z, clusters))


def test_the_bootstrap_interval_holds_what_is_not_rejected() -> None:
    x, y, covariates = points(30, seed=7)
    found = regress(x, y, covariates=covariates, resamples=999, confidence=0.9)
    width = found.slope_bootstrap_high - found.slope_bootstrap_low
    for edge, side in ((found.slope_bootstrap_low, 1.0), (found.slope_bootstrap_high, -1.0)):
        inside, outside = (
            regress(x, y - place * x, covariates=covariates, resamples=999).p_bootstrap
            for place in (edge + 0.01 * side * width, edge - 0.01 * side * width)
        )
        assert outside <= 0.1 < inside


def test_too_few_clusters_have_an_open_interval_not_a_wrong_one() -> None:
    x, y, _ = points(8, seed=8)
    found = regress(x, y, clusters=[0, 0, 1, 1, 2, 2, 3, 3], resamples=999, confidence=0.999)
    assert math.isinf(found.slope_bootstrap_low) or math.isinf(found.slope_bootstrap_high)


def test_clusters_make_nan_of_what_needs_independent_points() -> None:
    x, y, covariates = points(20, seed=9)
    found = regress(x, y, covariates=covariates, clusters=[f"family {i % 5}" for i in range(20)], resamples=300)
    assert np.isnan([found.slope_low, found.slope_high, found.p, found.p_permutation, found.covariates[0].low]).all()
    assert found.slope_bootstrap_low < found.slope < found.slope_bootstrap_high
    assert found.r_partial_low < found.r_partial < found.r_partial_high
    assert found.slope == pytest.approx(regress(x, y, covariates=covariates, resamples=200).slope)


def test_copies_of_points_tell_nothing_new() -> None:
    x, y, _ = points(20, seed=10)
    once = regress(x, y, resamples=2000)
    labels = np.tile(np.arange(20), 4).tolist()
    copied = regress(np.tile(x, 4), np.tile(y, 4), clusters=labels, resamples=2000)
    naive = regress(np.tile(x, 4), np.tile(y, 4), resamples=200)
    expected = (once.slope_bootstrap_low, once.slope_bootstrap_high, once.p_bootstrap)
    assert (copied.slope_bootstrap_low, copied.slope_bootstrap_high, copied.p_bootstrap) == pytest.approx(expected)
    assert naive.slope_high - naive.slope_low < 0.6 * (once.slope_high - once.slope_low)
    twice = regress(np.tile(x, 2), np.tile(y, 2), clusters=labels[:40], resamples=200)
    assert (copied.r_partial_low, copied.r_partial_high) == pytest.approx((twice.r_partial_low, twice.r_partial_high))


def test_r_over_clusters_is_a_jackknife_that_leaves_each_out() -> None:
    x, y, covariates = points(30, seed=14)
    clusters = np.repeat(np.arange(10), 3)

    def z(kept: np.ndarray) -> float:
        others = {name: one[kept] for name, one in covariates.items()}
        return float(np.arctanh(regress(x[kept], y[kept], covariates=others, resamples=100).r_partial))

    without = np.array([z(clusters != one) for one in range(10)])
    error = np.sqrt(9 / 10 * ((without - without.mean()) ** 2).sum())
    reach = stats.t.ppf(0.95, 10 - 1 - 2) * error
    found = regress(x, y, covariates=covariates, clusters=clusters.tolist(), resamples=100, confidence=0.9)
    expected = (np.tanh(z(clusters >= 0) - reach), np.tanh(z(clusters >= 0) + reach))
    assert (found.r_partial_low, found.r_partial_high) == pytest.approx(expected)


def figures(found: Regression) -> np.ndarray:
    """What no change of units or order may change."""
    return np.array([found.r_partial, found.r_squared, found.p, found.variance_inflation, found.leave_one_out_high])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-4, 1e4), st.floats(1e-4, 1e4), st.floats(-1e3, 1e3))
def test_units_order_and_sign_do_not_matter(seed: int, unit_x: float, unit_y: float, shift: float) -> None:
    x, y, covariates = points(12, seed=seed)
    found = regress(x, y, covariates=covariates, resamples=100)
    order = np.random.default_rng(seed).permutation(12)
    moved = regress(
        unit_x * (x[order] + shift),
        unit_y * (y[order] - shift),
        covariates={name: 3.0 * one[order] - 7.0 for name, one in covariates.items()},
        resamples=100,
    )
    np.testing.assert_allclose(figures(moved), figures(found), rtol=1e-5, atol=1e-9)
    assert moved.slope == pytest.approx(found.slope * unit_y / unit_x, rel=1e-5, abs=1e-9 * unit_y / unit_x)
    turned = regress(-x, y, covariates=covariates, resamples=100)
    assert (turned.slope, turned.slope_low) == pytest.approx((-found.slope, -found.slope_high))
    assert turned.p_bootstrap == pytest.approx(found.p_bootstrap)
    assert (turned.slope_bootstrap_low, turned.slope_bootstrap_high) == pytest.approx(
        (-found.slope_bootstrap_high, -found.slope_bootstrap_low), rel=1e-3
    )


def test_a_perfect_line_has_a_closed_interval() -> None:
    found = regress([1, 2, 3, 4, 5, 7], [2, 4, 6, 8, 10, 14], resamples=200)
    assert (found.slope_bootstrap_low, found.slope_bootstrap_high, found.r_partial) == pytest.approx((2.0, 2.0, 1.0))
    assert (found.r_partial_low, found.r_squared) == pytest.approx((1.0, 1.0))


def test_equal_seeds_give_equal_results() -> None:
    x, y, covariates = points(15, seed=11)
    first = regress(x, y, covariates=covariates, resamples=300, seed=1)
    assert first == regress(x, y, covariates=covariates, resamples=300, seed=np.random.default_rng(1))
    assert first.p_permutation != regress(x, y, covariates=covariates, resamples=300, seed=2).p_permutation


@pytest.mark.parametrize(
    ("x", "y", "covariates", "match"),
    [
        ([1, 2, 3], [1, 2, 3], {}, "3 values, expected at least 4"),
        ([1, 2, 3, 4], [1, 2, 4, 3], {"classes": [1, 3, 2, 4]}, "4 points for 2 predictors, expected at least 5"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4], {}, "x and y have 5 and 4"),
        ([2, 2, 2, 2], [1, 2, 3, 4], {}, r"x is 2\.0 at every point"),
        ([1, 2, 3, 4], [2, 2, 2, 2], {}, r"y is 2\.0 at every point"),
        ([1, 2, 3, math.nan], [1, 2, 3, 4], {}, r"x\[3\] is nan"),
        ([1, 2, 3, 5, 4], [1, 3, 2, 4, 1], {"images": [1, 1, 1, 1, 1]}, r"covariate 'images' is 1\.0 at every point"),
        ([1, 2, 3, 5, 4], [1, 3, 2, 4, 1], {"images": [1, 2, math.inf, 4, 5]}, r"covariate 'images'\[2\] is inf"),
        ([1, 2, 3, 5, 4], [1, 3, 2, 4, 1], {"images": [3, 5, 7, 11, 9]}, "x is a combination of the other predictors"),
        ([1, 2, 3, 5, 4], [3, 5, 7, 11, 10], {"images": [3, 5, 7, 11, 10]}, "the covariates explain y exactly"),
        ([1, 2, 3, 5, 4], [1, 3, 2, 4, 1], {"x": [1, 2, 2, 4, 5]}, "a covariate is named 'x'"),
    ],
)
def test_unfit_points_are_refused(x: list, y: list, covariates: dict, match: str) -> None:
    with pytest.raises(DataError, match=match):
        regress(x, y, covariates=covariates, resamples=100)


def test_covariates_that_are_the_same_are_refused_by_name() -> None:
    x, y, covariates = points(12, seed=12)
    both = {**covariates, "pixels": 2.0 * covariates["classes"] - covariates["images"]}
    with pytest.raises(DataError, match=r"covariate 'pixels' is a combination .*\(x, classes, images\)"):
        regress(x, y, covariates=both)


def test_unfit_clusters_and_settings_are_refused() -> None:
    x, y, _ = points(8, seed=13)
    with pytest.raises(DataError, match="3 clusters, expected at least 4"):
        regress(x, y, clusters=[0, 0, 0, 1, 1, 1, 2, 2])
    with pytest.raises(DataError, match="'clusters' has 2 labels"):
        regress(x, y, clusters=[0, 1])
    with pytest.raises(ConfigurationError, match="confidence=95"):
        regress(x, y, confidence=95)
    with pytest.raises(ConfigurationError, match="resamples=10"):
        regress(x, y, resamples=10)
