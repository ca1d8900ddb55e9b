"""The study's question, answered from a lake: does a metric rise with diversity, and for whom more?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.query import Lake
from lightning_lde.study._answer import AnalysisOptions, StudyAnalysis
from lightning_lde.study._comparisons import comparisons_of
from lightning_lde.study._covariates import covariate_notes, covariates_of
from lightning_lde.study._diversities import TaskDistances, task_distances
from lightning_lde.study._effects import effects_of
from lightning_lde.study._measures import embedded_measures, measures_of, rounded, stored_measures
from lightning_lde.study._notes import probe_notes, settings_note
from lightning_lde.study._power import needs_of
from lightning_lde.study._queries import (
    ask,
    diversity_sql,
    measures_sql,
    pairs_sql,
    results_sql,
    runs_sql,
    settings_sql,
)
from lightning_lde.study._slopes import MINIMUM_DATASETS, Evidence, configuration_results

UNTAGGED = "none"


def analyse(
    lake: Lake,
    *,
    project: str,
    metric: str = "accuracy",
    settings_id: str | None = None,
    options: AnalysisOptions | None = None,
) -> StudyAnalysis:
    """Correlate a metric with diversity over the data sets of a project, for one of its settings.

    The same lake gives the same figures to the last digit.

    Args:
        lake: The lake.
        project: The project.
        metric: ``"accuracy"`` or ``"loss"``.
        settings_id: Which runs: an id of ``StudySettings``, the beginning of one, or ``"none"`` for runs without
            that tag. By default the newest id of the project, and runs without where it has no id.
        options: Margin, smallest effect of interest, families of related data sets, probe.

    Raises:
        DataError: If fewer than four data sets have both a diversity and results, or the settings, the probe or a
            data set of a family are not there.
        ConfigurationError: If the margin is not above 0.
    """
    options = options or AnalysisOptions()
    if not options.margin > 0.0:
        raise ConfigurationError(f"margin={options.margin!r}, expected a number above 0 in the unit of the metric.")
    settings = ask(lake, "settings of the project", settings_sql(project))
    known = [row["settings_id"] for row in settings.rows]
    taken = _chosen(known, settings_id, project)
    others = tuple(one for one in known if one != taken)
    results = ask(lake, "metric per data set and configuration", results_sql(project, metric, taken))
    runs = ask(lake, "metric per run and configuration", runs_sql(project, metric, taken))
    measures = ask(lake, "diversity by every probe and method", measures_sql(project, taken))
    if options.probe_id is not None:
        _check_probe(options.probe_id, measures.rows)
    diversity = ask(lake, "diversity per data set", diversity_sql(project, taken, options.probe_id))
    comparable = _comparable(diversity.rows)
    notes = [settings_note(taken, others), *probe_notes(results.rows, diversity.rows)]
    covariates = covariates_of(comparable)
    evidence = Evidence(
        results.rows,
        runs.rows,
        {row["dataset_id"]: row["diversity"] for row in comparable},
        covariates,
        _families(options.families, comparable),
    )
    configurations = configuration_results(evidence, notes)
    if not configurations:
        raise DataError(
            f"project {project!r} in {lake.url} has {len(comparable)} data sets with a diversity and results; "
            f"a correlation needs {MINIMUM_DATASETS}: run `python tasks/study.py --help`. " + " ".join(notes)
        )
    notes += covariate_notes(covariates, len(comparable))
    pairs = ask(lake, "MAML and pretraining on the same tasks", pairs_sql(project, metric, taken))
    return StudyAnalysis(
        lake=lake.url,
        project=project,
        metric=metric,
        data_until=next(row["newest"] for row in settings.rows if row["settings_id"] == taken),
        options=options,
        settings_id=taken,
        other_settings=others,
        datasets=tuple(comparable),
        covariates=covariates,
        configurations=configurations,
        comparisons=comparisons_of(configurations, evidence.families, notes),
        effects=effects_of(pairs.rows, options.margin, notes),
        measures=measures_of(
            [*stored_measures(measures.rows), *embedded_measures(lake, project, comparable)],
            comparable,
            configurations,
            evidence.families,
        ),
        needs=needs_of(
            max(one.correlation.n for one in configurations), len(configurations), options.smallest_r_squared
        ),
        queries=(settings, results, runs, diversity, pairs, measures),
        run_ids=tuple(sorted({row["run_id"] for row in runs.rows})),
        notes=tuple(notes),
        distances=_distances(lake, project, comparable[0]["diversity_probe_id"]),
    )


def _chosen(known: list[str | None], wanted: str | None, project: str) -> str | None:
    if wanted is None:
        return known[0] if known else None
    fitting = [one for one in known if (one is None and wanted == UNTAGGED) or (one or "").startswith(wanted)]
    if len(fitting) != 1:
        there = ", ".join(one or UNTAGGED for one in known) or "no evaluated runs"
        raise DataError(f"settings {wanted!r} mean {len(fitting)} of project {project!r}; it has: {there}")
    return fitting[0]


def _check_probe(wanted: str, rows: Sequence[dict[str, Any]]) -> None:
    known = list(dict.fromkeys(row["diversity_probe_id"] or "" for row in rows))
    fitting = [one for one in known if one.startswith(wanted)]
    if len(fitting) != 1:
        raise DataError(
            f"probe {wanted!r} is the beginning of {len(fitting)} ids of probes whose diversity the data sets bear; "
            f"there are: {', '.join(known) or 'none'}"
        )


def _families(named: Mapping[str, str], datasets: Sequence[dict[str, Any]]) -> dict[str, str]:
    """By id of the data set its family; empty where none is named."""
    there = {row["dataset"] for row in datasets}
    if unknown := sorted(set(named) - there):
        raise DataError(f"no data set {unknown[0]!r} to be of a family; there are: {', '.join(sorted(there))}")
    if not named:
        return {}
    # A data set that is not named is a family of its own, whatever a named one is called.
    return {
        row["dataset_id"]: f"named {named[row['dataset']]}" if row["dataset"] in named else row["dataset_id"]
        for row in datasets
    }


def _comparable(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("diversity", "complexity")
    return [
        {**row, **{name: None if row[name] is None else rounded(row[name]) for name in names}}
        for row in rows
        if row["is_comparable"]
    ]


def _distances(lake: Lake, project: str, probe_id: str | None) -> TaskDistances | None:
    try:
        return task_distances(lake, project=project, probe_id=probe_id)
    except DataError:
        # A coefficient that was written without the embeddings it came from.
        return None
