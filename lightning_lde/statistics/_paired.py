"""Two methods on the same tasks: the mean difference of pairs, and three tests of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import DataError

from ._checks import FloatArray, finite_vector, fraction, is_constant, resample_count, same_length
from ._design import level_numbers

MIN_PAIRS = 2
_MOST_AT_ONCE = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """The mean difference of pairs, and how surely it is none.

    Args:
        n: Number of pairs.
        n_clusters: Number of independent differences: clusters, or pairs without any.
        difference: Mean of second less first; of the means of clusters where there are any.
        low: Lower bound of its t interval.
        high: Upper bound of it.
        sd: Standard deviation of the independent differences.
        t: The difference over its standard error; infinite where all differences are the same and not 0.
        degrees_of_freedom: n_clusters - 1.
        p_t: Two-sided p of t.
        p_wilcoxon: Two-sided p of Wilcoxon's signed-rank test; exact for few differences without ties.
        p_sign_flip: Two-sided p of the mean when signs are changed at random; exact if 2^n_clusters is at most the
            resamples.
        confidence: Coverage that the interval aims at.
    """

    n: int
    n_clusters: int
    difference: float
    low: float
    high: float
    sd: float
    t: float
    degrees_of_freedom: int
    p_t: float
    p_wilcoxon: float
    p_sign_flip: float
    confidence: float


def paired_test(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int | np.random.Generator = 0,
) -> PairedComparison:
    """Test whether two methods differ over shared tasks or data sets.

    Tasks of one data set are not independent repetitions of the question "which method is better on data sets":
    with ``clusters`` each data set counts as one difference, the mean over its tasks. Without, the answer holds
    for further tasks of the same data sets only.

    The sign-flip test needs differences that are symmetric around 0 where the methods are equal, and no
    normality; Wilcoxon's looks at ranks, so that one task cannot decide; its null is the same symmetry.

    Args:
        first: Metric of the first method, one value a task, shape (n,).
        second: Metric of the second on the same tasks in the same order, shape (n,).
        clusters: Data set of each task, n labels.
        confidence: Coverage of the interval, a fraction.
        resamples: Random changes of signs, and the most that are counted in full.
        seed: Seed or generator; equal seeds give equal results.

    Returns:
        The mean difference with its interval, and the p of three tests.

    Raises:
        DataError: If there are fewer than two pairs or clusters, lengths differ, or a value is not finite.
        ConfigurationError: If confidence is no fraction or the resamples are too few.

    Example:
        >>> maml = [0.61, 0.55, 0.72, 0.58, 0.66, 0.70]
        >>> pretraining = [0.64, 0.56, 0.77, 0.60, 0.70, 0.69]
        >>> found = paired_test(maml, pretraining)
        >>> round(found.difference, 3), round(found.low, 3), round(found.high, 3)
        (0.023, 0.001, 0.046)
        >>> round(found.p_t, 3), found.p_wilcoxon, found.p_sign_flip
        (0.046, 0.09375, 0.09375)

    Source: Student (1908), Biometrika 6, 1-25; Wilcoxon (1945), Biometrics Bulletin 1, 80-83; Fisher (1935), The
    Design of Experiments, section 21 (changes of sign).
    """
    n, differences = paired_differences(first, second, clusters)
    fraction(confidence, "confidence")
    resample_count(resamples)
    mean, error = float(differences.mean()), standard_error(differences)
    margin = float(stats.t.ppf(0.5 + confidence / 2.0, differences.size - 1)) * error
    t = t_of(mean, error)
    return PairedComparison(
        n=n,
        n_clusters=differences.size,
        difference=mean,
        low=mean - margin,
        high=mean + margin,
        sd=error * math.sqrt(differences.size),
        t=t,
        degrees_of_freedom=differences.size - 1,
        p_t=float(2.0 * stats.t.sf(abs(t), differences.size - 1)),
        p_wilcoxon=_wilcoxon(differences),
        p_sign_flip=_sign_flip(differences, resamples, np.random.default_rng(seed)),
        confidence=confidence,
    )


def paired_differences(
    first: npt.ArrayLike, second: npt.ArrayLike, clusters: Sequence[Hashable] | None
) -> tuple[int, FloatArray]:
    """The number of pairs, and the independent differences second less first: means over clusters, or pairs.

    Raises:
        DataError: If there are fewer than two pairs or clusters, lengths differ, or a value is not finite.
    """
    ours = finite_vector(first, "first", minimum=MIN_PAIRS)
    theirs = finite_vector(second, "second", minimum=MIN_PAIRS)
    same_length(ours, theirs, "first and second")
    differences = theirs - ours
    if clusters is None:
        return ours.size, differences
    numbers = level_numbers(clusters, "clusters", ours.size)
    means = np.bincount(numbers, weights=differences) / np.bincount(numbers)
    if means.size < MIN_PAIRS:
        raise DataError("there is one cluster, expected at least 2: one data set says nothing of others.")
    return ours.size, means


def standard_error(values: FloatArray) -> float:
    """The standard error of a mean; exactly 0 where the values agree up to rounding."""
    return 0.0 if is_constant(values) else float(values.std(ddof=1)) / math.sqrt(values.size)


def t_of(mean: float, error: float) -> float:
    """The mean over its standard error; 0 over 0 is 0."""
    if error > 0.0:
        return mean / error
    return math.copysign(math.inf, mean) if mean else 0.0


def _wilcoxon(differences: FloatArray) -> float:
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def _sign_flip(differences: FloatArray, resamples: int, rng: np.random.Generator) -> float:
    found = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, _MOST_AT_ONCE // differences.size),
        rng=rng,
    )
    return float(found.pvalue)
