"""Sends what runs that died, or never reached their lake, left on the local disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_lde.errors import RowsError
from lightning_lde.lake import HotFile, LakeStorage
from lightning_lde.recording._blocks import blocks_to_tables
from lightning_lde.recording._governance import Governance, secrets_around
from lightning_lde.recording._spool import (
    Rows,
    SpoolHeader,
    SpoolRows,
    orphaned_folders,
    read_header,
    remove_if_empty,
    remove_stillborn,
    set_aside,
    spool_files,
)


@dataclass(frozen=True)
class SyncOutcome:
    """What became of one spool file.

    Attributes:
        path: The file.
        run_id: The run, None if the file cannot be read.
        lake: The lake's address, None if the file cannot be read.
        rows: Rows that were sent.
        error: Why it was not sent, None if it was.
    """

    path: Path
    run_id: str | None = None
    lake: str | None = None
    rows: int = 0
    error: str | None = None


def sync_spools(root: Path, open_lake: Callable[[str, dict[str, Any]], LakeStorage | None]) -> Iterator[SyncOutcome]:
    """Send the spool files of dead processes, and delete each when the lake has it.

    Sending a file twice does no harm: its rows get the same name in the lake.

    Args:
        root: The folder of all spools.
        open_lake: Gives the lake of an address and of storage options that are no secret; None leaves its files alone.

    Yields:
        The outcome of each file that was tried.
    """
    for folder in orphaned_folders(root):
        remove_stillborn(folder)
        for path in spool_files(folder):
            outcome = _send(path, open_lake)
            if outcome is not None:
                yield outcome
        remove_if_empty(folder)


def send_rows(
    storage: LakeStorage,
    header: SpoolHeader,
    portions: Iterable[Rows],
    refuse: Callable[[str], None],
    governance: Governance,
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

    Yields:
        Each file that was made, and how many rows are in it.
    """
    import pyarrow as pa

    def append(
        table: str, rows: Callable[[], pa.Table | Iterable[pa.Table]], count: int
    ) -> Iterator[tuple[HotFile, int]]:
        place = {"project": header.project, "day": header.partition_day, "writer": header.writer}
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
    has_metrics = False
    for rows in portions:
        has_metrics = has_metrics or bool(rows.metrics)
        for item in governance.apply(Rows(objects=rows.objects)).objects:
            storage.put_object_bytes(item.data)
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


def _send(path: Path, open_lake: Callable[[str, dict[str, Any]], LakeStorage | None]) -> SyncOutcome | None:
    try:
        header = read_header(path)
    except (OSError, ValueError) as error:
        return SyncOutcome(path, error=str(error))
    try:
        storage = open_lake(header.lake, header.options)
        if storage is None:
            return None
        storage.initialise()
        governance = Governance(known=secrets_around())
        governance.learn(storage.policy())
        refused: list[str] = []
        sent = sum(count for _, count in send_rows(storage, header, SpoolRows(path), refused.append, governance))
    except Exception as error:
        return SyncOutcome(path, header.run_id, header.lake, error=f"{type(error).__name__}: {error}")
    if refused:
        set_aside(path)
        return SyncOutcome(path, header.run_id, header.lake, rows=sent, error="; ".join(refused))
    path.unlink(missing_ok=True)
    return SyncOutcome(path, header.run_id, header.lake, rows=sent)
