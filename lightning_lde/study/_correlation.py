"""The study's question, answered from a lake: does a metric rise with diversity, and for whom more?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from lightning_lde.errors import DataError
from lightning_lde.query import Lake
from lightning_lde.schema import utc_now
from lightning_lde.statistics import (
    Correlation,
    DependentDifference,
    Heterogeneity,
    compare_dependent,
    correlate,
    holm,
    n_required,
    random_effects,
)
from lightning_lde.study._queries import QueryResult, ask, diversity_sql, effects_sql, results_sql

MINIMUM_DATASETS = 4


@dataclass(frozen=True)
class Point:
    """One data set under one configuration: its diversity and its mean metric over tasks and runs."""

    dataset: str
    diversity: float
    value: float
    sd: float
    n_tasks: int
    n_runs: int


@dataclass(frozen=True)
class ConfigurationResult:
    """A configuration's correlation over data sets.

    Attributes:
        label: The configuration's name for people.
        method: The column ``episodes.method``.
        inner_steps: The column ``episodes.inner_steps``.
        points: One per data set.
        correlation: Slope, R² and their uncertainty; n is the number of data sets.
        p_holm: The permutation p, corrected by Holm for the number of configurations.
        n_required: Data sets for 80 % power at the R² that was found.
    """

    label: str
    method: str
    inner_steps: int | None
    points: tuple[Point, ...]
    correlation: Correlation
    p_holm: float
    n_required: int | None


@dataclass(frozen=True)
class Comparison:
    """Whether one configuration's metric rises more with diversity than the other's."""

    first: str
    second: str
    difference: DependentDifference


@dataclass(frozen=True)
class Effect:
    """MAML minus pretraining on one data set, over shared tasks."""

    dataset: str
    difference: float
    variance: float
    n_tasks: int


@dataclass(frozen=True)
class EffectResult:
    """MAML minus pretraining over all data sets, and how much it differs between them."""

    label: str
    effects: tuple[Effect, ...]
    heterogeneity: Heterogeneity


@dataclass(frozen=True)
class StudyAnalysis:
    """All figures of a study, with the queries they came from.

    Attributes:
        lake: The lake's address.
        project: The project.
        metric: ``"accuracy"`` or ``"loss"``.
        made_at: When.
        datasets: Rows of the diversity query.
        configurations: Correlation per configuration.
        comparisons: Each MAML configuration against pretraining.
        effects: MAML minus pretraining per data set.
        queries: What was asked of the lake.
    """

    lake: str
    project: str
    metric: str
    made_at: datetime
    datasets: tuple[dict[str, Any], ...]
    configurations: tuple[ConfigurationResult, ...]
    comparisons: tuple[Comparison, ...]
    effects: tuple[EffectResult, ...]
    queries: tuple[QueryResult, ...]


def analyse(lake: Lake, *, project: str, metric: str = "accuracy") -> StudyAnalysis:
    """Correlate a metric with diversity over the data sets of a project.

    Args:
        lake: The lake.
        project: The project.
        metric: ``"accuracy"`` or ``"loss"``.

    Raises:
        DataError: If fewer than four data sets have both a diversity and results.
    """
    results = ask(lake, "metric per data set and configuration", results_sql(project, metric))
    diversity = ask(lake, "diversity per data set", diversity_sql(project))
    effects = ask(lake, "MAML minus pretraining on the same tasks", effects_sql(project, metric))
    configurations = _correlations(results.rows, {row["dataset_id"]: row["diversity"] for row in diversity.rows})
    if not configurations:
        raise DataError(
            f"project {project!r} in {lake.url} has {len(diversity.rows)} data sets with a diversity and results; "
            f"a correlation needs {MINIMUM_DATASETS}: run `python tasks/study.py --help`"
        )
    return StudyAnalysis(
        lake=lake.url,
        project=project,
        metric=metric,
        made_at=utc_now(),
        datasets=tuple(diversity.rows),
        configurations=configurations,
        comparisons=_comparisons(configurations),
        effects=_effects(effects.rows),
        queries=(results, diversity, effects),
    )


def configuration_label(method: str, inner_steps: int | None) -> str:
    """A configuration's name for people.

    Example:
        >>> configuration_label("maml-first-order", 5)
        'MAML first order, 5 steps'
    """
    words = {
        "maml-first-order": "MAML first order",
        "maml-higher-order": "MAML higher order",
        "pretraining+logistic-regression": "Pretraining + logistic regression",
    }
    name = words.get(method, method)
    return name if inner_steps is None else f"{name}, {inner_steps} steps"


def _correlations(rows: list[dict[str, Any]], diversity: dict[str, float]) -> tuple[ConfigurationResult, ...]:
    groups = _by_configuration([row for row in rows if row["dataset_id"] in diversity])
    enough = {key: group for key, group in groups.items() if len(group) >= MINIMUM_DATASETS}
    correlations = {
        key: correlate([diversity[row["dataset_id"]] for row in group], [row["value"] for row in group])
        for key, group in enough.items()
    }
    corrected = holm([correlation.p_permutation for correlation in correlations.values()]) if enough else []
    return tuple(
        ConfigurationResult(
            label=configuration_label(*key),
            method=key[0],
            inner_steps=key[1],
            points=tuple(_point(row, diversity) for row in group),
            correlation=correlations[key],
            p_holm=p_holm,
            n_required=_n_required(correlations[key].r),
        )
        for (key, group), p_holm in zip(enough.items(), corrected, strict=True)
    )


def _by_configuration(
    rows: list[dict[str, Any]],
) -> dict[tuple[str, int | None], list[dict[str, Any]]]:
    def key(row: dict[str, Any]) -> tuple[str, int | None]:
        return row["method"], row["inner_steps"]

    return {name: list(group) for name, group in groupby(rows, key=key)}


def _point(row: dict[str, Any], diversity: dict[str, float]) -> Point:
    return Point(
        dataset=row["dataset"],
        diversity=diversity[row["dataset_id"]],
        value=row["value"],
        sd=math.nan if row["sd"] is None else row["sd"],
        n_tasks=row["n_tasks"],
        n_runs=row["n_runs"],
    )


def _n_required(r: float) -> int | None:
    return n_required(r) if 1e-3 < abs(r) < 1 else None


def _comparisons(configurations: tuple[ConfigurationResult, ...]) -> tuple[Comparison, ...]:
    """Each MAML configuration against pretraining, over the data sets that both have."""
    bases = [result for result in configurations if result.method.startswith("pretraining")]
    found = []
    for base in bases:
        for result in (one for one in configurations if one.method.startswith("maml")):
            values = {point.dataset: point.value for point in base.points}
            shared = [point for point in result.points if point.dataset in values]
            if len(shared) >= MINIMUM_DATASETS:
                difference = compare_dependent(
                    [point.diversity for point in shared],
                    [point.value for point in shared],
                    [values[point.dataset] for point in shared],
                )
                found.append(Comparison(result.label, base.label, difference))
    return tuple(found)


def _effects(rows: list[dict[str, Any]]) -> tuple[EffectResult, ...]:
    found = []
    for key, group in _by_configuration(rows).items():
        effects = tuple(
            Effect(row["dataset"], row["difference"], row["variance"], row["n_tasks"])
            for row in group
            if row["variance"]  # a single task, or equal differences, say nothing of the spread
        )
        if len(effects) >= 2:
            pooled = random_effects([effect.difference for effect in effects], [effect.variance for effect in effects])
            found.append(EffectResult(configuration_label(*key), effects, pooled))
    return tuple(found)
