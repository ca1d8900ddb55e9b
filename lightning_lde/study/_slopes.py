"""Per configuration: how a metric changes with diversity over data sets, and how far that can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lightning_lde.errors import DataError
from lightning_lde.statistics import (
    Correlation,
    MixedRegression,
    Regression,
    benjamini_hochberg,
    correlate,
    holm,
    mixed_regression,
    regress,
)
from lightning_lde.study._covariates import adjusted_slopes
from lightning_lde.study._labels import Key, Rows, by_configuration, labels_of
from lightning_lde.study._notes import bound_notes, not_finite_notes
from lightning_lde.study._power import n_for
from lightning_lde.study._results import ConfigurationResult, Covariate, Point, is_finite, p_of_slope

MINIMUM_DATASETS = 4


@dataclass(frozen=True)
class Evidence:
    """What the lake says of one project's data sets.

    Attributes:
        results: Rows of the query for the metric per data set and configuration.
        runs: Rows of that for the metric per run.
        diversity: The diversity of each data set.
        covariates: What else data sets differ in.
        families: By data set its family; empty where each is its own.
    """

    results: Rows
    runs: Rows
    diversity: Mapping[str, float]
    covariates: Sequence[Covariate]
    families: Mapping[str, str]


def families_of(points: Sequence[Point], families: Mapping[str, str]) -> list[str] | None:
    """The family of each point, None where each is its own."""
    return [families[point.dataset_id] for point in points] if families else None


class Slope(NamedTuple):
    """Some data sets and the line through them; no regression where the metric does not vary."""

    points: tuple[Point, ...]
    correlation: Correlation
    regression: Regression | None


def configuration_results(evidence: Evidence, notes: list[str]) -> tuple[ConfigurationResult, ...]:
    """The slope of each configuration; what is left out is added to the notes."""
    labels = labels_of(evidence.results)
    found: dict[Key, Slope] = {}
    known = [row for row in evidence.results if row["dataset_id"] in evidence.diversity]
    for key, group in by_configuration(known).items():
        points = tuple(_point(row, evidence.diversity) for row in group if is_finite(row["value"]))
        left_out = [row["dataset"] for row in group if not is_finite(row["value"])]
        notes += not_finite_notes(labels[key], left_out, "the mean")
        if len(points) < MINIMUM_DATASETS:
            notes.append(f"{labels[key]} is left out: it has {len(points)} data sets, a correlation needs 4.")
            continue
        try:
            found[key] = slope_of(points, evidence.families)
        except DataError as error:
            notes.append(f"{labels[key]} is left out: {error}")
    notes += bound_notes([len(one.points) for one in found.values()])
    return _corrected(found, labels, evidence)


def slope_of(points: tuple[Point, ...], families: Mapping[str, str]) -> Slope:
    """The line through some data sets.

    Args:
        points: The data sets.
        families: By id of the data set its family; empty where each is its own.

    Raises:
        DataError: If there are fewer than four, or all have the same diversity.
    """
    x, y = [point.diversity for point in points], [point.value for point in points]
    found = correlate(x, y)
    # Without a spread of the metric there is a slope, which is 0, and no correlation.
    if math.isnan(found.r):
        return Slope(points, found, None)
    return Slope(points, found, regress(x, y, clusters=families_of(points, families)))


def _corrected(
    found: Mapping[Key, Slope], labels: Mapping[Key, str], evidence: Evidence
) -> tuple[ConfigurationResult, ...]:
    values = [p_of_slope(one.correlation, one.regression) for one in found.values()]
    results = []
    for (key, one), p_holm, p_bh in zip(found.items(), holm(values), benjamini_hochberg(values), strict=True):
        mixed, reason = _mixed(key, one.points, evidence.runs)
        results.append(
            ConfigurationResult(
                labels[key],
                *key,
                points=one.points,
                correlation=one.correlation,
                regression=one.regression,
                p_holm=p_holm,
                p_benjamini_hochberg=p_bh,
                adjusted=adjusted_slopes(one.points, evidence.covariates, families_of(one.points, evidence.families)),
                mixed=mixed,
                mixed_reason=reason,
                n_required=n_for(one.correlation.r),
            )
        )
    return tuple(results)


def _mixed(key: Key, points: Sequence[Point], runs: Rows) -> tuple[MixedRegression | None, str | None]:
    diversity = {point.dataset_id: point.diversity for point in points}
    rows = [row for row in by_configuration(runs).get(key, []) if row["dataset_id"] in diversity]
    groups = [row["dataset_id"] for row in rows]
    try:
        return mixed_regression([diversity[one] for one in groups], [row["value"] for row in rows], groups), None
    except DataError as error:
        return None, str(error)


def _point(row: dict[str, Any], diversity: Mapping[str, float]) -> Point:
    return Point(
        dataset_id=row["dataset_id"],
        dataset=row["dataset"],
        diversity=diversity[row["dataset_id"]],
        value=row["value"],
        sd=math.nan if row["sd"] is None else row["sd"],
        n_tasks=row["n_tasks"],
        n_runs=row["n_runs"],
    )
