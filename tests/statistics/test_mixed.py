"""The mixed model against statsmodels, a published fit, regression on means, and dense linear algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from lightning_lde.errors import DataError
from lightning_lde.statistics import mixed_regression, regress

# Potthoff and Roy (1964), Biometrika 51, 313-326, table 1: distance at 8, 10, 12 and 14 years; 16 boys, 11 girls.
ORTHODONT = """26 25 29 31; 21.5 22.5 23 26.5; 23 22.5 24 27.5; 25.5 27.5 26.5 27; 20 23.5 22.5 26; 24.5 25.5 27 28.5;
22 22 24.5 26.5; 24 21.5 24.5 25.5; 23 20.5 31 26; 27.5 28 31 31.5; 23 23 23.5 25; 21.5 23.5 24 28; 17 24.5 26 29.5;
22.5 25.5 25.5 26; 23 24.5 26 30; 22 21.5 23.5 25;
21 20 21.5 23; 21 21.5 24 25.5; 20.5 24 24.5 26; 23.5 24.5 25 26.5; 21.5 23 22.5 23.5; 20 21 21 22.5; 21.5 22.5 23 25;
23 23 23.5 24; 20 21 22 21.5; 16.5 19 19 19.5; 24.5 25 28 28"""
DISTANCE = np.array([[float(one) for one in row.split()] for row in ORTHODONT.split(";")]).ravel()
AGE, FEMALE, CHILD = (
    np.tile([8.0, 10.0, 12.0, 14.0], 27),
    np.repeat([0.0] * 16 + [1.0] * 11, 4),
    np.repeat(range(27), 4),
)


def seeds_of(sizes: list[int], *, seed: int, tau: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(size=len(sizes))[groups]
    return x, 0.5 * x + tau * rng.normal(size=len(sizes))[groups] + 0.5 * rng.normal(size=groups.size), groups


def test_agrees_with_the_published_fit() -> None:
    # lme(distance ~ age + Sex, Orthodont, random = ~ 1) of R's nlme (help page of lme, fm2), df and p by lmerTest.
    found = mixed_regression(AGE, DISTANCE, CHILD.tolist(), covariates={"female": FEMALE})
    female = found.covariates[0]
    assert (found.intercept, found.slope, female.slope) == pytest.approx((17.706713, 0.660185, -2.321023), abs=1e-6)
    assert (found.t, female.t) == pytest.approx((10.716263, -3.048294), abs=2e-5)
    assert (found.degrees_of_freedom, female.degrees_of_freedom) == pytest.approx((80.0, 25.0), abs=1e-3)
    assert (found.group_sd, found.residual_sd) == pytest.approx((1.807425, 1.431592), abs=1e-5)
    assert female.p == pytest.approx(0.00538, abs=1e-5)
    assert (found.n, found.n_groups) == (108, 27)


def test_agrees_with_statsmodels_where_groups_are_uneven() -> None:
    kept = np.random.default_rng(0).random(108) > 0.3
    design = np.column_stack([np.ones(108), AGE, FEMALE])[kept]
    reference = sm.MixedLM(DISTANCE[kept], design, groups=CHILD[kept]).fit(reml=True)
    found = mixed_regression(AGE[kept], DISTANCE[kept], CHILD[kept].tolist(), covariates={"female": FEMALE[kept]})
    slopes = (found.intercept, found.slope, found.covariates[0].slope)
    assert slopes == pytest.approx(tuple(reference.params[:3]), rel=1e-5)
    assert (found.t, found.covariates[0].t) == pytest.approx(tuple(reference.tvalues[1:3]), rel=1e-3)
    variances = (found.group_sd**2, found.residual_sd**2)
    assert variances == pytest.approx((reference.cov_re.item(), reference.scale), rel=1e-4)


def test_even_groups_are_the_regression_on_their_means() -> None:
    x, y, groups = seeds_of([3] * 12, seed=1)
    found = mixed_regression(x, y, groups.tolist())
    means = sm.OLS(y.reshape(12, 3).mean(axis=1), sm.add_constant(x[::3])).fit()
    assert found.group_sd > 0.0
    assert (found.slope, found.t, found.p) == pytest.approx((means.params[1], means.tvalues[1], means.pvalues[1]))
    assert (found.slope_low, found.slope_high) == pytest.approx(tuple(means.conf_int()[1]))
    assert found.degrees_of_freedom == pytest.approx(10.0, abs=1e-3)
    share = found.group_sd**2 / (found.group_sd**2 + found.residual_sd**2)
    assert found.intraclass_correlation == pytest.approx(share)


def dense_deviance(logs: np.ndarray, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    z = np.eye(int(groups.max()) + 1)[groups]
    covariance = math.exp(logs[0]) * z @ z.T + math.exp(logs[1]) * np.eye(y.size)
    design = np.column_stack([np.ones(y.size), x])
    inverse = np.linalg.inv(covariance)
    middle = design.T @ inverse @ design
    residual = y - design @ np.linalg.solve(middle, design.T @ inverse @ y)
    return float(np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(middle)[1] + residual @ inverse @ residual)


def test_variances_and_freedom_agree_with_dense_linear_algebra() -> None:
    x, y, groups = seeds_of([1, 5, 2, 4, 3, 3, 1, 2], seed=2)
    found = mixed_regression(x, y, groups.tolist())
    best = optimize.minimize(
        dense_deviance, np.zeros(2), args=(x, y, groups), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    variances = np.exp(best.x)
    assert (found.group_sd**2, found.residual_sd**2) == pytest.approx(tuple(variances), rel=1e-5)
    # Satterthwaite on the scale of the variances themselves, with analytic derivatives of the slope's variance.
    z = np.eye(8)[groups]
    design, pieces = np.column_stack([np.ones(y.size), x]), (z @ z.T, np.eye(y.size))
    inverse = np.linalg.inv(variances[0] * pieces[0] + variances[1] * pieces[1])
    covariance = np.linalg.inv(design.T @ inverse @ design)
    assert found.t == pytest.approx(found.slope / math.sqrt(covariance[1, 1]), rel=1e-5)
    slopes = [(covariance @ design.T @ inverse @ v @ inverse @ design @ covariance)[1, 1] for v in pieces]
    project = inverse - inverse @ design @ covariance @ design.T @ inverse
    # Observed information of the restricted likelihood: y'P V_i P V_j P y - tr(P V_i P V_j) / 2.
    information = np.array(
        [
            [y @ project @ a @ project @ b @ project @ y - np.trace(project @ a @ project @ b) / 2 for b in pieces]
            for a in pieces
        ]
    )
    spread = np.array(slopes) @ np.linalg.solve(information, np.array(slopes))
    assert found.degrees_of_freedom == pytest.approx(2 * covariance[1, 1] ** 2 / spread, rel=1e-3)


def test_groups_that_do_not_differ_leave_least_squares_that_counts_groups() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(8), 4)
    x = np.arange(8.0)[groups]
    noise = rng.normal(size=32)
    y = noise - (np.bincount(groups, weights=noise) / 4)[groups] + 0.01 * x
    found = mixed_regression(x, y, groups.tolist())
    assert (found.group_sd, found.intraclass_correlation, found.degrees_of_freedom) == (0.0, 0.0, 6.0)
    assert found.t == pytest.approx(sm.OLS(y, sm.add_constant(x)).fit().tvalues[1])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_units_order_and_names_do_not_matter(seed: int, unit_x: float, unit_y: float) -> None:
    x, y, groups = seeds_of([3, 2, 4, 1, 3, 2], seed=seed)
    order = np.random.default_rng(seed).permutation(y.size)
    found = mixed_regression(x, y, groups.tolist())
    moved = mixed_regression(-unit_x * x[order] + 5.0, unit_y * y[order] - 3.0, [f"set {one}" for one in groups[order]])
    assert moved.slope == pytest.approx(-found.slope * unit_y / unit_x, rel=1e-4, abs=1e-6 * unit_y / unit_x)
    assert moved.t == pytest.approx(-found.t, rel=1e-4, abs=1e-5)
    assert moved.residual_sd == pytest.approx(unit_y * found.residual_sd, rel=1e-4)
    assert moved.intraclass_correlation == pytest.approx(found.intraclass_correlation, abs=1e-4)


def test_ignoring_groups_claims_more_than_there_is() -> None:
    x, y, groups = seeds_of([5] * 12, seed=3)
    found, naive = mixed_regression(x, y, groups.tolist()), regress(x, y, resamples=100)
    assert naive.slope_high - naive.slope_low < 0.6 * (found.slope_high - found.slope_low)


@pytest.mark.parametrize(
    ("x", "y", "groups", "match"),
    [
        ([1, 1, 2, 2, 3, 3], [1, 2, 3, 4, 5, 7], "aabbcc", "3 groups for 1 predictors, expected at least 4"),
        ([1, 2, 3, 4, 5, 6], [1, 3, 2, 5, 4, 6], "abcdef", "each group has one point"),
        ([1, 1, 2, 2, 3, 3, 4, 4], [1, 1, 3, 3, 2, 2, 5, 5], "aabbccdd", "all points of a group are equal"),
        ([1, 1, 2, 2, 3, 3, 4, 4], [2, 2, 4, 4, 6, 6, 8, 8], "aabbccdd", "explain y exactly"),
        ([1, 1, 1, 1, 1, 1, 1, 1], [1, 2, 4, 3, 5, 6, 7, 9], "aabbccdd", r"x is 1\.0 at every point"),
        ([1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 4, math.nan, 5, 6, 7, 9], "aabbccdd", r"y\[3\] is nan"),
        ([1, 1, 2, 2, 3, 3, 4, 4], [1, 2, 4, 3, 5, 6, 7, 9], "aabb", "'groups' has 4 labels"),
    ],
)
def test_unfit_points_are_refused(x: list, y: list, groups: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        mixed_regression(x, y, list(groups))
