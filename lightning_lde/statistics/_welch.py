"""The difference of two means with Welch's interval, for values that cannot be paired."""

from __future__ import annotations

import dataclasses
import math

import numpy.typing as npt
from scipy import stats

from ._checks import FloatArray, finite_vector, fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanDifference:
    """The difference of two means with its confidence interval.

    Args:
        difference: Second mean less the first.
        low: Lower bound; nan where one side has a single value.
        high: Upper bound; nan where one side has a single value.
        n_1: Number of values of the first.
        n_2: Number of values of the second.
    """

    difference: float
    low: float
    high: float
    n_1: int
    n_2: int


def mean_difference(first: npt.ArrayLike, second: npt.ArrayLike, *, confidence: float = 0.95) -> MeanDifference:
    """How far the mean of independent values is above that of others, with Welch's t interval.

    The two variances need not be equal. Values that belong together in pairs have a narrower interval: hand
    their differences to ``mean_interval``.

    Args:
        first: Independent values, shape (n_1,).
        second: Independent values, shape (n_2,).
        confidence: Coverage, a fraction.

    Returns:
        Second mean less the first, with its interval.

    Raises:
        DataError: If one side has no value or one is not finite.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> found = mean_difference([0.61, 0.58, 0.64], [0.70, 0.66, 0.71, 0.69])
        >>> round(found.difference, 3), round(found.low, 3), round(found.high, 3)
        (0.08, 0.02, 0.14)

    Source: Welch (1947), The generalization of Student's problem, Biometrika 34, 28-35.
    """
    ours, theirs = finite_vector(first, "first"), finite_vector(second, "second")
    fraction(confidence, "confidence")
    difference = float(theirs.mean() - ours.mean())
    margin = _margin(ours, theirs, confidence)
    return MeanDifference(
        difference=difference, low=difference - margin, high=difference + margin, n_1=ours.size, n_2=theirs.size
    )


def _margin(first: FloatArray, second: FloatArray, confidence: float) -> float:
    if min(first.size, second.size) == 1:
        return math.nan
    one, two = (float(values.var(ddof=1)) / values.size for values in (first, second))
    if one + two == 0.0:
        return 0.0
    share = one / (one + two)
    degrees = 1.0 / (share**2 / (first.size - 1) + (1.0 - share) ** 2 / (second.size - 1))
    return float(stats.t.ppf(0.5 + confidence / 2.0, degrees)) * math.sqrt(one + two)
