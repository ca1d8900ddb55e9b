"""The diversity coefficient: the mean distance between tasks, with an interval over tasks."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError

MIN_TASKS = 3
ADVISED_TASKS = 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coefficient:
    """A diversity coefficient and how far it can be trusted.

    Args:
        value: Mean distance over all pairs of tasks.
        low: Lower bound of the interval.
        high: Upper bound of it.
        n_tasks: Number of tasks.
        n_pairs: Number of pairs, n(n - 1)/2.
        standard_error: Jackknife standard error over tasks.
        confidence: Coverage that the interval aims at.
        note: What a reader of the interval must know; None if nothing.
    """

    value: float
    low: float
    high: float
    n_tasks: int
    n_pairs: int
    standard_error: float
    confidence: float
    note: str | None


def diversity_coefficient(distances: npt.ArrayLike, *, confidence: float = 0.95) -> Coefficient:
    """The mean distance over all pairs of tasks with a jackknife interval over tasks.

    Pairs that share a task are dependent, so an interval over pairs is far too short (about 20 % coverage in
    place of 95 % at 100 tasks). Here whole tasks are left out: with U the mean over pairs and g_i the mean
    distance of task i, the value without task i is (nU - 2g_i)/(n - 2), and

        se² = (n - 1)/n Σ_i (U_(i) - mean U_(i))², interval = U ± t(n - 1) se.

    Distances of exactly zero count like all others, so copies lower the diversity. Below 30 tasks the
    interval may still cover too seldom, above all where tasks come from few hidden sources; ``note`` says so.
    The value of finite tasks holds estimation noise: compare only tasks of equal ways, shots and probe.

    Args:
        distances: Symmetric distances between tasks, (n, n); the diagonal is not used.
        confidence: Coverage of the interval, a fraction.

    Returns:
        The coefficient.

    Raises:
        DataError: If the distances are not a finite symmetric matrix of at least three tasks.
        ConfigurationError: If confidence is no fraction.

    Example:
        >>> found = diversity_coefficient([[0.0, 0.2, 0.3], [0.2, 0.0, 0.4], [0.3, 0.4, 0.0]])
        >>> round(found.value, 3), found.n_pairs, round(found.standard_error, 3)
        (0.3, 3, 0.115)

    Source: coefficient: Miranda et al. (2022), arXiv 2208.01545; jackknife of U-statistics: Arvesen (1969),
    Ann. Math. Statist. 40, 2076-2100.
    """
    if not 0.0 < confidence < 1.0:
        raise ConfigurationError(f"confidence={confidence!r}, expected a fraction between 0 and 1 such as 0.95.")
    matrix = _checked(distances)
    n_tasks = matrix.shape[0]
    task_means = (matrix.sum(axis=1) - np.diag(matrix)) / (n_tasks - 1)
    value = float(task_means.mean())
    without = (n_tasks * value - 2.0 * task_means) / (n_tasks - 2)
    squares = float(((without - without.mean()) ** 2).sum())
    standard_error = math.sqrt((n_tasks - 1) / n_tasks * squares)
    margin = float(stats.t.ppf(0.5 + confidence / 2.0, n_tasks - 1)) * standard_error
    return Coefficient(
        value=value,
        low=value - margin,
        high=value + margin,
        n_tasks=n_tasks,
        n_pairs=n_tasks * (n_tasks - 1) // 2,
        standard_error=standard_error,
        confidence=confidence,
        note=note_on_few_tasks(n_tasks),
    )


def note_on_few_tasks(n_tasks: int) -> str | None:
    """What a reader of an interval over few tasks must know; None if they are enough."""
    if n_tasks >= ADVISED_TASKS:
        return None
    return (
        f"{n_tasks} tasks; below {ADVISED_TASKS} the interval may be too short, above all if the tasks come "
        "from few sources. Embed more tasks."
    )


def _checked(distances: npt.ArrayLike) -> npt.NDArray[np.float64]:
    matrix = np.asarray(distances, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"distances have shape {matrix.shape}, expected (n, n); pass all pairs of tasks.")
    if matrix.shape[0] < MIN_TASKS:
        raise DataError(f"distances of {matrix.shape[0]} tasks, expected at least {MIN_TASKS}; embed more tasks.")
    if not np.isfinite(matrix).all():
        raise DataError("distances hold nan or infinity, expected finite values; leave those tasks out.")
    if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=1e-12):
        raise DataError(
            f"distances differ by up to {np.abs(matrix - matrix.T).max()} from their transpose, expected a "
            "symmetric matrix; average both directions first."
        )
    return matrix
