"""Where the true effect of a further data set lies, with all that is not known of the spread of effects."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from ._checks import FloatArray

_LEVELS = 200
_HALVINGS = 48


def prediction_interval(effects: FloatArray, variances: FloatArray, *, confidence: float) -> tuple[float, float]:
    """Bounds for the true effect of a further data set.

    With the true tau², Q(tau²) = Σ(e - mean)²/(v + tau²) is chi-square with n - 1 degrees of freedom. Solving it for
    each level of that distribution gives the confidence distribution of tau²; the further effect is a mixture over
    it of normals around the weighted mean with variance tau² + 1/Σ1/(v + tau²).

    Args:
        effects: Effect of each data set, shape (n,), at least three.
        variances: Sampling variance of each effect, shape (n,).
        confidence: Coverage, a fraction.

    Source: Nagashima, Noma and Furukawa (2019), Stat. Methods Med. Res. 28, 1689-1702, with the confidence
    distribution of Viechtbauer (2007), Stat. Med. 26, 37-52.
    """
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    tau_squared = _solve(effects, variances, np.asarray(stats.chi2.ppf(levels, effects.size - 1)))
    weights = 1.0 / (variances + tau_squared[:, None])
    means = weights @ effects / weights.sum(axis=1)
    spreads = np.sqrt(tau_squared + 1.0 / weights.sum(axis=1))
    tail = (1.0 - confidence) / 2.0
    reach = (1.0 + float(stats.norm.isf(tail))) * spreads

    def place(level: float) -> float:
        def excess(at: float) -> float:
            return float(stats.norm.cdf((at - means) / spreads).mean()) - level

        return float(optimize.brentq(excess, (means - reach).min(), (means + reach).max()))

    return place(tail), place(1.0 - tail)


def _solve(effects: FloatArray, variances: FloatArray, targets: FloatArray) -> FloatArray:
    """The tau² at which Q reaches each target, which it falls to; 0 where it is below already."""
    low = np.zeros(targets.size)
    high = np.full(targets.size, float(variances.mean() + ((effects - effects.mean()) ** 2).sum()))
    while (above := _q(effects, variances, high) > targets).any():
        high = np.where(above, 2.0 * high, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        above = _q(effects, variances, middle) > targets
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(_q(effects, variances, np.zeros(1)) > targets, high, 0.0)


def _q(effects: FloatArray, variances: FloatArray, tau_squared: FloatArray) -> FloatArray:
    weights = 1.0 / (variances + tau_squared[:, None])
    means = weights @ effects / weights.sum(axis=1)
    return np.asarray((weights * (effects - means[:, None]) ** 2).sum(axis=1), dtype=np.float64)
