"""Dependent comparisons against published values, brute force and simulation; Holm against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.statistics import compare_dependent, holm, n_required


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


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), expected, rtol=1e-12)


def test_holm_of_nothing_and_of_no_probability() -> None:
    assert holm([]) == []
    with pytest.raises(DataError, match="expected probabilities"):
        holm([0.1, 1.2])


def test_n_required_is_the_figure_of_the_documents() -> None:
    assert n_required(0.2**0.5) == 37
    assert n_required(-(0.2**0.5)) == 37


def test_n_required_gives_the_power_it_promises() -> None:
    r, repetitions = 0.2**0.5, 4000
    n = n_required(r)
    rng = np.random.default_rng(5)
    x, noise = rng.normal(size=(2, repetitions, n))
    p = stats.pearsonr(x, r * x + np.sqrt(1 - r**2) * noise, axis=1).pvalue
    assert np.mean(p <= 0.05) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("r", [0.0, 1.0, -1.5, float("nan")])
def test_n_required_refuses_what_is_no_correlation(r: float) -> None:
    with pytest.raises(ConfigurationError, match="expected a correlation"):
        n_required(r)
