"""Where the variance of repeated measurements comes from: components by factor, with intervals and shares."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence

import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import DataError

from ._checks import FloatArray, IntArray, finite_vector, fraction, is_constant
from ._design import (
    cells_of,
    estimable_factors,
    interaction_of,
    level_numbers,
    residual_holds,
    without_equal_repeats,
)
from ._reml import Fit, RandomEffects


@dataclasses.dataclass(frozen=True, kw_only=True)
class VarianceComponent:
    """The variance that one factor adds; nan throughout where ``reason`` says why it cannot be estimated.

    Args:
        name: The factor, ``"a × b"`` for an interaction, or what the residual holds, joined by ``+``.
        levels: Levels of the factor; of the residual the number of values.
        degrees_of_freedom: Independent contrasts that the estimate rests on; 0 without one.
        variance: Restricted-maximum-likelihood estimate, never below 0.
        variance_low: Lower bound of its profile-likelihood interval; 0 where the data allow that.
        variance_high: Upper bound of it; infinite where the data give none.
        share: The variance as a share of the sum of all that could be estimated.
        share_low: Lower bound of its interval.
        share_high: Upper bound of it.
        reason: Why there is no estimate; None where there is one.
    """

    name: str
    levels: int
    degrees_of_freedom: int
    variance: float
    variance_low: float
    variance_high: float
    share: float
    share_low: float
    share_high: float
    reason: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class VarianceDecomposition:
    """A mean and the components of the variance around it.

    Args:
        n: Number of values that went in, after repeats that are exactly equal were counted once.
        n_repeats: Values that were left out because they repeat another one exactly, in every cell with repeats.
        n_cells: Combinations of levels that occur.
        n_cells_possible: Combinations that a full crossing of the estimated factors would have.
        mean: Generalised least-squares mean.
        mean_low: Lower bound of its t interval, which counts the levels of the factors and not the values.
        mean_high: Upper bound of it.
        components: One per factor in the given order, then perhaps an interaction.
        residual: What the factors leave.
        residual_holds: What the residual is made of.
        confidence: Coverage that the intervals aim at.
    """

    n: int
    n_repeats: int
    n_cells: int
    n_cells_possible: int
    mean: float
    mean_low: float
    mean_high: float
    components: tuple[VarianceComponent, ...]
    residual: VarianceComponent
    residual_holds: tuple[str, ...]
    confidence: float

    @property
    def estimated(self) -> tuple[VarianceComponent, ...]:
        """Components with an estimate, the residual last."""
        return (*(one for one in self.components if one.reason is None), self.residual)


def variance_components(
    values: npt.ArrayLike, factors: Mapping[str, Sequence[Hashable]], *, confidence: float = 0.95
) -> VarianceDecomposition:
    """Decompose the variance of values over factors such as seed, split and environment.

    Factors may be crossed, nested or both, cells may be missing and of any size: each factor is a random
    effect of its levels, estimated by restricted maximum likelihood (REML), which agrees with the analysis of
    variance where the design is balanced and its estimates are above zero. Variances are held at zero or
    above; an estimate of 0 means that the values differ between the levels no more than the rest explains.
    Intervals invert the likelihood-ratio test with a Bartlett factor for few levels; a bound of 0 is part of
    them. For a factor inside another, such as seeds that mean something else in each split, pass pairs as labels.

    A factor with one level, with one value a level, or that always changes together with another one, is not
    estimated, and its component says so. Where cells have several values, the interaction of the estimated
    factors is a component as well; elsewhere the residual holds it. Repeats that are exactly equal in every
    cell count once.

    Args:
        values: Measured values, shape (n,).
        factors: Levels by factor, n labels each; of two that cannot be told apart the first is estimated.
        confidence: Coverage of the intervals, a fraction.

    Returns:
        The mean and the components, in the order of the factors.

    Raises:
        DataError: If there are fewer than two values, one is not finite, lengths differ, or all are equal.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> accuracy = [0.90, 0.91, 0.92, 0.80, 0.81, 0.83, 0.86, 0.85, 0.87]
        >>> found = variance_components(accuracy, {"split": list("aaabbbccc"), "seed": [1, 2, 3] * 3})
        >>> [(one.name, round(one.share, 2)) for one in found.estimated]
        [('split', 0.94), ('seed', 0.04), ('split × seed + repetition', 0.02)]

    Source: Searle, Casella and McCulloch (1992), Variance Components, chapters 6 and 11; Stern and Welsh (2000),
    Likelihood inference for small variance components, Canad. J. Statist. 28, 517-532.
    """
    y = finite_vector(values, "values", minimum=2)
    fraction(confidence, "confidence")
    codes = {name: level_numbers(labels, name, y.size) for name, labels in factors.items()}
    if is_constant(y):
        raise DataError(f"all {y.size} values are {y[0]}, so there is no variance to decompose; take another metric.")
    y, codes, n_repeats = without_equal_repeats(y, codes)
    reasons, taken = estimable_factors(codes, y.size)
    interaction = interaction_of(codes, taken, y.size)
    holds = residual_holds(reasons, taken, has_interaction=interaction is not None, may_repeat=n_repeats == 0)
    effects = {name: codes[name] for name in taken} | ({} if interaction is None else dict([interaction]))
    estimated, residual, mean = _estimate(y, effects, " + ".join(holds), confidence)
    unknown = {name: _not_estimated(name, codes[name], reason) for name, reason in reasons.items()}
    return VarianceDecomposition(
        n=y.size,
        n_repeats=n_repeats,
        n_cells=cells_of(codes, y.size)[1],
        n_cells_possible=math.prod(int(codes[name].max()) + 1 for name in taken),
        mean=mean[0],
        mean_low=mean[1],
        mean_high=mean[2],
        components=tuple((unknown | estimated)[name] for name in dict.fromkeys([*codes, *estimated])),
        residual=residual,
        residual_holds=holds,
        confidence=confidence,
    )


def _estimate(
    y: FloatArray, effects: Mapping[str, IntArray], residual: str, confidence: float
) -> tuple[dict[str, VarianceComponent], VarianceComponent, tuple[float, float, float]]:
    centre, spread = float(y.mean()), float(y.std(ddof=1))
    if not effects:
        margin = float(stats.t.ppf(0.5 + confidence / 2.0, y.size - 1)) * spread / math.sqrt(y.size)
        return {}, _alone(y, residual, confidence), (centre, centre - margin, centre + margin)
    model = RandomEffects((y - centre) / spread, list(effects.values()))
    fit = model.fit()
    names = [*effects, residual]
    found = [_component(model, fit, index, name, spread, confidence) for index, name in enumerate(names)]
    # Without levels that differ, the mean rests on as many independent pieces as the coarsest factor has levels.
    freedom = min(one.degrees_of_freedom for one in found if one.variance > 0.0)
    margin = float(stats.t.ppf(0.5 + confidence / 2.0, freedom)) * math.sqrt(fit.mean_variance) * spread
    mean = centre + spread * fit.mean
    return {one.name: one for one in found[:-1]}, found[-1], (mean, mean - margin, mean + margin)


def _component(
    model: RandomEffects, fit: Fit, index: int, name: str, spread: float, confidence: float
) -> VarianceComponent:
    low, high = model.variance_interval(fit, index, confidence=confidence)
    share_low, share_high = model.share_interval(fit, index, confidence=confidence)
    return VarianceComponent(
        name=name,
        levels=model.levels[index],
        degrees_of_freedom=int(model.degrees_of_freedom[index]),
        variance=float(fit.variances[index]) * spread**2,
        variance_low=low * spread**2,
        variance_high=high * spread**2,
        share=float(fit.variances[index] / fit.variances.sum()),
        share_low=share_low,
        share_high=share_high,
    )


def _alone(y: FloatArray, name: str, confidence: float) -> VarianceComponent:
    """The variance of values without any factor, with the chi-square interval."""
    squares, freedom = float(((y - y.mean()) ** 2).sum()), y.size - 1
    least, most = (float(stats.chi2.ppf(level, freedom)) for level in (0.5 - confidence / 2.0, 0.5 + confidence / 2.0))
    return VarianceComponent(
        name=name,
        levels=y.size,
        degrees_of_freedom=freedom,
        variance=squares / freedom,
        variance_low=squares / most,
        variance_high=squares / least,
        share=1.0,
        share_low=1.0,
        share_high=1.0,
    )


def _not_estimated(name: str, levels: IntArray, reason: str) -> VarianceComponent:
    return VarianceComponent(
        name=name,
        levels=int(levels.max()) + 1,
        degrees_of_freedom=0,
        variance=math.nan,
        variance_low=math.nan,
        variance_high=math.nan,
        share=math.nan,
        share_low=math.nan,
        share_high=math.nan,
        reason=reason,
    )
