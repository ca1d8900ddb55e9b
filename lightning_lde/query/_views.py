"""DuckDB views over the files of a snapshot, named after the tables."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from lightning_lde.lake import LakeStorage, Snapshot, parquet_source, quoted
from lightning_lde.schema import CONTENT_TABLES, HEARTBEATS_UNTIL_LOST, TABLES, RunStatus, arrow_schema

if TYPE_CHECKING:
    import duckdb

STORED = "stored"
"""The DuckDB schema with the rows as they are stored, every state of a run and every repetition."""

_SAME_ROW = {
    "artifacts": ("run_id, segment, path, object_id", "recorded_at"),
    "embeddings": ("dataset_config_id, probe_id, method, task_seed, task_index", "recorded_at"),
    "links": ("source_id, relation, target_id", "recorded_at"),
    "params": ("config_id, key", "type, value_text"),
}
"""Tables that several runs may write the same row of: the columns that tell rows apart, and which row is shown."""


def tables_of(query: str) -> list[str]:
    """Tables that a query may read: those it names and what their views need, or all where it names none."""
    named = [table for table in TABLES if re.search(rf"\b{table}\b", query, re.IGNORECASE)]
    if "metrics" in named:
        named += [table for table in ("resumes", "runs") if table not in named]
    if "artifacts" in named and "placements" not in named:
        named.append("placements")
    return named or list(TABLES)


def create_views(
    connection: duckdb.DuckDBPyConnection, storage: LakeStorage, snapshot: Snapshot, tables: list[str]
) -> None:
    """Make the views of some tables in a connection.

    Args:
        connection: An empty in-memory database.
        storage: The lake.
        snapshot: The files to read.
        tables: Names of tables.
    """
    connection.execute(f"create schema {STORED}")
    for table in tables:
        connection.register(f"empty_{table}", arrow_schema(table).empty_table())
        connection.execute(f"create view {STORED}.{table} as {_stored_rows(connection, storage, snapshot, table)}")
    for table in tables:
        connection.execute(f"create view {table} as {_logical_rows(connection, snapshot, table)}")


def _stored_rows(connection: duckdb.DuckDBPyConnection, storage: LakeStorage, snapshot: Snapshot, table: str) -> str:
    empty = f"select * from empty_{table}"
    paths = snapshot.paths(table)
    if not paths:
        return empty
    source = parquet_source(connection, f"remote_{table}", storage.store, paths)
    return f"{empty} union all by name select * from {source}"


def _logical_rows(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, table: str) -> str:
    if table == "runs":
        return _present_runs()
    if table == "metrics" and snapshot.paths("resumes"):
        return _valid_points()
    if table == "artifacts" and snapshot.paths("placements"):
        return _placed_artifacts()
    if table in CONTENT_TABLES:
        return _distinct_content(connection, table, CONTENT_TABLES[table])
    if table in _SAME_ROW:
        return _first_rows(table)
    return f"select * from {STORED}.{table}"


def _first_rows(table: str) -> str:
    same, first = _SAME_ROW[table]
    return f"select * from {STORED}.{table} qualify row_number() over (partition by {same} order by {first}) = 1"


def _placed_artifacts() -> str:
    """Files with the tier that they are in: a file that was stored again after it was moved is where it was stored."""
    same = "run_id, path, object_id"
    return f"""
        with placed as (
            select {same}, arg_max(tier, recorded_at) as tier, max(recorded_at) as moved_at
            from {STORED}.placements group by all),
        stored as (select {same}, max(recorded_at) as stored_at from {STORED}.artifacts group by all),
        present as (select {same}, tier from placed join stored using ({same}) where moved_at >= stored_at)
        select a.* replace (coalesce(p.tier, a.tier) as tier)
        from ({_first_rows("artifacts")}) a
        left join present p on (p.run_id, p.path, p.object_id) = (a.run_id, a.path, a.object_id)"""


def _present_runs() -> str:
    now_us = time.time_ns() // 1000
    silence_s = f"({now_us} - epoch_us(heartbeat_at)) / 1e6"
    return f"""
        select * replace (
            case when status = '{RunStatus.RUNNING}' and {silence_s} > {HEARTBEATS_UNTIL_LOST} * heartbeat_every_s
                 then '{RunStatus.LOST}' else status end as status)
        from {STORED}.runs
        qualify row_number() over (partition by run_id order by segment desc, revision desc) = 1"""


def _valid_points() -> str:
    """Points without those of attempts that were given up: a run went on from a checkpoint before them.

    An attempt is what one process, or one fit, recorded from its row in ``resumes`` on. The chain leads from the newest
    attempt of a run to the one whose checkpoint it began with, and so on; of each, what came before that checkpoint
    counts. Lightning hands the values of a step to loggers after it has saved a checkpoint: these count as well,
    unless they were logged again. Validations and tests that were called for themselves always count.
    """
    return f"""
        with recursive
        attempt as (select run_id, segment as first, from_segment, until, step from {STORED}.resumes),
        known as (select run_id, first from attempt union all select distinct run_id, -1 from attempt),
        parent as (
            select attempt.run_id, attempt.first, until, step, max(known.first) as before
            from attempt join known on known.run_id = attempt.run_id and known.first <= from_segment
            group by all),
        chain as (
            select run_id, max(first) as first, null::timestamptz as until, null::bigint as step, null::bigint as child
            from attempt group by run_id
            union all
            select parent.run_id, before, parent.until, parent.step, parent.first
            from chain join parent on parent.run_id = chain.run_id and parent.first = chain.first),
        fit as (
            select run_id, segment from {STORED}.metrics where run_id in (select run_id from attempt)
            except
            select run_id, segment from {STORED}.runs where stage in ('validate', 'test', 'predict')),
        place as (
            select fit.run_id, segment, max(known.first) as first
            from fit join known on known.run_id = fit.run_id and known.first <= segment
            group by all),
        cut as (
            select place.run_id, segment, until, step, child, chain.run_id is null as abandoned
            from place left join chain on chain.run_id = place.run_id and chain.first = place.first),
        again as (
            select distinct point.run_id, first, name, context, dataloader_idx, step
            from {STORED}.metrics point join place on place.run_id = point.run_id and place.segment = point.segment)
        select * from {STORED}.metrics anti join attempt using (run_id)
        union all by name
        select point.* from (select * from {STORED}.metrics semi join attempt using (run_id)) point
        left join cut on cut.run_id = point.run_id and cut.segment = point.segment
        left join again on again.run_id = point.run_id and again.first = cut.child and again.name = point.name
            and again.step = point.step and again.context is not distinct from point.context
            and again.dataloader_idx is not distinct from point.dataloader_idx and point.time > cut.until
        where cut.run_id is null
           or point.context = 'system'
           or (not abandoned and (
                cut.until is null or point.time <= cut.until or (point.step < cut.step and again.run_id is null)))"""


def _distinct_content(connection: duckdb.DuckDBPyConnection, table: str, key: str) -> str:
    # Every run writes the rows of its content; facts that a later row adds (a diversity) fill the gaps of earlier ones.
    # The files' own columns, not the schema's: a newer writer has more of them.
    stored = [row[0] for row in connection.execute(f"describe {STORED}.{table}").fetchall()]
    columns = [quoted(name) for name in stored if name not in {key, "recorded_at"}]
    newest = ", ".join(f"arg_max({name}, recorded_at) as {name}" for name in columns)
    return f"select {key}, min(recorded_at) as recorded_at, {newest} from {STORED}.{table} group by {key}"
