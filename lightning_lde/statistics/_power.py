"""What a study of a given size would find, and the size that would find a given effect."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import ConfigurationError

from ._checks import MIN_POINTS, FloatArray, fraction

MOST_REPETITIONS = 1_000_000
_NODES = 100


def n_required(
    r: float, *, power: float = 0.8, alpha: float = 0.05, method: Literal["fisher", "exact"] = "fisher"
) -> int:
    """The number of independent points at which a true correlation would be found significant.

    Args:
        r: True correlation; the sign does not matter.
        power: Chance of finding it.
        alpha: Level of the two-sided test.
        method: ``"fisher"`` for the usual formula, ``"exact"`` for :func:`correlation_power`; they differ by a
            point or two.

    Returns:
        The smallest n with ((z(1 - alpha/2) + z(power)) / atanh r)² + 3 <= n, or with that power, at least 4.

    Raises:
        ConfigurationError: If r is 0 or not between -1 and 1, power or alpha is no fraction, or more than a
            million points would be needed for ``"exact"``.

    Example:
        >>> n_required(0.2**0.5), n_required(0.2**0.5, method="exact")
        (37, 36)

    Source: Fisher (1921), Metron 1, 3-32; Hulley et al. (2013), Designing Clinical Research, appendix 6C.
    """
    if not 0.0 < abs(r) < 1.0:
        raise ConfigurationError(f"r={r!r}, expected a correlation between -1 and 1 that is not 0.")
    target, level = fraction(power, "power"), fraction(alpha, "alpha")
    if method == "exact":
        return smallest_n(lambda n: correlation_power(r, n, alpha=level), target, MIN_POINTS, what=f"r={r!r}")
    if method != "fisher":
        raise ConfigurationError(f"method={method!r}, expected 'fisher' or 'exact'.")
    total = stats.norm.ppf(1.0 - level / 2.0) + stats.norm.ppf(target)
    return max(MIN_POINTS, math.ceil((float(total) / math.atanh(abs(r))) ** 2 + 3.0))


def correlation_power(r: float, n: int, *, alpha: float = 0.05) -> float:
    """The chance that n independent points show a true correlation to be significant.

    Exact for two normal quantities: given x, t has the noncentral distribution with n - 2 degrees of freedom and
    noncentrality r/sqrt(1 - r²) sqrt(S), and S, the sum of squares of x in units of its variance, is chi-square
    with n - 1.

    Args:
        r: True correlation.
        n: Independent points, at least 4.
        alpha: Level of the two-sided test.

    Returns:
        The power; alpha where r is 0.

    Raises:
        ConfigurationError: If r is not between -1 and 1, n is below 4, or alpha is no fraction.

    Example:
        >>> round(correlation_power(0.2**0.5, 12), 2), round(correlation_power(0.2**0.5, 37), 2)
        (0.32, 0.81)

    Source: Hotelling (1953), JRSS B 15, 193-232, section 2; Sampson (1974), JASA 69, 682-689 (the random x).
    """
    if not abs(r) < 1.0:
        raise ConfigurationError(f"r={r!r}, expected a correlation between -1 and 1.")
    if n < MIN_POINTS:
        raise ConfigurationError(f"n={n!r}, expected at least {MIN_POINTS} points.")
    nodes, weights = _quadrature()
    squares = stats.chi2.ppf((nodes + 1.0) / 2.0, n - 1)
    shifts = abs(r) / math.sqrt(1.0 - r**2) * np.sqrt(squares)
    return float(weights @ noncentral_power(shifts, n - 2, fraction(alpha, "alpha")) / 2.0)


@functools.cache
def _quadrature() -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of Gauss and Legendre, which take longer to find than all else."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def paired_power(sd: float, difference: float, n: int, *, alpha: float = 0.05) -> float:
    """The chance that the paired t test over n pairs, such as data sets or tasks, finds a true difference.

    Args:
        sd: Standard deviation of the differences of pairs.
        difference: True mean difference; the sign does not matter.
        n: Independent pairs, at least 2.
        alpha: Level of the two-sided test.

    Returns:
        The power; alpha where the difference is 0.

    Raises:
        ConfigurationError: If sd is not above 0, the difference is not finite, n is below 2, or alpha is no
            fraction.

    Example:
        >>> [round(paired_power(sd=0.02, difference=0.01, n=n), 2) for n in (12, 34)]
        [0.35, 0.81]

    Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, 2nd ed., section 2.3.
    """
    if not math.isfinite(difference):
        raise ConfigurationError(f"difference={difference!r}, expected a finite number.")
    if n < 2:
        raise ConfigurationError(f"n={n!r}, expected at least 2 pairs; one says nothing of the scatter.")
    shift = abs(difference) / positive(sd, "sd") * math.sqrt(n)
    return float(noncentral_power(np.array(shift), n - 1, fraction(alpha, "alpha")))


def pairs_required(sd: float, difference: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """The number of independent pairs at which the paired t test would find a true difference.

    Args:
        sd: Standard deviation of the differences of pairs.
        difference: True mean difference; the sign does not matter.
        power: Chance of finding it.
        alpha: Level of the two-sided test.

    Returns:
        The smallest n, at least 2, at which the test has that power.

    Raises:
        ConfigurationError: If sd is not above 0, the difference is 0, power or alpha is no fraction, or more than
            a million pairs would be needed.

    Example:
        >>> pairs_required(sd=0.02, difference=0.01)
        34

    Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, 2nd ed., section 2.4.
    """
    positive(abs(difference), "difference")
    positive(sd, "sd")
    level, target = fraction(alpha, "alpha"), fraction(power, "power")
    what = f"difference={difference!r} beside sd={sd!r}"
    return smallest_n(lambda n: paired_power(sd, difference, n, alpha=level), target, 2, what=what)


def noncentral_power(shift: npt.NDArray[np.float64], freedom: int, alpha: float) -> npt.NDArray[np.float64]:
    """Power of the two-sided t test where t is shifted by so many standard errors."""
    critical = float(stats.t.ppf(1.0 - alpha / 2.0, freedom))
    # Far from zero scipy gives no number for what is zero.
    wrong_side = np.nan_to_num(stats.nct.cdf(-critical, freedom, shift), nan=0.0)
    return np.asarray(stats.nct.sf(critical, freedom, shift) + wrong_side, dtype=np.float64)


def smallest_n(power_at: Callable[[int], float], target: float, least: int, *, what: str) -> int:
    """The smallest n from ``least`` at which a rising power reaches its target.

    Raises:
        ConfigurationError: If more than a million would be needed.
    """
    low, high = least - 1, least
    while power_at(high) < target:
        low, high = high, 2 * high
        if low > MOST_REPETITIONS:
            raise ConfigurationError(
                f"{what} is too small an effect: more than {MOST_REPETITIONS} repetitions would be needed; "
                "ask for a larger one."
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= target else (middle, high)
    return high


def positive(value: float, name: str) -> float:
    """A finite number above 0.

    Raises:
        ConfigurationError: If it is not.
    """
    if not (value > 0.0 and math.isfinite(value)):
        raise ConfigurationError(f"{name}={value!r}, expected a finite number above 0.")
    return float(value)
