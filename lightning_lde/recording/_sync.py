"""Sends what runs that died, or never reached their lake, left on the local disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from lightning_lde.errors import RowsError, StoreError
from lightning_lde.lake import AbsorbedNumbers, HotFile, LakeStorage, StoredObject
from lightning_lde.recording._blocks import blocks_to_tables
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._known import secrets_around
from lightning_lde.recording._notes import finish_letting_go, let_go, read_note
from lightning_lde.recording._run_files import RunFile, Stored, store_file
from lightning_lde.recording._spool import (
    NOTE_SUFFIX,
    Rows,
    SpoolHeader,
    SpoolRows,
    all_files,
    note_files,
    orphaned_folders,
    read_header,
    remove_if_empty,
    remove_stillborn,
    set_aside,
    spool_files,
    spool_root,
)
from lightning_lde.schema import Event, records_to_arrow, utc_now

_ATTEMPTS = 5


@dataclass(frozen=True)
class SyncOutcome:
    """What became of one spool file, or of one file that a run could not store.

    Of a spool file that was damaged on the disk, what can be read is sent; the file is kept as ``*.refused``.

    Attributes:
        path: The file.
        run_id: The run, None if the file cannot be read.
        lake: The lake's address, None if the file cannot be read.
        rows: Rows that were sent.
        error: Why not all of it was sent, None if it was.
        is_erased: Whether it was deleted unsent, because its run was erased from the lake.
    """

    path: Path
    run_id: str | None = None
    lake: str | None = None
    rows: int = 0
    error: str | None = None
    is_erased: bool = False


def sync_spools(
    root: Path,
    open_lake: Callable[[str, dict[str, Any]], LakeStorage | None],
    *,
    also_unchecked: bool = False,
) -> Iterator[SyncOutcome]:
    """Send the spool files of dead processes, and delete each when the lake has it.

    Sending a file twice does no harm: its rows get the same name in the lake. A file of a run, such as a checkpoint,
    waits where secrets that the run knew by the names of its variables are not known here: nobody could find them in
    it.

    Args:
        root: The folder of all spools.
        open_lake: Gives the lake of an address and of storage options that are no secret; None leaves its files alone.
        also_unchecked: Whether files are stored although such secrets are not known here.

    Yields:
        The outcome of each file that was tried.
    """
    for folder in orphaned_folders(root):
        remove_stillborn(folder)
        for path in spool_files(folder):
            outcome = _send(path, open_lake)
            if outcome is not None:
                yield outcome
        for path in note_files(folder):
            outcome = _send_file(path, open_lake, also_unchecked=also_unchecked)
            if outcome is not None:
                yield outcome
        finish_letting_go(folder)
        remove_if_empty(folder)


def sync_lake(storage: LakeStorage) -> Iterator[SyncOutcome]:
    """Send what dead processes of this machine left for one lake, see `sync_spools`.

    Yields:
        The outcome of each file that was tried.
    """
    here = storage.absolute_url

    def this_lake(url: str, _: object) -> LakeStorage | None:
        return storage if url == here else None

    yield from sync_spools(spool_root(), this_lake)


def discard_erased(storage: LakeStorage) -> Iterator[Path]:
    """Delete what dead processes of this machine left of runs that were erased from one lake, also what was put aside.

    Yields:
        Each file that was deleted.
    """
    here = storage.absolute_url
    for folder in orphaned_folders(spool_root()):
        for path in all_files(folder):
            try:
                note = read_note(path) if path.suffix == NOTE_SUFFIX else None
                header = read_header(path) if note is None else note.header
            except (OSError, ValueError):
                continue
            if header.lake == here and storage.was_erased(header.run_id):
                if note is not None:
                    let_go(path, note.file)
                path.unlink(missing_ok=True)
                yield path
        finish_letting_go(folder)
        remove_if_empty(folder)


def send_rows(
    storage: LakeStorage,
    header: SpoolHeader,
    portions: Iterable[Rows],
    refuse: Callable[[str], None],
    governance: Governance,
    absorbed: AbsorbedNumbers | None = None,
    keep: Callable[[StoredObject, bytes], None] = lambda *_: None,
) -> Iterator[tuple[HotFile, int]]:
    """Write the rows of one parcel, objects first and the state of the run last.

    Whoever sees a row sees what it names, and whoever sees a run finished sees everything else of it too. Rows of a
    table that can never be written are left out, and said.

    Args:
        storage: The lake.
        header: Where the rows belong.
        portions: The rows; they are gone through twice.
        refuse: Called with a sentence for each table whose rows cannot be written.
        governance: What all rows pass; it knows the policy of the lake.
        absorbed: What the cold tables have of the writer already; it is not written again. None for nothing.
        keep: Given each object that was stored, for who wants to look at them again when other rows name them.

    Yields:
        Each file that was made, and how many rows are in it.
    """
    import pyarrow as pa

    def append(
        table: str, rows: Callable[[], pa.Table | Iterable[pa.Table]], count: int
    ) -> Iterator[tuple[HotFile, int]]:
        if absorbed is not None and absorbed.have(table, header.number):
            return
        place = {
            "project": governance.without_secrets(header.project),
            "day": header.partition_day,
            "writer": header.writer,
        }
        try:
            yield storage.append(table, joined(rows), first=header.number, **place), count  # type: ignore[arg-type]
        except RowsError as error:
            # Trying again would not help, and would hold up all that comes after it.
            refuse(f"{error}; they were put aside"[:1000])

    def joined(rows: Callable[[], pa.Table | Iterable[pa.Table]]) -> pa.Table | Iterable[pa.Table]:
        try:
            return rows()
        except pa.ArrowInvalid as error:
            raise RowsError(f"rows of one table do not fit together: {error}") from error

    tables: dict[str, list[pa.Table]] = {}
    objects: list[tuple[StoredObject, bytes]] = []
    has_metrics = False
    for rows in portions:
        has_metrics = has_metrics or bool(rows.metrics)
        items = governance.apply(Rows(objects=rows.objects)).objects
        objects += [(storage.objects.put_bytes(item.data), item.data) for item in items]
        for table, part in rows.tables.items():
            try:
                governed = governance.table(table, part)
            except (KeyError, pa.ArrowException) as error:
                refuse(f"rows of {table} do not have the columns of that table: {error}; they were put aside"[:1000])
                continue
            if governed.num_rows:
                tables.setdefault(table, []).append(governed)
    if has_metrics:
        count = sum(block.values.size for rows in portions for block in rows.metrics)
        blocks = (block for rows in portions for block in governance.apply(Rows(metrics=rows.metrics)).metrics)
        yield from append("metrics", lambda: blocks_to_tables(header.run_id, blocks), count)
    for table in sorted(tables, key=lambda name: name == "runs"):
        count = sum(part.num_rows for part in tables[table])
        yield from append(table, functools.partial(pa.concat_tables, tables[table]), count)
    for content, data in objects:
        keep(content, data)
        # Others may be about to delete what no row named before.
        if storage.is_condemned_since(content):
            storage.put_object_bytes(data)


def kept_words(damage: str) -> str:
    """What is said of a damaged spool file."""
    return f"{damage}; what can be read of it was sent, and the file was put aside as *.refused"[:1000]


def _send(path: Path, open_lake: Callable[[str, dict[str, Any]], LakeStorage | None]) -> SyncOutcome | None:
    try:
        header = read_header(path)
    except (OSError, ValueError) as error:
        return SyncOutcome(path, error=str(error))
    try:
        lake = _opened(header, open_lake)
        if lake is None:
            return None
        if lake.absorbed.is_erased(header.run_id):
            path.unlink(missing_ok=True)
            return SyncOutcome(path, header.run_id, header.lake, is_erased=True)
        refused: list[str] = []
        rows = SpoolRows(path)
        parcels = send_rows(lake.storage, header, rows, refused.append, lake.governance, lake.absorbed)
        sent = sum(count for _, count in parcels)
    except Exception as error:
        return SyncOutcome(path, header.run_id, header.lake, error=f"{type(error).__name__}: {error}")
    if rows.damage is not None:
        refused.append(kept_words(rows.damage))
    if refused:
        set_aside(path)
        return SyncOutcome(path, header.run_id, header.lake, rows=sent, error="; ".join(refused))
    path.unlink(missing_ok=True)
    return SyncOutcome(path, header.run_id, header.lake, rows=sent)


def _send_file(
    path: Path, open_lake: Callable[[str, dict[str, Any]], LakeStorage | None], *, also_unchecked: bool
) -> SyncOutcome | None:
    """Store a file that a run has noted, if it is still there as it was; what is not true any more is said there."""
    try:
        header, file, remembered = read_note(path)
    except (OSError, ValueError) as error:
        return SyncOutcome(path, error=str(error))
    try:
        lake = _opened(header, open_lake)
        if lake is None:
            return None
        if lake.absorbed.is_erased(header.run_id):
            let_go(path, file)
            return SyncOutcome(path, header.run_id, header.lake, is_erased=True)
        if file.find().is_as_given:
            missing = [] if also_unchecked else remembered.missing(lake.governance.known)
            if missing:
                return SyncOutcome(path, header.run_id, header.lake, error=_that_it_waits(file, missing))
        refused: list[str] = []
        sent = _store_and_send(lake, header, file, refused.append)
    except Exception as error:
        return SyncOutcome(path, header.run_id, header.lake, error=f"{type(error).__name__}: {error}")
    let_go(path, file)
    return SyncOutcome(path, header.run_id, header.lake, rows=sent, error="; ".join(refused) or None)


def _store_and_send(lake: _Lake, header: SpoolHeader, file: RunFile, refuse: Callable[[str], None]) -> int:
    """Store a file and send its row, again while somebody deletes what is stored because it had none; how many rows."""
    sent, number = 0, header.number
    for _ in range(_ATTEMPTS):
        found = file.find()
        stored = Stored(None, f"{file.path} was changed before it could be stored, or is gone")
        if found.is_as_given:
            stored = store_file(lake.storage, file, found.place, lake.governance)
        while any(lake.absorbed.have(table, number) for table in ("artifacts", "events")):
            # What was sent then may name chunks that are gone by now.
            number += 1
        rows = [_rows_about(file, stored)]
        one = replace(header, number=number)
        sent += sum(count for _, count in send_rows(lake.storage, one, rows, refuse, lake.governance, lake.absorbed))
        if stored.content is None or not lake.storage.is_condemned_since(stored.content):
            return sent
        number += 1
    raise StoreError(
        f"{file.path} was stored {_ATTEMPTS} times, and each time others were about to delete it; try again"
    )


def _that_it_waits(file: RunFile, missing: list[str]) -> str:
    names = ", ".join(missing)
    return (
        f"{file.path} waits: what stood in {names} when the run gave it has to be taken out of it, and is not known "
        "here; set the same values, or store it as it is with: lde sync --without-known-secrets"
    )


def _rows_about(file: RunFile, stored: Stored) -> Rows:
    tables = {}
    if stored.artifact is not None:
        tables["artifacts"] = records_to_arrow("artifacts", [stored.artifact])
    if stored.warning is not None:
        event = Event(
            run_id=file.run_id,
            segment=file.segment,
            time=utc_now(),
            level="warning",
            kind="artifact",
            message=stored.warning,
        )
        tables["events"] = records_to_arrow("events", [event])
    return Rows(tables)


class _Lake(NamedTuple):
    storage: LakeStorage
    governance: Governance
    absorbed: AbsorbedNumbers


def _opened(header: SpoolHeader, open_lake: Callable[[str, dict[str, Any]], LakeStorage | None]) -> _Lake | None:
    storage = open_lake(header.lake, header.options)
    if storage is None:
        return None
    storage.initialise()
    governance = Governance(known=secrets_around(storage.given_options), people=header.people)
    governance.learn(storage.policy())
    return _Lake(storage, governance, storage.absorbed_numbers(header.writer))
