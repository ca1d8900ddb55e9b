"""What the rows of a table's file name and define, kept file by file: files come and go while a check looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lightning_lde.lake.check._parquet_file import Looked, Problem
from lightning_lde.schema import CONTENT_TABLES, HEARTBEATS_UNTIL_LOST, RunStatus

YOUNG = timedelta(hours=1)
"""What somebody may still be busy with."""

_STATE = ("segment", "revision", "status", "heartbeat_at", "heartbeat_every_s")

REFERENCES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "runs": {
        "dataset_config_id": ("dataset_configs",),
        "pipeline_config_id": ("pipeline_configs",),
        "environment_id": ("environments",),
        "code_id": ("code",),
    },
    "dataset_configs": {"dataset_id": ("datasets",)},
    "pipeline_configs": {"pipeline_id": ("pipelines",)},
    "params": {"config_id": ("pipeline_configs", "dataset_configs")},
}
"""By table and column the tables of which one has the row that is named."""

OF_RUNS = ("metrics", "episodes", "artifacts", "events", "resumes")
"""Tables whose rows are of a run."""

ASKED: Mapping[str, tuple[str, ...]] = {
    "runs": ("run_id", *_STATE, *REFERENCES["runs"], "seeds"),
    "artifacts": ("run_id", "path", "size_bytes", "object_id", "recipe"),
    "resumes": ("run_id", "segment", "from_segment"),
    "datasets": ("dataset_id", "manifest_object"),
    "code": ("code_id", "snapshot_object"),
}
"""Columns that are asked for row by row."""

DISTINCT: Mapping[str, tuple[str, ...]] = {
    "metrics": ("run_id",),
    "episodes": ("run_id",),
    "events": ("run_id",),
    "dataset_configs": ("dataset_config_id", "dataset_id"),
    "pipeline_configs": ("pipeline_config_id", "pipeline_id"),
    "pipelines": ("pipeline_id",),
    "environments": ("environment_id",),
    "params": ("config_id",),
}
"""Columns of which the different values are asked for."""


class State(NamedTuple):
    """A state of a run, and the ids that it names, in the order of ``REFERENCES["runs"]``."""

    segment: int
    revision: int
    status: str
    heartbeat_at: datetime | None
    heartbeat_every_s: float | None
    named: tuple[str | None, ...] = ()

    def is_alive(self, now: datetime) -> bool:
        """Whether the run goes on, so that more of it may come."""
        if self.status != RunStatus.RUNNING or self.heartbeat_at is None:
            return False
        silence = timedelta(seconds=HEARTBEATS_UNTIL_LOST * (self.heartbeat_every_s or 0.0))
        return self.heartbeat_at + max(silence, YOUNG) > now


class Named(NamedTuple):
    """An object that a row names.

    Attributes:
        what: The run and path of an artifact, or the table and column of the row.
        object_id: The object.
        recipe: How it is put together; None for a whole one.
        size_bytes: Its size, None where the row does not say it.
    """

    what: tuple[str, str]
    object_id: str
    recipe: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class FileFacts:
    """What one file holds.

    Attributes:
        table: Its table.
        rows: Its rows.
        size_bytes: Its size.
        problems: What is wrong with it.
        defined: Ids of the rows of a table of content.
        wanted: Ids by the tables of which one should have them; of runs the states have them.
        runs: Runs that rows are of; of the table ``runs`` none.
        states: The newest state of each run.
        segments: Segments of which there are states, by run.
        resumes: Run, segment, and the segment it goes on from.
        objects: Objects that are named.
    """

    table: str
    rows: int = 0
    size_bytes: int = 0
    problems: tuple[Problem, ...] = ()
    defined: frozenset[str] = frozenset()
    wanted: Mapping[tuple[str, ...], frozenset[str]] = field(default_factory=dict)
    runs: frozenset[str] = frozenset()
    states: Mapping[str, State] = field(default_factory=dict)
    segments: Mapping[str, frozenset[int]] = field(default_factory=dict)
    resumes: tuple[tuple[str, int, int], ...] = ()
    objects: tuple[Named, ...] = ()


def facts_of(table: str, looked: Looked, size_bytes: int) -> FileFacts:
    """What a file holds, from what a look into it brought.

    Args:
        table: Its table.
        looked: The look.
        size_bytes: Its size.
    """
    columns = looked.columns
    states, segments = _states(columns) if table == "runs" else ({}, {})
    links = REFERENCES.get(table, {}) if table != "runs" else {}
    return FileFacts(
        table=table,
        rows=looked.rows,
        size_bytes=size_bytes,
        problems=tuple(looked.problems),
        defined=_ids(columns, CONTENT_TABLES[table]) if table in CONTENT_TABLES else frozenset(),
        wanted={tables: _ids(columns, column) for column, tables in links.items()},
        runs=_ids(columns, "run_id") if table in OF_RUNS else frozenset(),
        states=states,
        segments=segments,
        resumes=tuple(_together(columns, ASKED["resumes"])) if table == "resumes" else (),
        objects=tuple(_objects(table, columns)),
    )


def _ids(columns: Mapping[str, list[Any]], name: str) -> frozenset[str]:
    return frozenset(value for value in columns.get(name, ()) if value)


def _together(columns: Mapping[str, list[Any]], names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Rows of some columns; null where the file lacks one."""
    n = max((len(columns[name]) for name in names if name in columns), default=0)
    return zip(*(columns.get(name) or [None] * n for name in names), strict=True)


def _states(columns: Mapping[str, list[Any]]) -> tuple[dict[str, State], dict[str, frozenset[int]]]:
    newest: dict[str, State] = {}
    segments: dict[str, set[int]] = {}
    for run_id, *values in _together(columns, ("run_id", *_STATE, *REFERENCES["runs"])):
        segment, revision, status, heartbeat_at, every_s, *named = values
        state = State(segment, revision, status, heartbeat_at, every_s, tuple(named))
        segments.setdefault(run_id, set()).add(state.segment)
        if run_id not in newest or newest[run_id][:2] <= state[:2]:
            newest[run_id] = state
    return newest, {run_id: frozenset(each) for run_id, each in segments.items()}


def _objects(table: str, columns: Mapping[str, list[Any]]) -> Iterator[Named]:
    if table == "artifacts":
        for run_id, path, size_bytes, object_id, recipe in _together(columns, ASKED["artifacts"]):
            yield Named((run_id, path), object_id, None if recipe in {None, "whole"} else recipe, size_bytes)
    elif table in {"datasets", "code"}:
        _, column = ASKED[table]
        for object_id in _ids(columns, column):
            yield Named((table, column), object_id)
    elif table == "runs":
        for seeds in set(columns.get("seeds", ())):
            if object_id := _random_state(seeds):
                yield Named(("runs", "seeds.random_state"), object_id)


def _random_state(seeds: str | None) -> str | None:
    import json

    try:
        found = json.loads(seeds or "null")
    except ValueError:
        return None
    value = found.get("random_state") if isinstance(found, dict) else None
    return value if isinstance(value, str) else None
