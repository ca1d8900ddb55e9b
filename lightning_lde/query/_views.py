"""DuckDB views over the files of a snapshot, named after the tables."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from lightning_lde.lake import LakeStorage, Snapshot
from lightning_lde.schema import CONTENT_TABLES, TABLES, RunStatus, arrow_schema

if TYPE_CHECKING:
    import duckdb

STORED = "stored"
"""The DuckDB schema with the rows as they are stored, every state of a run and every repetition."""

HEARTBEATS_UNTIL_LOST = 3

_SAME_ROW = {
    "embeddings": ("dataset_config_id, probe_id, method, task_seed, task_index", "recorded_at"),
    "links": ("source_id, relation, target_id", "recorded_at"),
    "params": ("config_id, key", "type, value_text"),
}
"""Tables that several runs may write the same row of: the columns that tell rows apart, and which row is shown."""


def tables_of(query: str) -> list[str]:
    """Tables that a query may read: those it names and what their views need, or all where it names none."""
    named = [table for table in TABLES if re.search(rf"\b{table}\b", query, re.IGNORECASE)]
    if "metrics" in named and "resumes" not in named:
        named.append("resumes")
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
    local = [place for path in paths if (place := storage.store.local_path(path)) is not None]
    if len(local) == len(paths):
        files = ", ".join(map(_literal, local))
        # union_by_name keeps columns that a newer writer added.
        source = f"read_parquet([{files}], union_by_name=true, hive_partitioning=false)"
    else:
        source = f"remote_{table}"
        connection.register(source, _arrow_dataset(storage, paths))
    return f"{empty} union all by name select * from {source}"


def _arrow_dataset(storage: LakeStorage, paths: list[str]) -> object:
    import pyarrow.dataset as ds

    filesystem, root = storage.store.arrow_filesystem()
    factory = ds.FileSystemDatasetFactory(filesystem, [f"{root}/{path}" for path in paths], ds.ParquetFileFormat())
    return factory.finish(factory.inspect(promote_options="permissive"))


def _logical_rows(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, table: str) -> str:
    if table == "runs":
        return _present_runs()
    if table == "metrics" and snapshot.paths("resumes"):
        return _valid_points()
    if table in CONTENT_TABLES:
        return _distinct_content(connection, table, CONTENT_TABLES[table])
    if table in _SAME_ROW:
        same, first = _SAME_ROW[table]
        return f"""
            select * from {STORED}.{table}
            qualify row_number() over (partition by {same} order by {first}) = 1"""
    return f"select * from {STORED}.{table}"


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
    """Points without those that a run had recorded after the checkpoint from which it later went on."""
    # The points of the checkpoint's own step may have been logged before it or after it: the later ones count.
    return f"""
        with resume as (select *, coalesce(global_step, step) as moment from {STORED}.resumes),
        point as (select *, coalesce(global_step, step) as moment from {STORED}.metrics),
        again as (
            select distinct run_id, segment, name, context, dataloader_idx, point.moment
            from point join resume using (run_id, segment) where point.moment = resume.moment)
        select point.* exclude (moment) from point
        where not (
            (context is null or context in ('train', 'val'))
            and exists (
                select 1 from resume
                where resume.run_id = point.run_id and resume.segment > point.segment and point.moment > resume.moment))
        and not exists (
            select 1 from again
            where again.run_id = point.run_id and again.segment > point.segment and again.moment = point.moment
              and again.name = point.name and again.context is not distinct from point.context
              and again.dataloader_idx is not distinct from point.dataloader_idx)"""


def _distinct_content(connection: duckdb.DuckDBPyConnection, table: str, key: str) -> str:
    # Every run writes the rows of its content; facts that a later row adds (a diversity) fill the gaps of earlier ones.
    # The files' own columns, not the schema's: a newer writer has more of them.
    stored = [row[0] for row in connection.execute(f"describe {STORED}.{table}").fetchall()]
    columns = [_name(name) for name in stored if name not in {key, "recorded_at"}]
    newest = ", ".join(f"arg_max({name}, recorded_at) as {name}" for name in columns)
    return f"select {key}, min(recorded_at) as recorded_at, {newest} from {STORED}.{table} group by {key}"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
