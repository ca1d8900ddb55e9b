"""Reads what the rules of the tiers ask: files of runs with their tier, and the states of the runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import StoreError
from lightning_lde.lake._scan import parquet_source
from lightning_lde.lake.stores import Store
from lightning_lde.lake.tiers._plan import Decision, FileKey, HeldFile, RunState, decide
from lightning_lde.schema import HEARTBEATS_UNTIL_LOST, RunStatus, arrow_schema, utc_now
from lightning_lde.tiering import RunFacts, TierPolicy

if TYPE_CHECKING:
    import duckdb

    from lightning_lde.lake._storage import LakeStorage

_ATTEMPTS = 5
_TABLES = ("artifacts", "placements", "runs", "pipeline_configs")

_FILES = """
    with file as (
        select run_id, path, object_id, arg_max(recipe, recorded_at) as recipe, arg_max(kind, recorded_at) as kind,
               arg_max(size_bytes, recorded_at) as size_bytes, max(recorded_at) as stored_at, max(segment) as segment,
               arg_max(score, recorded_at) as score
        from artifacts group by all),
    placed as (
        select run_id, path, object_id, arg_max(tier, recorded_at) as tier, max(recorded_at) as placed_at
        from placements group by all)
    select file.*, case when placed_at >= stored_at then placed.tier end as tier,
           case when placed_at >= stored_at then placed_at end as placed_at
    from file left join placed using (run_id, path, object_id) order by run_id, path, object_id"""

_RUNS = """
    with config as (
        select pipeline_config_id, arg_max(trainer, recorded_at) as trainer from pipeline_configs group by all)
    select run_id, project, status, tags, greatest(heartbeat_at, ended_at) as quiet_since, heartbeat_every_s, trainer
    from runs left join config using (pipeline_config_id) where run_id in (select run_id from artifacts)
    qualify row_number() over (partition by run_id order by segment desc, revision desc) = 1"""


def read_files(
    store: Store, paths: Mapping[str, list[str]], *, now: datetime
) -> tuple[list[HeldFile], dict[str, RunState]]:
    """All files of all runs, and the states of these runs.

    Args:
        store: Where the lake is.
        paths: The files of each table at one moment.
        now: The present moment, by which runs are lost.
    """
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table in _TABLES:
            _view(connection, store, table, paths.get(table, []))
        files = [_file(row) for row in connection.sql(_FILES).to_arrow_table().to_pylist()]
        runs = connection.sql(_RUNS).to_arrow_table().to_pylist()
    return files, {row["run_id"]: _state(row, now) for row in runs}


def decisions(storage: LakeStorage, tiers: TierPolicy, *, now: datetime | None = None) -> list[Decision]:
    """What the tiers say of each file of a lake that was not deleted.

    Args:
        storage: The lake.
        tiers: Where its files go.
        now: Another moment than the present.

    Raises:
        ConfigurationError: If the tiers cannot be understood.
        StoreError: If the rows cannot be read.
    """
    tiers.require_understood()
    moment = now or utc_now()
    files, runs = files_and_runs(storage, now=moment)
    return decide(files, runs, tiers.rules, now=moment)


def files_and_runs(storage: LakeStorage, *, now: datetime) -> tuple[list[HeldFile], dict[str, RunState]]:
    """All files of all runs, deleted ones too, and the states of these runs.

    Args:
        storage: The lake.
        now: The present moment, by which runs are lost.

    Raises:
        StoreError: If the rows cannot be read.
    """
    for _ in range(_ATTEMPTS):
        snapshot = storage.snapshot()
        paths = {table: snapshot.paths(table) for table in _TABLES}
        try:
            return read_files(storage.store, paths, now=now)
        except Exception as error:
            # What a reader raises for a missing file depends on the store, so the listing decides.
            if not storage.vanished(path for some in paths.values() for path in some):
                raise StoreError(f"cannot read the files of runs at {storage.url}: {error}") from error
    raise StoreError(f"files of the lake at {storage.url} move faster than they can be read; try again later")


def _view(connection: duckdb.DuckDBPyConnection, store: Store, table: str, paths: list[str]) -> None:
    connection.register(f"empty_{table}", arrow_schema(table).empty_table())
    rows = f"select * from empty_{table}"
    if paths:
        rows += f" union all by name select * from {parquet_source(connection, f'files_{table}', store, paths)}"
    connection.execute(f"create view {table} as {rows}")


def _file(row: Mapping[str, Any]) -> HeldFile:
    return HeldFile(
        key=FileKey(row["run_id"], row["path"], row["object_id"]),
        recipe=row["recipe"] or "whole",
        kind=row["kind"],
        size_bytes=row["size_bytes"],
        stored_at=row["stored_at"],
        segment=row["segment"],
        score=row["score"],
        tier=row["tier"] or "hot",
        placed_at=row["placed_at"],
    )


def _state(row: Mapping[str, Any], now: datetime) -> RunState:
    silent_s = (now - row["quiet_since"]).total_seconds()
    is_lost = row["status"] == RunStatus.RUNNING and silent_s > HEARTBEATS_UNTIL_LOST * row["heartbeat_every_s"]
    facts = RunFacts(row["project"], RunStatus.LOST if is_lost else row["status"], _object(row["tags"]))
    return RunState(facts, row["quiet_since"].astimezone(timezone.utc), checkpoint_mode(row["trainer"]))


def checkpoint_mode(trainer: str | None) -> str | None:
    """Whether the best checkpoint has the lowest or the highest score, by the settings of a run's callbacks.

    Args:
        trainer: The column ``pipeline_configs.trainer``.

    Returns:
        ``"min"``, ``"max"``, or None where there are none or several.

    Example:
        >>> checkpoint_mode('{"callback_settings": [{"class": "x.ModelCheckpoint", "settings": {"mode": "max"}}]}')
        'max'
    """
    described = _object(trainer).get("callback_settings")
    modes = {
        one["settings"].get("mode")
        for one in (described if isinstance(described, list) else [])
        if isinstance(one, dict) and "Checkpoint" in str(one.get("class")) and isinstance(one.get("settings"), dict)
    }
    modes &= {"min", "max"}
    return modes.pop() if len(modes) == 1 else None


def _object(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
