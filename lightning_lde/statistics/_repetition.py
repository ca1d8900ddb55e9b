"""How much repetitions scatter, and how many are needed to see a difference."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from lightning_lde.errors import ConfigurationError, DataError

from ._checks import finite_vector, fraction
from ._power import noncentral_power, positive, smallest_n


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledDeviation:
    """The standard deviation within cells, pooled over them.

    Args:
        sd: The standard deviation.
        low: Lower bound of its chi-square interval.
        high: Upper bound of it.
        degrees_of_freedom: Values less cells, over the cells with several values.
        n: Values in these cells.
        n_cells: Cells with several values.
    """

    sd: float
    low: float
    high: float
    degrees_of_freedom: int
    n: int
    n_cells: int


def pooled_deviation(
    values: npt.ArrayLike, cells: Sequence[Hashable], *, confidence: float = 0.95
) -> PooledDeviation | None:
    """The standard deviation of repetitions, pooled over cells within which only the repetition differs.

    Args:
        values: Measured values, shape (n,).
        cells: Cell of each value, n labels; a cell with one value says nothing of the scatter.
        confidence: Coverage of the interval, a fraction.

    Returns:
        sqrt(S/f) with the interval sqrt(S/χ²(f)), where S sums the squares within cells and f the values less
        the cells; None where no cell has several values.

    Raises:
        DataError: If lengths differ or a value is not finite.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> found = pooled_deviation([1.0, 3.0, 10.0, 14.0, 99.0], ["a", "a", "b", "b", "c"])
        >>> round(found.sd, 3), found.degrees_of_freedom, found.n, found.n_cells
        (2.236, 2, 4, 2)

    Source: Snedecor and Cochran (1989), Statistical Methods, 8th ed., sections 5.11 and 6.5.
    """
    vector = finite_vector(values, "values")
    fraction(confidence, "confidence")
    if len(cells) != vector.size:
        raise DataError(f"there are {len(cells)} cells for {vector.size} values, expected one for each; align them.")
    members: dict[Hashable, list[float]] = {}
    for value, cell in zip(vector.tolist(), cells, strict=True):
        members.setdefault(cell, []).append(value)
    groups = [np.array(group) for group in members.values() if len(group) > 1]
    n = sum(group.size for group in groups)
    freedom = n - len(groups)
    if freedom == 0:
        return None
    squares = math.fsum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    least, most = (float(stats.chi2.ppf(level, freedom)) for level in (0.5 - confidence / 2.0, 0.5 + confidence / 2.0))
    return PooledDeviation(
        sd=math.sqrt(squares / freedom),
        low=math.sqrt(squares / most),
        high=math.sqrt(squares / least),
        degrees_of_freedom=freedom,
        n=n,
        n_cells=len(groups),
    )


def repetitions_required(sd: float, difference: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """Repetitions of each of two configurations at which a true difference of their means would be found.

    Args:
        sd: Standard deviation of repetitions, the same for both.
        difference: True difference of the means; the sign does not matter.
        power: Chance of finding it.
        alpha: Level of the two-sided t test.

    Returns:
        The smallest n, at least 2, at which the t test has that power.

    Raises:
        ConfigurationError: If sd is not above 0, the difference is 0, power or alpha is no fraction, or more than
            a million repetitions would be needed.

    Example:
        >>> repetitions_required(sd=0.01, difference=0.01)
        17

    Source: Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, 2nd ed., chapter 2.
    """
    effect = positive(abs(difference), "difference") / positive(sd, "sd")
    level, target = fraction(alpha, "alpha"), fraction(power, "power")
    what = f"difference={difference!r} beside sd={sd!r}"
    return smallest_n(lambda n: _power(effect, n, level), target, 2, what=what)


def detectable_difference(sd: float, n: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true difference that n repetitions of each of two configurations would find.

    Args:
        sd: Standard deviation of repetitions, the same for both.
        n: Repetitions of each, at least 2.
        power: Chance of finding it.
        alpha: Level of the two-sided t test.

    Raises:
        ConfigurationError: If sd is not above 0, n is below 2, or power or alpha is no fraction.

    Example:
        >>> round(detectable_difference(sd=0.01, n=5), 4)
        0.0202
    """
    if n < 2:
        raise ConfigurationError(f"n={n!r}, expected at least 2 repetitions; one says nothing of the scatter.")
    target = fraction(power, "power")
    if fraction(alpha, "alpha") >= target:
        raise ConfigurationError(f"power={power!r} is at most alpha={alpha!r}; a test finds that much in nothing.")
    largest = 2.0
    while _power(largest, n, alpha) < target:
        largest *= 2.0
    return positive(sd, "sd") * float(optimize.brentq(lambda effect: _power(effect, n, alpha) - target, 0.0, largest))


def _power(effect: float, n: int, alpha: float) -> float:
    """Power of the two-sided t test of two samples of n, by the noncentral t distribution."""
    return float(noncentral_power(np.array(effect * math.sqrt(n / 2.0)), 2 * n - 2, alpha))
