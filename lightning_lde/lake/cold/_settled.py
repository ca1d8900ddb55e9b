"""Which writers will write no more: their files can go into the cold tables."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from lightning_lde.lake._layout import HotFile
from lightning_lde.lake.stores import Store
from lightning_lde.schema import HEARTBEATS_UNTIL_LOST, RunStatus, arrow_schema, utc_now

LEASE = timedelta(hours=6)
"""A writer that did not reach its lake for so long leaves alone the files that it made before: they may be gone."""

SETTLED_AFTER = timedelta(hours=24)
"""Silence after which a writer is taken for dead. Longer than the lease by far, since clocks differ."""

if TYPE_CHECKING:
    import pyarrow as pa


def settled_writers(store: Store, files: Iterable[HotFile], *, now: datetime, silent_for: timedelta) -> set[str]:
    """The writers that were silent for long enough: runs that ended, runs that died, and whoever wrote for no run.

    Args:
        store: Where the lake is.
        files: Files of the hot tier, without those that others cover.
        now: The present.
        silent_for: How long they must have been silent. However short it is, a run that is alive is not taken.
    """
    newest: dict[str, HotFile] = {}
    writers = set()
    for file in files:
        if _started(file.writer) > now - silent_for:
            continue
        writers.add(file.writer)
        if file.table == "runs" and (file.writer not in newest or newest[file.writer].last < file.last):
            newest[file.writer] = file
    states = _last_states(store, [file.path for file in newest.values()])
    alive = {
        writer
        for writer, file in newest.items()
        if file.path in states and not states[file.path].is_settled(now, silent_for)
    }
    return writers - alive


RESTS_AFTER = timedelta(minutes=10)
"""After so long nobody merges the files of a run that has ended."""


def restless(store: Store, files: Iterable[HotFile], silent_for: timedelta) -> dict[str, str]:
    """The writers from whom no file may be taken: they may still write, or merge what they wrote.

    Args:
        store: Where the lake is.
        files: Files of the hot tier, without those that others cover.
        silent_for: How long a run must have been silent that never ended.

    Returns:
        By writer what it is about, for people.
    """
    now, waits = utc_now(), {}
    newest: dict[str, HotFile] = {}
    # Whoever writes placements writes one file and never merges; rows that came twice would say the same.
    writers = set()
    for file in (one for one in files if one.table != "placements"):
        writers.add(file.writer)
        if file.table == "runs" and (file.writer not in newest or newest[file.writer].last < file.last):
            newest[file.writer] = file
    states = _last_states(store, [file.path for file in newest.values()])
    for writer in sorted(writers):
        state = states.get(newest[writer].path) if writer in newest else None
        rest = min(silent_for, RESTS_AFTER)
        if state is None:
            if _started(writer) > now - rest:
                waits[writer] = "wrote results just now"
        elif state.status == RunStatus.RUNNING:
            if not state.is_settled(now, silent_for):
                waits[writer] = f"is running, last heard of at {state.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC"
        elif not state.is_settled(now, rest):
            waits[writer] = "ended just now"
    return waits


def _started(writer: str) -> datetime:
    """When a writer began, which its id says; a long time ago where it says nothing of it."""
    found = uuid.UUID(writer)
    milliseconds = found.int >> 80 if found.version == 7 else 0
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


class _State(NamedTuple):
    """The last state that a file of the table ``runs`` tells of."""

    segment: int
    revision: int
    status: str
    heartbeat_at: datetime | None
    heartbeat_every_s: float | None
    ended_at: datetime | None

    def is_settled(self, now: datetime, silent_for: timedelta) -> bool:
        """Whether nothing comes after it, as far as its silence tells."""
        last_word = max((at for at in (self.heartbeat_at, self.ended_at) if at is not None), default=None)
        if last_word is None:
            return True
        if self.status == RunStatus.RUNNING:
            silent_for = max(silent_for, timedelta(seconds=HEARTBEATS_UNTIL_LOST * (self.heartbeat_every_s or 0.0)))
        return last_word <= now - silent_for


def _last_states(store: Store, paths: list[str]) -> dict[str, _State]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    if not paths:
        return {}
    filesystem, root = store.arrow_filesystem()
    places = {f"{root}/{path}".lstrip("/"): path for path in paths}
    columns = list(_State._fields)
    dataset = ds.dataset(
        [f"{root}/{path}" for path in paths],
        schema=pa.schema([arrow_schema("runs").field(name) for name in columns]),
        format="parquet",
        filesystem=filesystem,
    )
    rows = _last_of_each(dataset.to_table(columns=["__filename", *columns]), "__filename", ("segment", "revision"))
    states: dict[str, _State] = {}
    for file, *values in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        states[places[file.lstrip("/")]] = _State(*values)
    return states


def _last_of_each(rows: pa.Table, group: str, order: tuple[str, ...]) -> pa.Table:
    """Of rows that are equal in a column, the one that comes last in an order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ordered = rows.sort_by([(name, "ascending") for name in (group, *order)])
    groups = ordered.column(group).combine_chunks()
    ends = pc.not_equal(groups.slice(1), groups.slice(0, len(groups) - 1)) if len(groups) else pa.array([], pa.bool_())
    return ordered.filter(pa.chunked_array([ends, pa.array([True] * bool(len(groups)), pa.bool_())]))
