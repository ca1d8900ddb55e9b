"""Variance components against dense linear algebra, statsmodels, the analysis of variance, and simulation."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import VarianceComponent, VarianceDecomposition, variance_components
from lightning_lde.statistics._reml import RandomEffects

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def crossed(splits: int, seeds: int, *, missing: float = 0.0, seed: int = 0) -> tuple[Codes, Codes]:
    cells = np.array(list(itertools.product(range(splits), range(seeds))))
    kept = np.random.default_rng(seed).random(len(cells)) >= missing
    return cells[kept, 0], cells[kept, 1]


def draw(factors: Sequence[Codes], variances: Sequence[float], seed: int, *, mean: float = 3.0) -> Floats:
    rng = np.random.default_rng(seed)
    values = mean + rng.normal(size=factors[0].size) * math.sqrt(variances[-1])
    for levels, variance in zip(factors, variances[:-1], strict=True):
        values += math.sqrt(variance) * rng.normal(size=levels.max() + 1)[levels]
    return values


def dense_deviance(values: Floats, factors: Sequence[Codes], variances: Sequence[float]) -> float:
    """-2 restricted log likelihood up to a constant, from n by n matrices as in the textbook."""
    indicators = [np.eye(levels.max() + 1)[levels] for levels in factors]
    covariance = variances[-1] * np.eye(values.size)
    for z, variance in zip(indicators, variances[:-1], strict=True):
        covariance += variance * z @ z.T
    one = np.ones((values.size, 1))
    inverse = np.linalg.inv(covariance)
    information = one.T @ inverse @ one
    projection = inverse - inverse @ one @ np.linalg.inv(information) @ one.T @ inverse
    log_determinants = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1]
    return float(log_determinants + values @ projection @ values)


def variances_of(found: VarianceDecomposition) -> list[float]:
    return [one.variance for one in found.estimated]


def component(found: VarianceDecomposition, name: str) -> VarianceComponent:
    return next(one for one in found.components if one.name == name)


def statsmodels_reml(values: Floats, factors: dict[str, Codes]) -> tuple[list[float], bool]:
    frame = pd.DataFrame({"y": values, **factors})
    terms = {name: f"0 + C({name})" for name in factors}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("y ~ 1", frame, groups=np.ones(values.size), vc_formula=terms, re_formula="0")
        fit = model.fit(reml=True)
    found = dict(zip(model.exog_vc.names, fit.vcomp, strict=True))
    return [*(float(found[name]) for name in factors), float(fit.scale)], bool(fit.converged)


def test_likelihood_is_that_of_the_textbook_and_its_gradient_is_right() -> None:
    split, seed = crossed(4, 5, missing=0.3)
    values = draw([split, seed], (1.0, 0.3, 0.5), seed=1, mean=0.0)
    model = RandomEffects(values, [split, seed])
    for variances in ([1.0, 0.3, 0.5], [0.0, 0.2, 2.0], [0.7, 0.0, 0.01]):
        assert model.deviance(np.array(variances))[0] == pytest.approx(dense_deviance(values, [split, seed], variances))
    point = np.array([0.4, 0.2, 0.6])
    numeric = optimize.approx_fprime(point, lambda at: model.deviance(at)[0], 1e-7)
    assert model.deviance(point)[1] == pytest.approx(numeric, rel=1e-4)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_unbalanced_crossed_design_agrees_with_statsmodels(seed: int) -> None:
    split, run_seed = crossed(6, 8, missing=0.25, seed=seed)
    values = draw([split, run_seed], (1.0, 0.25, 0.4), seed=seed)
    reference, converged = statsmodels_reml(values, {"split": split, "seed": run_seed})
    assert converged
    found = variance_components(values, {"split": split.tolist(), "seed": run_seed.tolist()})
    assert variances_of(found) == pytest.approx(reference, rel=2e-3)
    assert component(found, "split").share == pytest.approx(reference[0] / sum(reference), rel=2e-3)


def test_unbalanced_one_way_design_agrees_with_statsmodels() -> None:
    split = np.repeat(np.arange(5), [2, 9, 4, 3, 7])
    values = draw([split], (0.5, 1.0), seed=4)
    frame = pd.DataFrame({"y": values, "split": split})
    fit = smf.mixedlm("y ~ 1", frame, groups="split").fit(reml=True)
    found = variance_components(values, {"split": split.tolist()})
    assert variances_of(found) == pytest.approx([float(fit.cov_re.iloc[0, 0]), float(fit.scale)], rel=1e-3)
    assert found.mean == pytest.approx(float(fit.params["Intercept"]), rel=1e-5)
    margin = stats.t.ppf(0.975, 4) * float(fit.bse["Intercept"])
    assert (found.mean_low, found.mean_high) == pytest.approx((found.mean - margin, found.mean + margin), rel=1e-3)


def test_nested_factors_agree_with_statsmodels() -> None:
    environment = np.repeat(np.arange(4), 12)
    split = np.repeat(np.arange(16), 3)
    values = draw([environment, split], (0.8, 0.5, 0.3), seed=8)
    reference, converged = statsmodels_reml(values, {"environment": environment, "split": split})
    assert converged
    within = [(int(one), int(other)) for one, other in zip(environment, split % 4, strict=True)]
    found = variance_components(values, {"environment": environment.tolist(), "split": within})
    assert variances_of(found) == pytest.approx(reference, rel=2e-3)


def test_balanced_design_agrees_with_the_analysis_of_variance() -> None:
    a, b = 5, 7
    split, seed = crossed(a, b)
    values = draw([split, seed], (1.0, 0.5, 0.2), seed=3)
    table = values.reshape(a, b)
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + table.mean()
    square = {"split": b * rows.var(ddof=1), "seed": a * columns.var(ddof=1)}
    square["rest"] = (rest**2).sum() / ((a - 1) * (b - 1))
    found = variance_components(values, {"split": split.tolist(), "seed": seed.tolist()})
    assert component(found, "split").variance == pytest.approx((square["split"] - square["rest"]) / b, rel=1e-3)
    assert component(found, "seed").variance == pytest.approx((square["seed"] - square["rest"]) / a, rel=1e-3)
    assert found.residual.variance == pytest.approx(square["rest"], rel=1e-3)
    assert sum(one.share for one in found.estimated) == pytest.approx(1.0)


def test_an_estimate_is_never_below_zero() -> None:
    # Cell means that agree better than the scatter within cells allows: the analysis of variance goes below zero.
    values = np.array([1.0, 3.0, 2.0, 2.1, 0.9, 3.1, 1.5, 2.4])
    split = np.repeat(np.arange(4), 2)
    means = values.reshape(4, 2).mean(axis=1)
    assert 2 * means.var(ddof=1) < values.reshape(4, 2).var(axis=1, ddof=1).mean()
    found = variance_components(values, {"split": split.tolist()})
    assert component(found, "split").variance == 0.0
    assert component(found, "split").variance_low == 0.0
    assert component(found, "split").variance_high > 0.0
    assert found.residual.variance == pytest.approx(values.var(ddof=1))


def profile_deviance(values: Floats, factors: Sequence[Codes], index: int, fixed: float) -> float:
    """The least deviance with one variance fixed, by a method that needs no derivatives."""

    def deviance(logs: Floats) -> float:
        return dense_deviance(values, factors, np.insert(np.exp(logs), index, fixed).tolist())

    return float(optimize.minimize(deviance, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-6}).fun)


@pytest.mark.parametrize(("index", "name", "freedom"), [(0, "split", 3), (1, "seed", 4), (2, None, 8)])
def test_the_interval_is_where_the_profile_reaches_its_threshold(index: int, name: str | None, freedom: int) -> None:
    split, seed = crossed(4, 5, missing=0.25, seed=1)
    assert np.linalg.matrix_rank(np.concatenate([np.eye(4)[split], np.eye(5)[seed]], axis=1)) == split.size - 8
    values = draw([split, seed], (2.0, 2.0, 0.05), seed=6)
    found = variance_components(values, {"split": split.tolist(), "seed": seed.tolist()})
    one = found.residual if name is None else component(found, name)
    assert one.degrees_of_freedom == freedom
    largest = dense_deviance(values, [split, seed], variances_of(found))
    # The mean of the likelihood ratio of a normal variance, by simulation.
    ratios = np.random.default_rng(0).chisquare(freedom, 400_000) / freedom
    bartlett = freedom * float((ratios - 1.0 - np.log(ratios)).mean())
    threshold = bartlett * stats.chi2.ppf(0.95, 1)
    assert one.variance_low > 0.0
    for bound in (one.variance_low, one.variance_high):
        assert profile_deviance(values, [split, seed], index, bound) - largest == pytest.approx(threshold, rel=0.02)


def test_without_factors_the_variance_has_the_chi_square_interval() -> None:
    values = [0.61, 0.58, 0.64, 0.60, 0.63]
    found = variance_components(values, {"seed": [1, 2, 3, 4, 5]})
    assert component(found, "seed").reason == "one value a level: cannot be told from the residual"
    assert found.residual_holds == ("seed", "repetition")
    assert found.residual.variance == pytest.approx(np.var(values, ddof=1))
    squares = 4 * np.var(values, ddof=1)
    bounds = (squares / stats.chi2.ppf(0.975, 4), squares / stats.chi2.ppf(0.025, 4))
    assert (found.residual.variance_low, found.residual.variance_high) == pytest.approx(bounds)
    reference = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean_low, found.mean_high) == pytest.approx(reference)


def test_what_cannot_be_estimated_says_so_and_is_not_zero() -> None:
    split, seed = crossed(4, 3)
    values = draw([split, seed], (1.0, 0.1, 0.1), seed=0)
    found = variance_components(
        values,
        {
            "split": split.tolist(),
            "environment": ["laptop"] * 12,
            "code": [f"commit {one}" for one in split],
            "seed": seed.tolist(),
            "run": list(range(12)),
        },
    )
    reasons = {one.name: one.reason for one in found.components}
    assert reasons == {
        "split": None,
        "environment": "one level",
        "code": "always changes together with split",
        "seed": None,
        "run": "one value a level: cannot be told from the residual",
    }
    for name in ("environment", "code", "run"):
        assert math.isnan(component(found, name).variance)
        assert math.isnan(component(found, name).share)
    assert found.residual_holds == ("run", "split × seed", "repetition")
    assert (found.n, found.n_cells, found.n_cells_possible) == (12, 12, 12)


def test_two_factors_that_leave_nothing_for_the_residual() -> None:
    found = variance_components([1.0, 2.0, 3.5], {"split": [0, 0, 1], "seed": [0, 1, 1]})
    assert component(found, "split").reason is None
    assert component(found, "seed").reason == "cannot be told from the residual and split"


def test_repeats_tell_the_interaction_from_the_residual() -> None:
    split, seed = (np.tile(codes, 3) for codes in crossed(5, 6))
    both = split * 6 + seed
    values = draw([split, seed, both], (1.0, 0.3, 0.5, 0.01), seed=2)
    found = variance_components(values, {"split": split.tolist(), "seed": seed.tolist()})
    assert [one.name for one in found.estimated] == ["split", "seed", "split × seed", "repetition"]
    within = values.reshape(3, 30).var(axis=0, ddof=1).mean()
    assert found.residual.variance == pytest.approx(within, rel=1e-3)
    assert component(found, "split × seed").variance == pytest.approx(0.5, rel=0.6)
    assert (found.n, found.n_cells) == (90, 30)


def test_repeats_that_are_exactly_equal_count_once() -> None:
    split, seed = crossed(5, 6)
    values = draw([split, seed], (1.0, 0.3, 0.5), seed=2)
    once = variance_components(values, {"split": split.tolist(), "seed": seed.tolist()})
    twice = variance_components(
        np.concatenate([values, values[:7]]),
        {"split": [*split.tolist(), *split[:7].tolist()], "seed": [*seed.tolist(), *seed[:7].tolist()]},
    )
    assert (twice.n, twice.n_repeats) == (30, 7)
    assert twice.residual_holds == ("split × seed",)
    assert variances_of(twice) == pytest.approx(variances_of(once))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_order_shift_and_unit_do_not_matter(seed: int, unit: float, shift: float) -> None:
    split, run_seed = crossed(4, 4, missing=0.2)
    values = draw([split, run_seed], (1.0, 0.2, 0.3), seed=seed)
    order = np.random.default_rng(seed).permutation(values.size)
    first = variance_components(values, {"split": split.tolist(), "seed": run_seed.tolist()})
    second = variance_components(
        unit * (values[order] + shift), {"split": split[order].tolist(), "seed": run_seed[order].tolist()}
    )
    for one, other in zip(first.estimated, second.estimated, strict=True):
        assert other.share == pytest.approx(one.share, abs=2e-3)
        assert other.variance / unit**2 == pytest.approx(one.variance, rel=1e-2, abs=2e-3)


def test_estimates_are_right_on_average() -> None:
    split, seed = crossed(6, 6, missing=0.2, seed=3)
    truth = np.array([1.0, 0.5, 0.3])
    draws = [draw([split, seed], truth.tolist(), seed=number) for number in range(150)]
    fits = np.array([RandomEffects(values, [split, seed]).fit().variances for values in draws])
    standard_error = fits.std(axis=0, ddof=1) / math.sqrt(len(draws))
    assert (np.abs(fits.mean(axis=0) - truth) < 4.0 * standard_error).all()


@pytest.mark.slow
@pytest.mark.parametrize("truth", [(1.0, 0.2, 0.5), (0.05, 0.0, 1.0)])
def test_intervals_cover_the_truth(truth: tuple[float, float, float]) -> None:
    split, seed = crossed(6, 5, missing=0.2, seed=5)
    repetitions, covered = 250, np.zeros((2, 3))
    shares = np.array(truth) / sum(truth)
    means = 0
    for number in range(repetitions):
        values = draw([split, seed], truth, seed=number)
        found = variance_components(values, {"split": split.tolist(), "seed": seed.tolist()})
        for index, one in enumerate(found.estimated):
            covered[0, index] += one.variance_low <= truth[index] <= one.variance_high
            covered[1, index] += one.share_low <= shares[index] <= one.share_high
        means += found.mean_low <= 3.0 <= found.mean_high
    rates = covered / repetitions
    # They aim at 0.95. Measured here: 0.90 to 0.98, the least for the share of a factor with six levels; moments
    # with a bootstrap over splits gave 0.67 to 0.91. This keeps what was measured, it does not prove 0.95.
    assert (rates > 0.88).all(), rates
    assert means / repetitions > 0.91


@pytest.mark.parametrize(
    ("values", "factors", "message"),
    [
        ([1.0], {"seed": [1]}, "at least 2"),
        ([1.0, math.nan, 2.0], {"seed": [1, 2, 3]}, r"values\[1\] is nan"),
        ([1.0, 2.0], {"seed": [1]}, "'seed' has 1 labels"),
        ([2.0, 2.0, 2.0], {"seed": [1, 2, 3]}, r"all 3 values are 2\.0"),
    ],
)
def test_wrong_input_is_named(values: list[float], factors: dict[str, list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        variance_components(values, factors)


def test_wrong_confidence_is_named() -> None:
    with pytest.raises(ConfigurationError, match="confidence=95"):
        variance_components([1.0, 2.0], {"seed": [1, 2]}, confidence=95)
