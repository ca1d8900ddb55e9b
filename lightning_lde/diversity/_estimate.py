"""A mean over tasks with its interval, and the figures that are nothing more."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from . import _jackknife as jackknife
from ._coefficient import MIN_TASKS, note_on_few_tasks
from ._crossvalidated import without_each_task
from ._distance import checked_vectors
from ._inputs import FloatArray, finite_rows, fraction, halves_of_rows, whole_numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskEstimate:
    """A figure over tasks and how far it can be trusted.

    Args:
        value: The estimate.
        low: Lower bound of the interval.
        high: Upper bound of it.
        standard_error: Jackknife standard error over tasks.
        n_tasks: Number of tasks.
        confidence: Coverage that the interval aims at.
        note: What a reader of the interval must know; None if nothing.
    """

    value: float
    low: float
    high: float
    standard_error: float
    n_tasks: int
    confidence: float
    note: str | None


def mean_complexity(vectors: npt.ArrayLike, *, confidence: float = 0.95) -> TaskEstimate:
    """The mean complexity of tasks, the L1 norm of their Fisher embeddings.

    Args:
        vectors: Fisher embeddings, not their logarithms, (n, D); n at least 3.
        confidence: Coverage of the interval, a fraction.

    Returns:
        The mean, with a t interval over tasks.

    Raises:
        DataError: If the embeddings are unfit or fewer than three.
        ConfigurationError: If confidence is no fraction.

    Source: Achille et al. (2019), Task2Vec, arXiv 1902.03545, section 3 (norm and task complexity).
    """
    return _mean_estimate(checked_vectors(finite_rows(vectors, "vectors", minimum=MIN_TASKS)).sum(axis=1), confidence)


def per_sample_spread(
    first: npt.ArrayLike, second: npt.ArrayLike, *, images: npt.ArrayLike, confidence: float = 0.95
) -> TaskEstimate:
    """How different single images of one task and class are, in the units of the coefficient.

    The noise of a mean over images is the spread of single images divided by their number. So

        spread = mean_i images_i ||x^A_i - x^B_i||² / (4D)

    does not depend on how many images a task has. It is all that a plain coefficient measures on batches
    drawn at random from one corpus, divided by the size of the batch. Fisher profiles are means over images
    only up to the logarithm and the fit of the head, so there it is an approximation for large tasks.

    Args:
        first: Profiles from the first half of each task, (n, D), n at least 3.
        second: Profiles from the second half, (n, D).
        images: Images of both halves together, (n,) or one number for all; the halves are of equal size.
        confidence: Coverage of the interval, a fraction.

    Returns:
        The spread, with a t interval over tasks.

    Raises:
        DataError: If the halves or the numbers of images are unfit.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> one, two = rng.normal(scale=np.sqrt(1 / 10), size=(2, 50, 200))  # halves of 10 images of variance 1
        >>> round(per_sample_spread(one, two, images=20).value, 2)
        1.01

    Source: variance of a mean, solved for the variance; that batches of one corpus differ by it alone is shown
    in docs/diversity.md.
    """
    one, two = halves_of_rows(first, second, minimum=MIN_TASKS)
    return _mean_estimate(_spreads(one, two, images), confidence)


def standardised_coefficient(
    first: npt.ArrayLike, second: npt.ArrayLike, *, images: npt.ArrayLike, confidence: float = 0.95
) -> TaskEstimate:
    """The share of the variance of single images that lies between tasks.

        standardised = U / (U + spread)

    with U the cross-validated coefficient and the spread of `per_sample_spread`. It has no unit, so the range
    of a probe's features drops out: 0 for tasks without any difference, 1 for tasks of one repeated image.

    Args:
        first: Profiles from the first half of each task, (n, D), n at least 3.
        second: Profiles from the second half, (n, D).
        images: Images of both halves together, (n,) or one number for all.
        confidence: Coverage of the interval, a fraction.

    Returns:
        The share, with a jackknife interval over tasks; it may be slightly negative, as U may. Where nothing varies
        at all it is 0.

    Raises:
        DataError: If the halves or the numbers of images are unfit.
        ConfigurationError: If confidence is no fraction.

    Source: intraclass correlation, ICC(1): Shrout and Fleiss (1979), Psychol. Bull. 86, 420-428; jackknife of
    functions of U-statistics: Arvesen (1969), Ann. Math. Statist. 40, 2076-2100.
    """
    one, two = halves_of_rows(first, second, minimum=MIN_TASKS)
    spreads = _spreads(one, two, images)
    n = spreads.size
    diversity = without_each_task(one, two)
    spread = (spreads.sum() - spreads) / (n - 1)
    # The mean over the values without each task is the value itself: both are U-statistics.
    value = _share(diversity.mean(keepdims=True), spread.mean(keepdims=True))[0]
    return _estimate(float(value), _share(diversity, spread), confidence)


def _share(diversity: FloatArray, spread: FloatArray) -> FloatArray:
    total = diversity + spread
    # Where nothing varies at all there is no share; there is no diversity either.
    return np.asarray(np.divide(diversity, total, out=np.zeros_like(total), where=total > 0.0))


def _spreads(first: FloatArray, second: FloatArray, images: npt.ArrayLike) -> FloatArray:
    numbers = whole_numbers(images, "images", n=first.shape[0], minimum=2)
    return np.asarray(numbers * ((first - second) ** 2).mean(axis=1) / 4.0)


def _mean_estimate(values: FloatArray, confidence: float) -> TaskEstimate:
    return _estimate(float(values.mean()), (values.sum() - values) / (values.size - 1), confidence)


def _estimate(value: float, without: FloatArray, confidence: float) -> TaskEstimate:
    fraction(confidence, "confidence")
    error = jackknife.standard_error(without)
    margin = jackknife.margin(error, confidence=confidence, df=without.size - 1)
    return TaskEstimate(
        value=value,
        low=value - margin,
        high=value + margin,
        standard_error=error,
        n_tasks=without.size,
        confidence=confidence,
        note=note_on_few_tasks(without.size),
    )
