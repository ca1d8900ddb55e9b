"""The coefficient without noise bias, its noise floor, and the difference of two data sets."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import stats

from . import _jackknife as jackknife
from ._coefficient import ADVISED_TASKS, MIN_TASKS, note_on_few_tasks
from ._inputs import FloatArray, fraction, halves_of_rows
from ._sums import DiversitySums


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidatedCoefficient:
    """A diversity coefficient free of noise bias, beside the part of the plain one that is noise.

    Args:
        value: Mean cross-validated distance over all pairs; 0 on average for identical tasks, so it may be
            negative.
        low: Lower bound of the interval.
        high: Upper bound of it.
        standard_error: Jackknife standard error over tasks.
        plain: The mean log-ratio distance of the same embeddings, in the same units: value + noise.
        noise: The noise floor, what the plain coefficient of tasks without any difference would be.
        n_tasks: Number of tasks.
        confidence: Coverage that the interval aims at.
        note: What a reader of the interval must know; None if nothing.
    """

    value: float
    low: float
    high: float
    standard_error: float
    plain: float
    noise: float
    n_tasks: int
    confidence: float
    note: str | None


def crossvalidated_coefficient(
    first: npt.ArrayLike, second: npt.ArrayLike, *, confidence: float = 0.95
) -> CrossValidatedCoefficient:
    """The mean cross-validated distance over all pairs of tasks, with a jackknife interval over tasks.

    With profiles centred over the tasks, p = Σ_i ⟨x^A_i, x^B_i⟩ and

        U = p / ((n - 1) D),  g_i = (n ⟨x^A_i, x^B_i⟩ + p) / (2 D (n - 1)),

    the value without task i is (nU - 2g_i)/(n - 2): the whole interval takes O(nD), and no pair is formed.
    The noise floor is a quarter of the coefficient of x^A - x^B; the mean of both halves, which is close to
    the embedding of all images, has the coefficient value + noise.

    Signal grows with the images of a task as well, since heads fit better: compare data sets at equal ways
    and images (`common_size`).

    Args:
        first: Profiles from the first half of each task, (n, D); `log_profiles` of Fisher embeddings or
            `mean_feature_halves`.
        second: Profiles from the second half, which shares no image and no group with the first, (n, D).
        confidence: Coverage of the interval, a fraction.

    Returns:
        The coefficient; its ``note`` speaks below 30 tasks.

    Raises:
        DataError: If the halves are not finite matrices of one shape with at least three tasks.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> same = np.zeros((40, 100))
        >>> found = crossvalidated_coefficient(same + rng.normal(size=(40, 100)), same + rng.normal(size=(40, 100)))
        >>> found.low < 0.0 < found.high, round(found.plain, 2), round(found.noise, 2)
        (True, 0.5, 0.5)

    Source: distance: Walther et al. (2016), NeuroImage 137, 188-200; coefficient: Miranda et al. (2022), arXiv
    2208.01545; jackknife of U-statistics: Arvesen (1969), Ann. Math. Statist. 40, 2076-2100.
    """
    fraction(confidence, "confidence")
    one, two = halves_of_rows(first, second, minimum=MIN_TASKS)
    one, two = one - one.mean(axis=0), two - two.mean(axis=0)
    sums = DiversitySums.of(one, two)
    n_tasks = one.shape[0]
    error = jackknife.standard_error(without_each_task(one, two))
    margin = jackknife.margin(error, confidence=confidence, df=n_tasks - 1)
    return CrossValidatedCoefficient(
        value=sums.value,
        low=sums.value - margin,
        high=sums.value + margin,
        standard_error=error,
        plain=sums.plain,
        noise=sums.noise,
        n_tasks=n_tasks,
        confidence=confidence,
        note=note_on_few_tasks(n_tasks),
    )


def without_each_task(first: FloatArray, second: FloatArray) -> FloatArray:
    """The coefficient with task i left out, (n,).

    Args:
        first: Profiles from the first half of each task, (n, D), n at least 3.
        second: Profiles from the second half, (n, D).
    """
    n_tasks, dimension = first.shape
    own = ((first - first.mean(axis=0)) * (second - second.mean(axis=0))).sum(axis=1)
    value = own.sum() / ((n_tasks - 1) * dimension)
    task_means = (n_tasks * own + own.sum()) / (2.0 * dimension * (n_tasks - 1))
    return np.asarray((n_tasks * value - 2.0 * task_means) / (n_tasks - 2))


class _Estimate(Protocol):
    @property
    def value(self) -> float: ...
    @property
    def standard_error(self) -> float: ...
    @property
    def n_tasks(self) -> int: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoefficientDifference:
    """How much more diverse one data set is than another.

    Args:
        value: First coefficient less the second.
        low: Lower bound of the interval.
        high: Upper bound of it.
        standard_error: Standard error of the difference.
        df: Degrees of freedom of the interval.
        p: Two-sided p of equal diversity.
        confidence: Coverage that the interval aims at.
        note: What a reader of the interval must know; None if nothing.
    """

    value: float
    low: float
    high: float
    standard_error: float
    df: float
    p: float
    confidence: float
    note: str | None


def coefficient_difference(first: _Estimate, second: _Estimate, *, confidence: float = 0.95) -> CoefficientDifference:
    """The difference of the diversity of two data sets whose tasks are independent.

    The standard errors add in squares; the degrees of freedom are Welch's. Where both sets hold the same
    tasks the interval is too wide or too short: form the sets anew.

    Args:
        first: Coefficient of the first data set, of any kind with ``value``, ``standard_error``, ``n_tasks``.
        second: Coefficient of the second, by the same kind, probe, ways and images.
        confidence: Coverage of the interval, a fraction.

    Returns:
        The difference.

    Raises:
        ConfigurationError: If confidence is no fraction.

    Source: Welch (1947), Biometrika 34, 28-35, on the jackknife errors of Arvesen (1969).
    """
    fraction(confidence, "confidence")
    error, df = jackknife.combined(
        (first.standard_error, second.standard_error), (first.n_tasks - 1.0, second.n_tasks - 1.0)
    )
    value = first.value - second.value
    margin = jackknife.margin(error, confidence=confidence, df=df)
    fewest = min(first.n_tasks, second.n_tasks)
    return CoefficientDifference(
        value=value,
        low=value - margin,
        high=value + margin,
        standard_error=error,
        df=df,
        p=_two_sided_p(value, error, df),
        confidence=confidence,
        note=note_on_few_tasks(fewest) if fewest < ADVISED_TASKS else None,
    )


def _two_sided_p(value: float, error: float, df: float) -> float:
    if error == 0.0:
        return 1.0 if value == 0.0 else 0.0
    return float(2.0 * stats.t.sf(abs(value) / error, df))
