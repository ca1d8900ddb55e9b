"""Figures of an analysis as plain words, and back in the lake that they were computed from, with links to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from lightning_lde.query import Lake
from lightning_lde.recording import add_results
from lightning_lde.schema import Link, Relation, Result, content_id, utc_now
from lightning_lde.study._answer import StudyAnalysis

KIND = "correlation"
# Whoever changes how figures are computed from the same inputs counts on: equal ids mean equal figures.
VERSION = 1
_NO_FIGURES = {"lake", "queries", "distances", "run_ids", "data_until"}


def analysis_figures(analysis: StudyAnalysis) -> dict[str, Any]:
    """All figures of an analysis as nested dicts and lists.

    Args:
        analysis: What ``analyse`` returned.

    Returns:
        The attributes of ``StudyAnalysis`` but the lake's address, the queries and the matrix of distances.
    """
    return {name: value for name, value in asdict(_without_matrix(analysis)).items() if name not in _NO_FIGURES} | {
        "p": {one.label: one.p for one in analysis.configurations},
        "change_over_range": {one.label: list(one.gain) for one in analysis.configurations},
    }


def result_id_of(analysis: StudyAnalysis) -> str:
    """The id of the figures: equal where the inputs, and what was decided beforehand, are equal."""
    return content_id("results", _facts(analysis))


def record_analysis(lake: Lake, analysis: StudyAnalysis) -> str:
    """Write the figures into the lake, linked to the runs, data sets and embeddings they were computed from.

    Figures that the lake holds already are not written again.

    Args:
        lake: The lake.
        analysis: What ``analyse`` returned.

    Returns:
        The id of the result.

    Raises:
        StoreError: If the lake cannot be written.
    """
    result_id = result_id_of(analysis)
    if lake.sql("select result_id from results where result_id = ?", [result_id]).num_rows:
        return result_id
    now = utc_now()
    links = [
        Link(
            source_kind="result", source_id=result_id, relation=Relation.DERIVED_FROM, target_kind=kind, target_id=name,
            recorded_at=now,
        )
        for kind, name in _origins(lake, analysis)
    ]  # fmt: skip
    row = Result(result_id=result_id, recorded_at=now, figures=analysis_figures(analysis), **_facts(analysis))
    # The row last: where it stands, its links do.
    add_results(lake.storage, "links", links, project=analysis.project)
    add_results(lake.storage, "results", [row], project=analysis.project)
    return result_id


def _facts(analysis: StudyAnalysis) -> dict[str, Any]:
    return {
        "kind": KIND,
        "project": analysis.project,
        "settings": {
            "metric": analysis.metric,
            "settings_id": analysis.settings_id,
            "version": VERSION,
            **asdict(analysis.options),
        },
        "inputs": {
            "runs": list(analysis.run_ids),
            "datasets": [[row["dataset_id"], row["diversity"], row["complexity"]] for row in analysis.datasets],
            "measures": [[one.probe_id, one.method, one.values] for one in analysis.measures],
        },
    }


def _origins(lake: Lake, analysis: StudyAnalysis) -> Iterator[tuple[str, str]]:
    """Kind and id of what the figures come from."""
    for run_id in analysis.run_ids:
        yield "run", run_id
    for row in analysis.datasets:
        yield "dataset", row["dataset_id"]
    embeddings = lake.sql(
        "select distinct dataset_config_id || '/' || probe_id as id from embeddings "
        "where list_contains($1, dataset_id) and list_contains($2, probe_id) order by id",
        [
            [row["dataset_id"] for row in analysis.datasets],
            sorted({one.probe_id for one in analysis.measures if one.probe_id is not None}),
        ],
    )
    for name in embeddings.column("id").to_pylist():
        yield "embeddings", name


def _without_matrix(analysis: StudyAnalysis) -> StudyAnalysis:
    # asdict copies what it meets: the distances of thousands of tasks need not be.
    return replace(analysis, distances=None, queries=())
