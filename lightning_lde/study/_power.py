"""What a number of data sets can find, and the number that an effect would need."""

from __future__ import annotations

import math

from lightning_lde.errors import ConfigurationError
from lightning_lde.statistics import correlation_power, n_required
from lightning_lde.study._answer import Needs

POWER, LEVEL = 0.8, 0.05
# An R² that less than a million data sets would find.
_LEAST_R_SQUARED = 1e-4


def needs_of(n: int, n_tests: int, smallest_r_squared: float) -> Needs:
    """What n data sets can find, at the 5 % level and corrected for a number of tests.

    Args:
        n: Data sets.
        n_tests: Configurations.
        smallest_r_squared: The smallest share of variance that would be of interest.

    Raises:
        ConfigurationError: If that is not between 0 and 1.

    Example:
        >>> found = needs_of(12, 5, 0.2)
        >>> round(found.power, 2), found.n_required, round(found.significant_r_squared, 2)
        (0.32, 36, 0.33)
    """
    if not _LEAST_R_SQUARED <= smallest_r_squared < 1.0:
        raise ConfigurationError(f"the smallest R² of interest is {smallest_r_squared!r}: give one such as 0.2")
    r, level = math.sqrt(smallest_r_squared), LEVEL / max(n_tests, 1)
    return Needs(
        n=n,
        n_tests=n_tests,
        smallest_r_squared=smallest_r_squared,
        power=correlation_power(r, n),
        power_corrected=correlation_power(r, n, alpha=level),
        n_required=n_required(r, method="exact"),
        n_required_corrected=n_required(r, alpha=level, method="exact"),
        detectable_r_squared=_detectable(n),
        significant_r_squared=_significant(n),
    )


def n_for(r: float) -> int | None:
    """Data sets for 80 % power at a correlation; None for one so small or so perfect that there is no answer.

    Example:
        >>> n_for(0.2**0.5), n_for(0.001)
        (36, None)
    """
    if not 0.0 < abs(r) < 1.0:
        return None
    try:
        return n_required(r, method="exact")
    except ConfigurationError:
        # More than a million data sets.
        return None


def _detectable(n: int) -> float:
    from scipy import optimize

    r = optimize.brentq(lambda r: correlation_power(r, n) - POWER, 0.0, 1.0 - 1e-12, xtol=1e-6)
    return float(r) ** 2


def _significant(n: int) -> float:
    from scipy import stats

    t = float(stats.t.ppf(1.0 - LEVEL / 2.0, n - 2))
    return t**2 / (t**2 + n - 2)
