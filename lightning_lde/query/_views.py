"""DuckDB views over the files of a snapshot, named after the tables."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_lde.lake import LakeStorage, Snapshot, quoted
from lightning_lde.query._attempts import chain_of_attempts
from lightning_lde.query._sources import Sources
from lightning_lde.schema import CONTENT_TABLES, HEARTBEATS_UNTIL_LOST, TABLES, RunStatus

if TYPE_CHECKING:
    import duckdb

STORED = "stored"
"""The DuckDB schema with the rows as they are stored, every state of a run and every repetition."""

_ONE_OF = {
    "artifacts": ("run_id, segment, path, object_id", "recorded_at"),
    "embeddings": ("dataset_config_id, probe_id, method, task_seed, task_index, half", "recorded_at"),
    "links": ("source_id, relation, target_id", "recorded_at"),
    "params": ("config_id, key", "type, value_text"),
    "runs": ("run_id", "segment desc, revision desc"),
}
"""Tables with several rows of which one is shown: the columns that tell apart what they are about, and their order."""


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
    sources = Sources(connection, storage, snapshot)
    connection.execute(f"create schema {STORED}")
    for table in tables:
        connection.execute(f"create view {STORED}.{table} as {sources.all(table)}")
    for table in tables:
        connection.execute(f"create view {table} as {_logical_rows(sources, table)}")


def _logical_rows(sources: Sources, table: str) -> str:
    if table == "runs":
        return _with_lost(_one_of(sources, table))
    if table == "metrics" and sources.has("resumes"):
        return _valid_points()
    if table == "artifacts" and sources.has("placements"):
        return _placed_artifacts(sources)
    if table in CONTENT_TABLES or table in _ONE_OF:
        return _one_of(sources, table)
    return f"select * from {STORED}.{table}"


def _one_of(sources: Sources, table: str) -> str:
    """One row for each thing that a table is about.

    What was compacted is known to be so by itself, which spares comparing all of it. Other rows may be about the same
    things as rows of cold files; then both are looked at together.
    """
    alone, together = sources.apart(table)
    if together is None:
        return f"select * from ({alone})"
    columns = sources.columns(f"{STORED}.{table}") if table in CONTENT_TABLES else []
    if alone is None:
        return _reduced(table, f"({together})", columns)
    first = (CONTENT_TABLES[table] if table in CONTENT_TABLES else _ONE_OF[table][0]).split(",")[0]
    met = f"(select distinct {first} from ({together})) met on met.{first} is not distinct from one.{first}"
    both = f"({together} union all by name select * from ({alone}) one semi join {met})"
    return f"""
        select * from ({alone}) one anti join {met}
        union all by name
        {_reduced(table, both, columns)}"""


def _reduced(table: str, rows: str, columns: Sequence[str]) -> str:
    if table in CONTENT_TABLES:
        return _newest_facts(CONTENT_TABLES[table], rows, columns)
    same, first = _ONE_OF[table]
    chosen, order = "*", f"partition by {same} order by {first}"
    if table == "artifacts":
        # A file whose chunks were about to be deleted is stored once more, by another recipe.
        last = (
            f"last_value(recipe ignore nulls) over ({order} rows between unbounded preceding and unbounded following)"
        )
        chosen = f"* replace ({last} as recipe)"
    return f"select {chosen} from {rows} qualify row_number() over ({order}) = 1"


def _newest_facts(key: str, rows: str, columns: Sequence[str]) -> str:
    # Every run writes the rows of its content; facts that a later row adds (a diversity) fill the gaps of earlier ones.
    # The files' own columns, not the schema's: a newer writer has more of them.
    facts = (f"arg_max({quoted(name)}, recorded_at) as {quoted(name)}" for name in columns)
    newest = {name: fact for name, fact in zip(columns, facts, strict=True) if name not in {key, "recorded_at"}}
    return f"select {', '.join([key, 'min(recorded_at) as recorded_at', *newest.values()])} from {rows} group by {key}"


def _placed_artifacts(sources: Sources) -> str:
    """Files with the tier that they are in: a file that was stored again after it was moved is where it was stored."""
    same = "run_id, path, object_id"
    return f"""
        with placed as (
            select {same}, arg_max(tier, recorded_at) as tier, max(recorded_at) as moved_at
            from {STORED}.placements group by all),
        stored as (select {same}, max(recorded_at) as stored_at from {STORED}.artifacts group by all),
        present as (select {same}, tier from placed join stored using ({same}) where moved_at >= stored_at)
        select a.* replace (coalesce(p.tier, a.tier) as tier)
        from ({_one_of(sources, "artifacts")}) a
        left join present p on (p.run_id, p.path, p.object_id) = (a.run_id, a.path, a.object_id)"""


def _with_lost(rows: str) -> str:
    now_us = time.time_ns() // 1000
    silence_s = f"({now_us} - epoch_us(heartbeat_at)) / 1e6"
    return f"""
        select * replace (
            case when status = '{RunStatus.RUNNING}' and {silence_s} > {HEARTBEATS_UNTIL_LOST} * heartbeat_every_s
                 then '{RunStatus.LOST}' else status end as status)
        from ({rows})"""


def _valid_points() -> str:
    """Points without those of attempts that were given up: a run went on from a checkpoint before them.

    An attempt is what one process, or one fit, recorded from its row in ``resumes`` on. The chain leads from the newest
    attempt of a run to the one whose checkpoint it began with, and so on; of each, what came before that checkpoint
    counts. Lightning hands the values of a step to loggers after it has saved a checkpoint: these count as well,
    unless they were logged again. Validations and tests that were called for themselves always count.
    """
    return f"""
        with recursive {chain_of_attempts(f"{STORED}.resumes")},
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
