"""Sends what runs that died, or never reached their lake, left on the local disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_lde.lake import LakeStorage
from lightning_lde.recording._note_files import finish_letting_go, let_go, read_note
from lightning_lde.recording._parcels import kept_words, send_rows
from lightning_lde.recording._spool import (
    NOTE_SUFFIX,
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
from lightning_lde.recording._sync_files import opened, store_and_send, that_it_waits


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


def _send(path: Path, open_lake: Callable[[str, dict[str, Any]], LakeStorage | None]) -> SyncOutcome | None:
    try:
        header = read_header(path)
    except (OSError, ValueError) as error:
        return SyncOutcome(path, error=str(error))
    try:
        lake = opened(header, open_lake)
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
        lake = opened(header, open_lake)
        if lake is None:
            return None
        if lake.absorbed.is_erased(header.run_id):
            let_go(path, file)
            return SyncOutcome(path, header.run_id, header.lake, is_erased=True)
        if file.find().is_as_given:
            missing = [] if also_unchecked else remembered.missing(lake.governance.known)
            if missing:
                return SyncOutcome(path, header.run_id, header.lake, error=that_it_waits(file, missing))
        refused: list[str] = []
        sent = store_and_send(lake, header, file, refused.append)
    except Exception as error:
        return SyncOutcome(path, header.run_id, header.lake, error=f"{type(error).__name__}: {error}")
    let_go(path, file)
    return SyncOutcome(path, header.run_id, header.lake, rows=sent, error="; ".join(refused) or None)
