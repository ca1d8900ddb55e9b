"""Equivalence: whether a difference is surely smaller than one that matters, by two one-sided tests."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import ConfigurationError

from ._checks import finite_vector, fraction, is_constant
from ._paired import paired_differences, standard_error, t_of

Margin = float | tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Equivalence:
    """A difference against the margin within which it does not matter.

    Args:
        difference: Second mean less the first.
        low: Lower bound of its interval with confidence 1 - 2 alpha, which lies within the margin if and only if
            the two are equivalent.
        high: Upper bound of it.
        margin_low: Largest harmless difference downward.
        margin_high: Largest harmless difference upward.
        p_lower: One-sided p of a difference at or below the lower margin.
        p_upper: One-sided p of a difference at or above the upper margin.
        p: The larger of both: the p of no equivalence.
        is_equivalent: Whether p is below alpha.
        degrees_of_freedom: Degrees of freedom of both t; Welch's for values that are not paired.
        n_1: Independent values of the first, or pairs, or clusters.
        n_2: Independent values of the second, or pairs, or clusters.
        alpha: Level of the test.
    """

    difference: float
    low: float
    high: float
    margin_low: float
    margin_high: float
    p_lower: float
    p_upper: float
    p: float
    is_equivalent: bool
    degrees_of_freedom: float
    n_1: int
    n_2: int
    alpha: float


def equivalence(first: npt.ArrayLike, second: npt.ArrayLike, margin: Margin, *, alpha: float = 0.05) -> Equivalence:
    """Test whether two independent means differ by less than a margin, without equal variances.

    A p above alpha does not say that they differ: the data may be too few for either answer.

    Args:
        first: Independent values, shape (n_1,).
        second: Independent values, shape (n_2,).
        margin: The smallest difference that matters, in the unit of the values and chosen before looking at
            them, or both bounds.
        alpha: Level of the test.

    Returns:
        The difference, both one-sided p, and the verdict.

    Raises:
        DataError: If one side has fewer than two values or one is not finite.
        ConfigurationError: If the margin is not above 0, its bounds are in the wrong order, or alpha is no
            fraction below 0.5.

    Example:
        >>> found = equivalence([0.61, 0.58, 0.64, 0.60], [0.60, 0.62, 0.59, 0.63], margin=0.04)
        >>> round(found.difference, 4), round(found.low, 3), round(found.high, 3), found.is_equivalent
        (0.0025, -0.028, 0.033, True)

    Source: Schuirmann (1987), J. Pharmacokinet. Biopharm. 15, 657-680; Welch (1947), Biometrika 34, 28-35.
    """
    ours, theirs = finite_vector(first, "first", minimum=2), finite_vector(second, "second", minimum=2)
    one, two = ((0.0 if is_constant(side) else float(side.var(ddof=1)) / side.size) for side in (ours, theirs))
    share = one / (one + two) if one + two > 0.0 else 0.5
    freedom = 1.0 / (share**2 / (ours.size - 1) + (1.0 - share) ** 2 / (theirs.size - 1))
    difference = float(theirs.mean() - ours.mean())
    return _two_one_sided(
        difference, math.sqrt(one + two), freedom, margin, alpha=alpha, n_1=ours.size, n_2=theirs.size
    )


def paired_equivalence(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    margin: Margin,
    *,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = 0.05,
) -> Equivalence:
    """Test whether two methods differ by less than a margin over shared tasks.

    Args:
        first: Metric of the first method, one value a task, shape (n,).
        second: Metric of the second on the same tasks in the same order, shape (n,).
        margin: The smallest difference that matters, in the unit of the values, or both bounds.
        clusters: Data set of each task, n labels; each then counts as one difference, the mean over its tasks.
        alpha: Level of the test.

    Returns:
        The mean difference, both one-sided p, and the verdict.

    Raises:
        DataError: If there are fewer than two pairs or clusters, lengths differ, or a value is not finite.
        ConfigurationError: If the margin is not above 0, its bounds are in the wrong order, or alpha is no
            fraction below 0.5.

    Example:
        >>> five_steps, ten_steps = [0.61, 0.55, 0.72, 0.58, 0.66], [0.62, 0.55, 0.73, 0.57, 0.66]
        >>> found = paired_equivalence(five_steps, ten_steps, margin=0.01)
        >>> round(found.difference, 3), round(found.low, 3), round(found.high, 3), found.is_equivalent
        (0.002, -0.006, 0.01, True)

    Source: Schuirmann (1987), J. Pharmacokinet. Biopharm. 15, 657-680.
    """
    _, differences = paired_differences(first, second, clusters)
    n = differences.size
    return _two_one_sided(
        float(differences.mean()), standard_error(differences), float(n - 1), margin, alpha=alpha, n_1=n, n_2=n
    )


def _two_one_sided(
    difference: float, error: float, freedom: float, margin: Margin, *, alpha: float, n_1: int, n_2: int
) -> Equivalence:
    margin_low, margin_high = _bounds(margin)
    if fraction(alpha, "alpha") >= 0.5:
        raise ConfigurationError(f"alpha={alpha!r}, expected a fraction below 0.5 such as 0.05.")
    p_lower = float(stats.t.sf(t_of(difference - margin_low, error), freedom))
    p_upper = float(stats.t.cdf(t_of(difference - margin_high, error), freedom))
    reach = float(stats.t.ppf(1.0 - alpha, freedom)) * error
    return Equivalence(
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        margin_low=margin_low,
        margin_high=margin_high,
        p_lower=p_lower,
        p_upper=p_upper,
        p=max(p_lower, p_upper),
        is_equivalent=max(p_lower, p_upper) < alpha,
        degrees_of_freedom=freedom,
        n_1=n_1,
        n_2=n_2,
        alpha=alpha,
    )


def _bounds(margin: Margin) -> tuple[float, float]:
    low, high = margin if isinstance(margin, tuple) else (-margin, margin)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigurationError(
            f"margin={margin!r}, expected a number above 0, or a lower and a higher bound, in the unit of the values."
        )
    return float(low), float(high)
