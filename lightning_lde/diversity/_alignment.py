"""How far two sets of tasks lie apart: cross-diversity and separation."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from . import _jackknife as jackknife
from ._coefficient import MIN_TASKS, note_on_few_tasks
from ._crossvalidated import without_each_task
from ._inputs import FloatArray, fraction, halves_of_rows, same_dimension

HalfProfiles = tuple[npt.ArrayLike, npt.ArrayLike]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossDiversity:
    """The distance between two sets of tasks, with and without the diversity inside them.

    Args:
        value: Mean cross-validated distance between a task of one set and a task of the other.
        low: Lower bound of its interval.
        high: Upper bound of it.
        standard_error: Jackknife standard error over the tasks of both sets.
        separation: Value less the mean of both sets' own coefficients; 0 if the sets have one mean profile.
        separation_low: Lower bound of its interval.
        separation_high: Upper bound of it.
        n_tasks: Number of tasks of both sets.
        confidence: Coverage that the intervals aim at.
        note: What a reader of the intervals must know; None if nothing.
    """

    value: float
    low: float
    high: float
    standard_error: float
    separation: float
    separation_low: float
    separation_high: float
    n_tasks: tuple[int, int]
    confidence: float
    note: str | None


def cross_diversity(one: HalfProfiles, other: HalfProfiles, *, confidence: float = 0.95) -> CrossDiversity:
    """The mean distance between two sets of tasks, such as training and target tasks, and their separation.

        value = mean_{i,j} d(one_i, other_j),  separation = value - (U_one + U_other)/2,

    all distances cross-validated. The separation is ||difference of the mean profiles||²/(2D) without bias,
    so aligned sets have 0, whatever their diversity. Its interval is too wide, never too short, where the
    separation is truly 0. O((n + m) D): no pair is formed.

    Args:
        one: Profiles of the halves of the first set, two matrices (n, D).
        other: Profiles of the halves of the second set, by the same probe, two matrices (m, D).
        confidence: Coverage of the intervals, a fraction.

    Returns:
        Both figures with jackknife intervals over tasks.

    Raises:
        DataError: If the halves are unfit, a set has fewer than three tasks, or the dimensions differ.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> import numpy as np
        >>> here = np.array([[1.0, -1.0], [0.8, -0.8], [1.2, -1.2]])
        >>> found = cross_diversity((here, here), (here - [1.0, -1.0], here - [1.0, -1.0]))
        >>> round(found.separation, 2)
        0.49

    Source: cross-diversity and alignment: Lee et al. (2023), Beyond Scale, arXiv 2306.13840; separation as
    energy distance: Szekely and Rizzo (2013), J. Stat. Plan. Inference 143, 1249-1272.
    """
    fraction(confidence, "confidence")
    x = halves_of_rows(*one, minimum=MIN_TASKS, name="one")
    y = halves_of_rows(*other, minimum=MIN_TASKS, name="other")
    same_dimension(x[0].shape[1], y[0].shape[1])
    to_other, to_one = _mean_distances(x, y), _mean_distances(y, x)
    sizes = (to_other.size, to_one.size)
    value = float(to_other.mean())
    cross = [(means.sum() - means) / (means.size - 1) for means in (to_other, to_one)]
    own = [without_each_task(*x), without_each_task(*y)]
    apart = [without - inner / 2.0 for without, inner in zip(cross, own, strict=True)]
    separation = value - float(own[0].mean() + own[1].mean()) / 2.0
    error, margin = _spread(cross, confidence)
    _, separation_margin = _spread(apart, confidence)
    return CrossDiversity(
        value=value,
        low=value - margin,
        high=value + margin,
        standard_error=error,
        separation=separation,
        separation_low=separation - separation_margin,
        separation_high=separation + separation_margin,
        n_tasks=sizes,
        confidence=confidence,
        note=note_on_few_tasks(min(sizes)),
    )


def _mean_distances(x: tuple[FloatArray, FloatArray], y: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Mean cross-validated distance of each task of x to all tasks of y, (n,)."""
    centre = y[0].mean(axis=0), y[1].mean(axis=0)
    inner = ((y[0] - centre[0]) * (y[1] - centre[1])).sum(axis=1).mean()
    outer = ((x[0] - centre[0]) * (x[1] - centre[1])).sum(axis=1)
    return np.asarray((outer + inner) / (2.0 * x[0].shape[1]))


def _spread(without: list[FloatArray], confidence: float) -> tuple[float, float]:
    """Standard error and margin from the values with one task of one set, or of the other, left out."""
    errors = jackknife.standard_error(without[0]), jackknife.standard_error(without[1])
    error, df = jackknife.combined(errors, (without[0].size - 1.0, without[1].size - 1.0))
    return error, jackknife.margin(error, confidence=confidence, df=df)
