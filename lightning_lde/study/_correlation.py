"""The study's question, answered from a lake: does a metric rise with diversity, and for whom more?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lightning_lde.errors import DataError
from lightning_lde.query import Lake
from lightning_lde.schema import utc_now
from lightning_lde.statistics import (
    Correlation,
    DependentDifference,
    compare_dependent,
    correlate,
    holm,
    n_required,
    random_effects,
)
from lightning_lde.study._notes import bound_notes, probe_notes, settings_note
from lightning_lde.study._queries import ask, diversity_sql, effects_sql, results_sql, settings_sql
from lightning_lde.study._results import Comparison, ConfigurationResult, Effect, EffectResult, Point, StudyAnalysis

MINIMUM_DATASETS = 4
UNTAGGED = "none"

_Key = tuple[str, int | None, int, int]
_Rows = Sequence[dict[str, Any]]


def analyse(lake: Lake, *, project: str, metric: str = "accuracy", settings_id: str | None = None) -> StudyAnalysis:
    """Correlate a metric with diversity over the data sets of a project, for one of its settings.

    Args:
        lake: The lake.
        project: The project.
        metric: ``"accuracy"`` or ``"loss"``.
        settings_id: Which runs: an id of ``StudySettings``, the beginning of one, or ``"none"`` for runs without
            that tag. By default the newest id of the project, and runs without where it has no id.

    Raises:
        DataError: If fewer than four data sets have both a diversity and results, or the settings are not there.
    """
    settings = ask(lake, "settings of the project", settings_sql(project))
    known = [row["settings_id"] for row in settings.rows]
    taken = _chosen(known, settings_id, project)
    others = tuple(one for one in known if one != taken)
    results = ask(lake, "metric per data set and configuration", results_sql(project, metric, taken))
    diversity = ask(lake, "diversity per data set", diversity_sql(project, taken))
    effects = ask(lake, "MAML minus pretraining on the same tasks", effects_sql(project, metric, taken))
    comparable = [row for row in diversity.rows if row["is_comparable"]]
    notes = [settings_note(taken, others), *probe_notes(results.rows, diversity.rows)]
    configurations = _correlations(results.rows, {row["dataset_id"]: row["diversity"] for row in comparable}, notes)
    if not configurations:
        raise DataError(
            f"project {project!r} in {lake.url} has {len(comparable)} data sets with a diversity and results; "
            f"a correlation needs {MINIMUM_DATASETS}: run `python tasks/study.py --help`. " + " ".join(notes)
        )
    return StudyAnalysis(
        lake=lake.url,
        project=project,
        metric=metric,
        made_at=utc_now(),
        settings_id=taken,
        other_settings=others,
        datasets=tuple(comparable),
        configurations=configurations,
        comparisons=_comparisons(configurations, notes),
        effects=_effects(effects.rows, notes),
        queries=(settings, results, diversity, effects),
        notes=tuple(notes),
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


def _chosen(known: list[str | None], wanted: str | None, project: str) -> str | None:
    if wanted is None:
        return known[0] if known else None
    fitting = [one for one in known if (one is None and wanted == UNTAGGED) or (one or "").startswith(wanted)]
    if len(fitting) != 1:
        there = ", ".join(one or UNTAGGED for one in known) or "no evaluated runs"
        raise DataError(f"settings {wanted!r} mean {len(fitting)} of project {project!r}; it has: {there}")
    return fitting[0]


def _correlations(rows: _Rows, diversity: dict[str, float], notes: list[str]) -> tuple[ConfigurationResult, ...]:
    labels = _labels(rows)
    found: dict[_Key, tuple[tuple[Point, ...], Correlation]] = {}
    for key, group in _by_configuration([row for row in rows if row["dataset_id"] in diversity]).items():
        points = tuple(_point(row, diversity) for row in group if _is_finite(row["value"]))
        notes += _not_finite(labels[key], [row for row in group if not _is_finite(row["value"])], "the mean")
        if len(points) < MINIMUM_DATASETS:
            notes.append(f"{labels[key]} is left out: it has {len(points)} data sets, a correlation needs 4.")
            continue
        try:
            found[key] = points, correlate([one.diversity for one in points], [one.value for one in points])
        except DataError as error:
            notes.append(f"{labels[key]} is left out: {error}")
    notes += bound_notes([len(points) for points, _ in found.values()])
    corrected = holm([correlation.p_permutation for _, correlation in found.values()])
    return tuple(
        ConfigurationResult(labels[key], *key, points, correlation, p_holm, _n_required(correlation.r))
        for (key, (points, correlation)), p_holm in zip(found.items(), corrected, strict=True)
    )


def _comparisons(configurations: tuple[ConfigurationResult, ...], notes: list[str]) -> tuple[Comparison, ...]:
    """Each MAML configuration against pretraining on tasks of the same size."""
    found: list[tuple[str, str, DependentDifference]] = []
    for base in (one for one in configurations if one.method.startswith("pretraining")):
        for result in (one for one in configurations if one.method.startswith("maml")):
            if (base.ways, base.shots) == (result.ways, result.shots):
                try:
                    found.append((result.label, base.label, _difference(result, base)))
                except DataError as error:
                    notes.append(f"{result.label} against {base.label} is left out: {error}")
    corrected = holm([difference.p_williams for _, _, difference in found])
    return tuple(Comparison(*one, p_holm) for one, p_holm in zip(found, corrected, strict=True))


def _difference(result: ConfigurationResult, base: ConfigurationResult) -> DependentDifference:
    """Williams's test over the data sets that both configurations have."""
    values = {point.dataset_id: point.value for point in base.points}
    shared = [point for point in result.points if point.dataset_id in values]
    found = compare_dependent(
        [point.diversity for point in shared],
        [point.value for point in shared],
        [values[point.dataset_id] for point in shared],
    )
    if not _is_finite(found.p_williams):
        raise DataError(f"Williams's p is {found.p_williams}, the correlations are perfect; measure more data sets.")
    return found


