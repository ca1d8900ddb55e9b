"""Effect sizes: Cohen's d with its exact interval, never without the raw difference beside it."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy.typing as npt
from scipy import optimize, special, stats

from lightning_lde.errors import ConfigurationError, DataError

from ._checks import FloatArray, finite_vector, fraction, is_constant
from ._intervals import mean_interval
from ._paired import paired_differences
from ._welch import mean_difference


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectSize:
    """A difference of means in its own unit and in units of a standard deviation.

    Args:
        difference: Second mean less the first, in the unit of the values.
        difference_low: Lower bound of its t interval: Welch's, or that of the mean of pairs.
        difference_high: Upper bound of it.
        d: Cohen's d, the difference over ``sd``.
        g: Hedges' g, d without its bias in small samples.
        low: Lower bound of the interval of the true d, by the noncentral t distribution.
        high: Upper bound of it.
        sd: The standard deviation that d divides by.
        n_1: Number of values of the first.
        n_2: Number of values of the second.
        confidence: Coverage that the intervals aim at.
    """

    difference: float
    difference_low: float
    difference_high: float
    d: float
    g: float
    low: float
    high: float
    sd: float
    n_1: int
    n_2: int
    confidence: float


def cohens_d(first: npt.ArrayLike, second: npt.ArrayLike, *, confidence: float = 0.95) -> EffectSize:
    """The difference of two independent means, raw and over the pooled standard deviation.

    Args:
        first: Independent values, shape (n_1,).
        second: Independent values, shape (n_2,).
        confidence: Coverage of the intervals, a fraction.

    Returns:
        The raw difference, d and g with intervals. That of d takes both variances to be equal, that of the raw
        difference does not.

    Raises:
        DataError: If one side has fewer than two values, one is not finite, or none varies.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> found = cohens_d([0.61, 0.58, 0.64, 0.60], [0.66, 0.63, 0.71, 0.64])
        >>> round(found.difference, 4), round(found.d, 2), round(found.g, 2), round(found.low, 2), round(found.high, 2)
        (0.0525, 1.71, 1.48, -0.02, 3.34)

    Source: Cohen (1988), Statistical Power Analysis, 2nd ed., section 2.2; Hedges (1981), J. Educ. Stat. 6,
    107-128, equation 6e in its exact form; Steiger and Fouladi (1997), Noncentrality interval estimation, in
    Harlow, Mulaik and Steiger, What if there were no significance tests? (interval).
    """
    ours, theirs = finite_vector(first, "first", minimum=2), finite_vector(second, "second", minimum=2)
    raw = mean_difference(ours, theirs, confidence=fraction(confidence, "confidence"))
    freedom = ours.size + theirs.size - 2
    squares = float(((ours - ours.mean()) ** 2).sum() + ((theirs - theirs.mean()) ** 2).sum())
    if is_constant(ours) and is_constant(theirs):
        raise _no_spread("first and second are constant")
    sd = math.sqrt(squares / freedom)
    root = math.sqrt(ours.size * theirs.size / (ours.size + theirs.size))
    d = raw.difference / sd
    low, high = noncentrality_interval(d * root, freedom, confidence=confidence)
    return EffectSize(
        difference=raw.difference,
        difference_low=raw.low,
        difference_high=raw.high,
        d=d,
        g=d * hedges_factor(freedom),
        low=low / root,
        high=high / root,
        sd=sd,
        n_1=ours.size,
        n_2=theirs.size,
        confidence=confidence,
    )


def paired_cohens_d(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    standardizer: Literal["differences", "average"] = "differences",
    confidence: float = 0.95,
) -> EffectSize:
    """The mean difference of pairs, raw and in units of a standard deviation.

    Args:
        first: Values of the first, shape (n,).
        second: Values of the second in the same order, shape (n,).
        standardizer: What d divides by. ``"differences"``: the standard deviation of the differences (d_z), which
            says how sure the direction is for one more pair, with an exact interval. ``"average"``: the root of
            the mean of both variances (d_av), to be set beside the d of unpaired values; its interval is close.
        confidence: Coverage of the intervals, a fraction.

    Returns:
        The raw difference, d and g with intervals.

    Raises:
        DataError: If there are fewer than two pairs, lengths differ, a value is not finite, or the differences
            do not vary.
        ConfigurationError: If confidence is no fraction, or the standardizer is not known.

    Example:
        >>> maml, pretraining = [0.61, 0.55, 0.72, 0.58], [0.64, 0.56, 0.77, 0.60]
        >>> found = paired_cohens_d(maml, pretraining)
        >>> round(found.d, 2), round(paired_cohens_d(maml, pretraining, standardizer="average").d, 2)
        (1.61, 0.33)

    Source: Cohen (1988), Statistical Power Analysis, 2nd ed., section 2.3.5 (d_z); Cumming (2012), Understanding
    the New Statistics, chapter 11 (d_av); Algina and Keselman (2003), Educ. Psychol. Meas. 63, 537-553 (interval
    of d_av); Hedges (1981), J. Educ. Stat. 6, 107-128.
    """
    n, differences = paired_differences(first, second, None)
    raw = mean_interval(differences, confidence=fraction(confidence, "confidence"))
    if is_constant(differences):
        raise _no_spread("the differences of pairs are all the same")
    sd = _standardizer(first, second, raw.sd, standardizer)
    low, high = noncentrality_interval(raw.mean / raw.sd * math.sqrt(n), n - 1, confidence=confidence)
    scale = raw.sd / sd / math.sqrt(n)
    return EffectSize(
        difference=raw.mean,
        difference_low=raw.low,
        difference_high=raw.high,
        d=raw.mean / sd,
        g=raw.mean / sd * hedges_factor(n - 1),
        low=low * scale,
        high=high * scale,
        sd=sd,
        n_1=n,
        n_2=n,
        confidence=confidence,
    )


def hedges_factor(freedom: int) -> float:
    """What d has to be multiplied by to be unbiased: Γ(f/2) / (sqrt(f/2) Γ((f - 1)/2)); 0 for f = 1."""
    if freedom < 2:
        return 0.0
    return math.exp(special.gammaln(freedom / 2.0) - special.gammaln((freedom - 1) / 2.0)) / math.sqrt(freedom / 2.0)


def noncentrality_interval(t: float, freedom: int, *, confidence: float) -> tuple[float, float]:
    """The noncentralities under which t is at its upper, and at its lower, tail."""
    tail = (1.0 - confidence) / 2.0
    return -_noncentrality(-t, freedom, tail), _noncentrality(t, freedom, tail)


def _noncentrality(t: float, freedom: int, tail: float) -> float:
    """The noncentrality under which a value of t or less has the chance ``tail``."""

    def excess(shift: float) -> float:
        below_t = float(stats.nct.cdf(t, freedom, shift))
        # Far out scipy gives no number for what is 0 or 1 to all digits.
        return (float(t > shift) if math.isnan(below_t) else below_t) - tail

    reach = float(stats.norm.isf(tail))
    # Beyond t by the normal quantile where t is 0, and by more in proportion to t for few degrees of freedom.
    below, above = t - reach - 1.0, t + reach + 1.0
    step = reach + abs(t)
    while excess(above) > 0.0:
        above += step
    while excess(below) < 0.0:
        below -= step
    return float(optimize.brentq(excess, below, above, xtol=1e-10))


def _standardizer(first: npt.ArrayLike, second: npt.ArrayLike, sd: float, word: str) -> float:
    if word == "differences":
        return sd
    if word != "average":
        raise ConfigurationError(f"standardizer={word!r}, expected 'differences' or 'average'.")
    both: list[FloatArray] = [finite_vector(first, "first"), finite_vector(second, "second")]
    return math.sqrt(sum(float(values.var(ddof=1)) for values in both) / 2.0)


def _no_spread(what: str) -> DataError:
    return DataError(f"{what}, so no standard deviation exists to divide by; report the raw difference.")
