"""Random-effects synthesis: one effect over several data sets, and how much it differs between them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import DataError

from ._checks import FloatArray, finite_vector, fraction, same_length
from ._prediction import prediction_interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heterogeneity:
    """A mean effect over data sets and the spread of the true effects around it.

    Args:
        mean: Random-effects mean.
        low: Lower bound of its interval.
        high: Upper bound of it.
        q: Cochran's Q.
        df: Degrees of freedom of Q, n - 1.
        p: p of Q under equal true effects.
        i_squared: Share of the variation of the effects that sampling does not explain, 0 to 1.
        tau_squared: Variance of the true effects.
        prediction_low: Lower bound for the true effect of a further data set; nan for two effects.
        prediction_high: Upper bound of it.
        n: Number of effects.
    """

    mean: float
    low: float
    high: float
    q: float
    df: int
    p: float
    i_squared: float
    tau_squared: float
    prediction_low: float
    prediction_high: float
    n: int


def random_effects(effects: npt.ArrayLike, variances: npt.ArrayLike, *, confidence: float = 0.95) -> Heterogeneity:
    """Pool effects of several data sets without assuming that they share one true effect.

    With w = 1/v: Q = Σw(e - ē_w)² and tau² = max(0, (Q - (n - 1)) / (Σw - Σw²/Σw)) (DerSimonian and Laird);
    with u = 1/(v + tau²) the mean is Σu·e/Σu. Its interval is that of Hartung and Knapp, t(n - 1) and the
    variance max(1, Σu(e - mean)²/(n - 1))/Σu, because the usual normal interval is too short over few data
    sets. The prediction interval counts what is not known of tau², because mean ± t(n - 2) sqrt(tau² + 1/Σu)
    covered 89 to 93 % of 95 % over 8 to 30 data sets.

    Args:
        effects: Effect of each data set, shape (n,).
        variances: Sampling variance of each effect, shape (n,), above 0.
        confidence: Coverage, a fraction.

    Returns:
        Mean, interval, heterogeneity and prediction interval.

    Raises:
        DataError: If there are fewer than two effects, lengths differ, a value is not finite, or a variance
            is not above 0.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> found = random_effects([0.10, 0.30, 0.35, 0.65], [0.03, 0.02, 0.05, 0.01])
        >>> round(found.mean, 3), round(found.tau_squared, 4), round(found.i_squared, 3)
        (0.373, 0.0476, 0.681)

    Source: DerSimonian and Laird (1986), Controlled Clinical Trials 7, 177-188; Hartung and Knapp (2001),
    Stat. Med. 20, 3875-3889, bounded below as in Röver et al. (2015), BMC Med. Res. Methodol. 15:99; Higgins
    and Thompson (2002), Stat. Med. 21, 1539-1558; Nagashima, Noma and Furukawa (2019), Stat. Methods Med. Res. 28,
    1689-1702 (prediction).
    """
    e = finite_vector(effects, "effects", minimum=2)
    v = _positive(finite_vector(variances, "variances", minimum=2))
    same_length(e, v, "effects and variances")
    level = 0.5 + fraction(confidence, "confidence") / 2.0
    df = e.size - 1
    q, tau_squared = _dersimonian_laird(e, v)
    weights = 1.0 / (v + tau_squared)
    mean = float((weights * e).sum() / weights.sum())
    scale = max(1.0, float((weights * (e - mean) ** 2).sum()) / df)
    variance = 1.0 / float(weights.sum())
    margin = float(stats.t.ppf(level, df)) * math.sqrt(scale * variance)
    prediction = (math.nan, math.nan) if e.size == 2 else prediction_interval(e, v, confidence=confidence)
    return Heterogeneity(
        mean=mean,
        low=mean - margin,
        high=mean + margin,
        q=q,
        df=df,
        p=float(stats.chi2.sf(q, df)),
        i_squared=max(0.0, (q - df) / q) if q > 0.0 else 0.0,
        tau_squared=tau_squared,
        prediction_low=prediction[0],
        prediction_high=prediction[1],
        n=e.size,
    )


def _dersimonian_laird(effects: FloatArray, variances: FloatArray) -> tuple[float, float]:
    weights = 1.0 / variances
    total = weights.sum()
    q = float((weights * (effects - (weights * effects).sum() / total) ** 2).sum())
    denominator = float(total - (weights**2).sum() / total)
    return q, max(0.0, (q - (effects.size - 1)) / denominator)


def _positive(variances: FloatArray) -> FloatArray:
    if (variances <= 0.0).any():
        position = int(np.argmax(variances <= 0.0))
        raise DataError(
            f"variances[{position}] is {variances[position]}, expected above 0; "
            "an effect without sampling variance needs more repetitions, or leave it out."
        )
    return variances