def _effects(rows: _Rows, notes: list[str]) -> tuple[EffectResult, ...]:
    found = []
    labels = _labels(rows)
    for key, group in _by_configuration(rows).items():
        label = f"{labels[key]} minus pretraining"
        finite = [row for row in group if _is_finite(row["difference"])]
        notes += _not_finite(label, [row for row in group if row not in finite], "the difference")
        # A single task, or equal differences, say nothing of the spread.
        if flat := [row["dataset"] for row in finite if not row["variance"]]:
            notes.append(f"{label}: {', '.join(flat)} left out of the mean, no variance over tasks.")
        effects = tuple(
            Effect(row["dataset_id"], row["dataset"], row["difference"], row["variance"], row["n_tasks"])
            for row in finite
            if row["variance"]
        )
        if len(effects) >= 2:
            pooled = random_effects([effect.difference for effect in effects], [effect.variance for effect in effects])
            found.append(EffectResult(labels[key], effects, pooled))
    return tuple(found)


def _by_configuration(rows: _Rows) -> dict[_Key, list[dict[str, Any]]]:
    return {key: list(group) for key, group in groupby(rows, key=_key)}


def _key(row: dict[str, Any]) -> _Key:
    return row["method"], row["inner_steps"], row["ways"], row["shots"]


def _labels(rows: _Rows) -> dict[_Key, str]:
    """Names of configurations, with the size of the tasks where it differs between them."""
    keys = {_key(row) for row in rows}
    differ = len({key[2:] for key in keys}) > 1
    return {key: configuration_label(*key[:2]) + f" ({key[2]}-way {key[3]}-shot)" * differ for key in keys}


def _point(row: dict[str, Any], diversity: dict[str, float]) -> Point:
    return Point(
        dataset_id=row["dataset_id"],
        dataset=row["dataset"],
        diversity=diversity[row["dataset_id"]],
        value=row["value"],
        sd=math.nan if row["sd"] is None else row["sd"],
        n_tasks=row["n_tasks"],
        n_runs=row["n_runs"],
    )


def _not_finite(label: str, rows: _Rows, what: str) -> list[str]:
    return [f"{label}: {', '.join(row['dataset'] for row in rows)} left out, {what} is no number."] if rows else []


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _n_required(r: float) -> int | None:
    return n_required(r) if 1e-3 < abs(r) < 1 else None
