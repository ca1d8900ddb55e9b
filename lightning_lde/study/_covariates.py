"""What else data sets differ in: classes, images, complexity of their tasks, held fixed beside diversity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lightning_lde.errors import DataError
from lightning_lde.statistics import regress
from lightning_lde.study._results import AdjustedSlope, Covariate, Point

# Counts range over orders of magnitude: what is equal is a factor, not a number of images.
_OF_ROW: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "classes, log10": lambda row: _log(row["n_classes"]),
    "images, log10": lambda row: _log(row["n_samples"]),
    "complexity of tasks": lambda row: row["complexity"],
}
# The variance of the slope is ten times that without the covariate: what is usually called collinear.
STRONG = 0.9


def covariates_of(datasets: Sequence[dict[str, Any]]) -> tuple[Covariate, ...]:
    """The covariates of data sets, and why some cannot be held fixed.

    Args:
        datasets: Rows of the query for diversity.
    """
    return tuple(_covariate(name, datasets) for name in _OF_ROW)


def _covariate(name: str, datasets: Sequence[dict[str, Any]]) -> Covariate:
    given = {row["dataset_id"]: _OF_ROW[name](row) for row in datasets}
    values = {key: value for key, value in given.items() if value is not None and math.isfinite(value)}
    if missing := [row["dataset"] for row in datasets if row["dataset_id"] not in values]:
        return Covariate(name, values, math.nan, f"not known of {', '.join(missing)}")
    numbers = np.array(list(values.values()), dtype=np.float64)
    if not len(numbers) or np.ptp(numbers) <= 1e-12 * abs(numbers).max():
        return Covariate(name, values, math.nan, "the same for all data sets")
    diversity = np.array([row["diversity"] for row in datasets], dtype=np.float64)
    r = float(np.corrcoef(numbers, diversity)[0, 1]) if np.ptp(diversity) > 0 else math.nan
    found = Covariate(name, values, r)
    reason = "changes with diversity exactly, so that they cannot be told apart" if found.is_confounded else None
    return Covariate(name, values, r, reason)


def adjusted_slopes(
    points: Sequence[Point], covariates: Sequence[Covariate], families: Sequence[str] | None
) -> tuple[AdjustedSlope, ...]:
    """The slope over diversity beside each covariate, and beside all that can be held fixed together.

    Args:
        points: The data sets of a configuration.
        covariates: The covariates.
        families: Family of each point, None where each is its own.
    """
    usable = [one for one in covariates if one.reason is None]
    sets = [(one,) for one in covariates] + ([tuple(usable)] if len(usable) > 1 else [])
    return tuple(_adjusted(points, chosen, families) for chosen in sets)


def _adjusted(points: Sequence[Point], chosen: tuple[Covariate, ...], families: Sequence[str] | None) -> AdjustedSlope:
    names = tuple(one.name for one in chosen)
    if reasons := [one.reason for one in chosen if one.reason is not None]:
        return AdjustedSlope(names, None, reasons[0])
    columns = {one.name: [one.values[point.dataset_id] for point in points] for one in chosen}
    x, y = [point.diversity for point in points], [point.value for point in points]
    try:
        return AdjustedSlope(names, regress(x, y, covariates=columns, clusters=families))
    except DataError as error:
        return AdjustedSlope(names, None, str(error))


def covariate_notes(covariates: Sequence[Covariate], n: int) -> list[str]:
    """What cannot be told from diversity, in sentences."""
    notes = []
    for one in covariates:
        if one.is_confounded:
            notes.append(
                f"Confounded: diversity and {one.name} change together exactly over {n} data sets (r = {one.r:+.3f}); "
                "these data cannot say which of both the metric follows. Add data sets in which they differ."
            )
        elif one.reason is None and one.r**2 > STRONG:
            notes.append(
                f"Diversity and {one.name} change together (r = {one.r:+.3f}): with one held fixed, the interval of "
                f"the other's slope is {1 / math.sqrt(1 - one.r**2):.0f} times as wide or more."
            )
    return notes


def _log(count: int | None) -> float | None:
    return math.log10(count) if count else None
