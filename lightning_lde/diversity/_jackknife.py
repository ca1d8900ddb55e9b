"""Standard errors and t intervals from values with one task left out."""

from __future__ import annotations

import math

from scipy import stats

from ._inputs import FloatArray


def standard_error(without: FloatArray) -> float:
    """The jackknife standard error, sqrt((n - 1)/n Σ_i (U_(i) - mean U_(i))²).

    Args:
        without: The value with task i left out, (n,).

    Source: Arvesen (1969), Jackknifing U-statistics, Ann. Math. Statist. 40, 2076-2100.
    """
    n = without.size
    return math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))


def margin(error: float, *, confidence: float, df: float) -> float:
    """Half the width of a t interval.

    Args:
        error: Standard error.
        confidence: Coverage aimed at, a fraction.
        df: Degrees of freedom.
    """
    return float(stats.t.ppf(0.5 + confidence / 2.0, df)) * error


def combined(errors: tuple[float, float], dfs: tuple[float, float]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum or difference of two independent estimates.

    Args:
        errors: Standard errors of both.
        dfs: Their degrees of freedom.

    Returns:
        Standard error and degrees of freedom; the smaller of ``dfs`` where both errors are 0.

    Source: Welch (1947), Biometrika 34, 28-35; Satterthwaite (1946), Biometrics Bull. 2, 110-114.
    """
    variances = [error**2 for error in errors]
    total = sum(variances)
    parts = sum(variance**2 / df for variance, df in zip(variances, dfs, strict=True))
    return math.sqrt(total), (total**2 / parts if parts > 0.0 else min(dfs))
