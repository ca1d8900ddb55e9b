"""Sends what runs that died, or never reached their lake, left on the local disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lde.lake import HotFile, LakeStorage
from lightning_lde.recording._spool import (
    SpoolHeader,
    orphaned_folders,
    read_spool,
    remove_if_empty,
    spool_files,
)

if TYPE_CHECKING:
    import pyarrow as pa


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


def sync_spools(root: Path, open_lake: Callable[[str], LakeStorage | None]) -> Iterator[SyncOutcome]:
    """Send the spool files of dead processes, and delete each when the lake has it.

    Sending a file twice does no harm: its rows get the same name in the lake.

    Args:
        root: The folder of all spools.
        open_lake: Gives the lake of an address; None leaves its files alone.

    Yields:
        The outcome of each file that was tried.
    """
    for folder in orphaned_folders(root):
        for path in spool_files(folder):
            outcome = _send(path, open_lake)
            if outcome is not None:
                yield outcome
        remove_if_empty(folder)


def send_tables(storage: LakeStorage, header: SpoolHeader, tables: Mapping[str, pa.Table]) -> list[HotFile]:
    """Write the rows of one parcel, the state of the run last.

    Whoever sees a run finished sees everything else of it too.
    """
    return [
        storage.append(
            table,
            tables[table],
            project=header.project,
            day=header.partition_day,
            writer=header.writer,
            first=header.number,
        )
        for table in sorted(tables, key=lambda name: name == "runs")
    ]


def _send(path: Path, open_lake: Callable[[str], LakeStorage | None]) -> SyncOutcome | None:
    try:
        header, tables = read_spool(path)
    except (OSError, ValueError) as error:
        return SyncOutcome(path, error=str(error))
    try:
        storage = open_lake(header.lake)
        if storage is None:
            return None
        storage.initialise()
        send_tables(storage, header, tables)
    except Exception as error:
        return SyncOutcome(path, header.writer, header.lake, error=f"{type(error).__name__}: {error}")
    path.unlink(missing_ok=True)
    return SyncOutcome(path, header.writer, header.lake, rows=sum(rows.num_rows for rows in tables.values()))
