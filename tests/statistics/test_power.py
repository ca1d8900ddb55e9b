"""Power and sizes of studies against statsmodels, published tables and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, special, stats
from statsmodels.stats.power import TTestPower

from lightning_lde.errors import ConfigurationError
from lightning_lde.statistics import correlation_power, n_required, paired_power, pairs_required


def test_n_required_is_the_figure_of_the_documents() -> None:
    assert n_required(0.2**0.5) == 37
    assert n_required(-(0.2**0.5)) == 37


def test_exact_sizes_are_the_published_ones() -> None:
    # G*Power 3.1, "Correlation: Bivariate normal model", exact, two tails, alpha 0.05, power 0.8:
    # Faul et al. (2009), Behav. Res. Methods 41, 1149-1160; the manual's sizes for small, medium and large r.
    assert [n_required(r, method="exact") for r in (0.1, 0.3, 0.5)] == [782, 84, 29]


@pytest.mark.parametrize(("r", "n"), [(0.2**0.5, 12), (0.6, 30), (-0.3, 40), (0.0, 12)])
def test_power_is_that_of_simulated_correlations(r: float, n: int) -> None:
    repetitions = 20_000
    rng = np.random.default_rng(5)
    x, noise = rng.normal(size=(2, repetitions, n))
    p = stats.pearsonr(x, r * x + np.sqrt(1 - r**2) * noise, axis=1).pvalue
    expected = correlation_power(r, n)
    assert np.mean(p <= 0.05) == pytest.approx(expected, abs=4 * math.sqrt(0.25 / repetitions))


def test_n_required_gives_the_power_it_promises() -> None:
    for r in (0.2, 0.45, -0.8):
        exact = n_required(r, method="exact", power=0.9)
        assert correlation_power(r, exact) >= 0.9 > correlation_power(r, exact - 1)
        assert abs(n_required(r, power=0.9) - exact) <= 2


def test_exact_power_is_that_of_the_distribution_of_r() -> None:
    # Hotelling's density of r, integrated beyond the critical values.
    r, n = 0.5, 10
    t = stats.t.ppf(0.975, n - 2)
    critical = t / math.sqrt(n - 2 + t**2)

    def density(at: float) -> float:
        scale = (n - 2) * special.gamma(n - 1) * (1 - r**2) ** ((n - 1) / 2) * (1 - at**2) ** ((n - 4) / 2)
        below = math.sqrt(2 * math.pi) * special.gamma(n - 0.5) * (1 - r * at) ** (n - 1.5)
        return scale / below * special.hyp2f1(0.5, 0.5, n - 0.5, (1 + r * at) / 2)

    tails = integrate.quad(density, critical, 1)[0] + integrate.quad(density, -1, -critical)[0]
    assert correlation_power(r, n) == pytest.approx(tails, abs=5e-6)


@pytest.mark.parametrize("effect", [0.1, 0.35, 0.8, 1.5])
@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.95, 0.01)])
def test_pairs_agree_with_statsmodels(effect: float, power: float, alpha: float) -> None:
    found = pairs_required(0.02, -0.02 * effect, power=power, alpha=alpha)
    reference = TTestPower()
    assert reference.power(effect, found, alpha) >= power
    assert found == 2 or reference.power(effect, found - 1, alpha) < power
    assert paired_power(0.02, 0.02 * effect, found, alpha=alpha) == pytest.approx(
        reference.power(effect, found, alpha), abs=1e-9
    )


def test_paired_power_is_that_of_simulated_t_tests() -> None:
    differences = np.random.default_rng(2).normal(0.6, 1.0, size=(20_000, 12))
    found = np.mean(stats.ttest_1samp(differences, 0.0, axis=1).pvalue <= 0.05)
    assert found == pytest.approx(paired_power(1.0, 0.6, 12), abs=0.014)
    assert paired_power(1.0, 0.0, 12) == pytest.approx(0.05)


@pytest.mark.parametrize("r", [0.0, 1.0, -1.5, float("nan")])
def test_n_required_refuses_what_is_no_correlation(r: float) -> None:
    with pytest.raises(ConfigurationError, match="expected a correlation"):
        n_required(r)


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(ConfigurationError, match="method='z'"):
        n_required(0.5, method="z")
    with pytest.raises(ConfigurationError, match=r"r=1\.0"):
        correlation_power(1.0, 10)
    with pytest.raises(ConfigurationError, match="n=3"):
        correlation_power(0.5, 3)
    with pytest.raises(ConfigurationError, match="alpha=5"):
        correlation_power(0.5, 10, alpha=5)
    with pytest.raises(ConfigurationError, match="n=1"):
        paired_power(1.0, 1.0, 1)
    with pytest.raises(ConfigurationError, match="difference=nan"):
        paired_power(1.0, math.nan, 5)
    with pytest.raises(ConfigurationError, match="sd=0"):
        pairs_required(0, 1.0)
    with pytest.raises(ConfigurationError, match=r"difference=0\.0"):
        pairs_required(1.0, 0.0)
    with pytest.raises(ConfigurationError, match="more than 1000000"):
        pairs_required(1.0, 1e-6)
