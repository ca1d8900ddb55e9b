"""Random-effects synthesis against statsmodels, and its intervals by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.meta_analysis import combine_effects

from lightning_lde.errors import DataError
from lightning_lde.statistics import random_effects

EFFECTS = np.array([0.10, 0.30, 0.85, 0.25, -0.10, 0.90])
VARIANCES = np.array([0.03, 0.02, 0.05, 0.01, 0.02, 0.04])


def test_agrees_with_statsmodels_where_effects_differ() -> None:
    reference = combine_effects(EFFECTS, VARIANCES, method_re="chi2")
    found = random_effects(EFFECTS, VARIANCES, confidence=0.9)
    assert found.tau_squared == pytest.approx(reference.tau2)
    assert found.mean == pytest.approx(reference.mean_effect_re)
    assert found.q == pytest.approx(reference.q)
    assert found.i_squared == pytest.approx(reference.i2)
    assert (found.df, found.n) == (5, 6)
    assert found.p == pytest.approx(reference.test_homogeneity().pvalue)
    margin = stats.t.ppf(0.95, 5) * reference.sd_eff_w_re_hksj
    assert reference.sd_eff_w_re_hksj > reference.sd_eff_w_re
    assert (found.low, found.high) == pytest.approx((found.mean - margin, found.mean + margin))


def test_equal_effects_leave_the_fixed_effect_mean_with_its_variance() -> None:
    effects, variances = [0.30, 0.31, 0.29], np.array([0.04, 0.02, 0.05])
    found = random_effects(effects, variances)
    weights = 1.0 / variances
    assert (found.tau_squared, found.i_squared) == (0.0, 0.0)
    assert found.mean == pytest.approx(np.average(effects, weights=weights))
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 2) / math.sqrt(weights.sum()))
    assert found.prediction_low < found.mean < found.prediction_high
    same = random_effects([0.3, 0.3, 0.3], variances, confidence=0.5)
    assert same.prediction_low < 0.3 < same.prediction_high


def test_prediction_interval_is_that_of_draws_from_its_definition() -> None:
    found = random_effects(EFFECTS, VARIANCES, confidence=0.9)
    rng = np.random.default_rng(1)
    drawn = []
    for target in rng.chisquare(5, size=800):

        def excess(tau_squared: float, target: float = target) -> float:
            return combine_q(tau_squared) - target

        tau_squared = optimize.brentq(excess, 0.0, 1e6) if excess(0.0) > 0.0 else 0.0
        weights = 1.0 / (VARIANCES + tau_squared)
        mean = np.average(EFFECTS, weights=weights)
        drawn.append(mean + math.sqrt(tau_squared + 1.0 / weights.sum()) * rng.normal(size=250))
    bounds = np.quantile(np.concatenate(drawn), [0.05, 0.95])
    assert (found.prediction_low, found.prediction_high) == pytest.approx(tuple(bounds), abs=0.05)


def combine_q(tau_squared: float) -> float:
    weights = 1.0 / (VARIANCES + tau_squared)
    return float((weights * (EFFECTS - np.average(EFFECTS, weights=weights)) ** 2).sum())


def test_shift_unit_and_order_move_every_interval_along() -> None:
    found = random_effects(EFFECTS, VARIANCES)
    moved = random_effects(3.0 * EFFECTS[::-1] - 1.0, 9.0 * VARIANCES[::-1])
    for name in ("mean", "low", "high", "prediction_low", "prediction_high"):
        assert getattr(moved, name) == pytest.approx(3.0 * getattr(found, name) - 1.0), name
    assert found.prediction_low < found.low < found.high < found.prediction_high


def test_two_effects_have_no_prediction_interval() -> None:
    found = random_effects([0.1, 0.4], [0.01, 0.01])
    assert math.isnan(found.prediction_low)
    assert math.isnan(found.prediction_high)
    assert found.low < found.mean < found.high


def test_interval_covers_the_mean_of_few_data_sets() -> None:
    rng = np.random.default_rng(0)
    covered, repetitions = 0, 150
    for _ in range(repetitions):
        variances = rng.uniform(0.01, 0.05, size=8)
        effects = rng.normal(0.3, 0.2, size=8) + rng.normal(size=8) * np.sqrt(variances)
        found = random_effects(effects, variances)
        covered += found.low <= 0.3 <= found.high
    assert covered / repetitions >= 0.92


def test_unfit_effects_are_refused() -> None:
    with pytest.raises(DataError, match=r"variances\[1\] is 0.0"):
        random_effects([0.1, 0.2], [0.1, 0.0])
    with pytest.raises(DataError, match="1 values, expected at least 2"):
        random_effects([0.1], [0.1])
    with pytest.raises(DataError, match="2 and 3 values"):
        random_effects([0.1, 0.2], [0.1, 0.2, 0.3])
