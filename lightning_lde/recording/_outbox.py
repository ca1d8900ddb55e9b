"""Rows on their way to the lake, in numbered parcels: on the local disk, or in memory where there is none."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from lightning_lde.recording._spool import (
    Rows,
    SpoolFile,
    SpoolFolder,
    SpoolHeader,
    SpoolRows,
    note_files,
    set_aside,
    spool_files,
)

LARGEST_PARCEL_BYTES = 8 << 20
LARGEST_MEMORY_BYTES = 256 << 20


class Parcel(Protocol):
    """The rows that become one file per table in the lake, under one number."""

    number: int

    def rows(self) -> Iterable[Rows]:
        """The rows, in portions."""
        ...

    @property
    def damage(self) -> str | None:
        """What could not be read when the rows were gone through last, None where that is nothing."""
        ...

    def discard(self) -> None:
        """Forget the rows; the lake has them."""
        ...

    def set_aside(self) -> None:
        """Keep the rows where nobody tries to send them again; they cannot be written."""
        ...

    def is_gone(self) -> bool:
        """Whether somebody took the rows away."""
        ...


class _DiskParcel:
    def __init__(self, path: Path, size_bytes: int | None = None) -> None:
        self.number = int(path.stem)
        self._path = path
        self._rows = SpoolRows(path, size_bytes)

    def rows(self) -> Iterable[Rows]:
        return self._rows

    @property
    def damage(self) -> str | None:
        return self._rows.damage

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        set_aside(self._path)

    def is_gone(self) -> bool:
        return not self._path.exists()


class _MemoryParcel:
    def __init__(self, number: int) -> None:
        self.number = number
        self.size_bytes = 0
        self._portions: list[Rows] = []

    def append(self, rows: Rows) -> None:
        self._portions.append(rows)
        self.size_bytes += _size_bytes(rows)

    def forget_states(self, segment: int | None) -> None:
        self._portions = [rows for rows in self._portions if _segment_of(rows) != segment]
        self.size_bytes = sum(map(_size_bytes, self._portions))

    def rows(self) -> Iterable[Rows]:
        return list(self._portions)

    @property
    def damage(self) -> str | None:
        return None

    def discard(self) -> None:
        self._portions.clear()
        self.size_bytes = 0

    def set_aside(self) -> None:
        self.discard()

    def is_gone(self) -> bool:
        return False


class Outbox:
    """Takes rows, keeps them until they are sent. One thread fills it, one empties it.

    Where the spool's disk cannot be written, rows wait in memory; where that is full too because the lake
    takes nothing either, further metric values are dropped and counted.

    Args:
        root: The folder of all spools.
        header: Where the rows belong; its number is the first parcel's.

    Attributes:
        dropped: Metric values that were dropped.
        last_sent: The number of the newest parcel that was sent or put aside, -1 before there is one.
    """

    def __init__(self, root: Path, header: SpoolHeader) -> None:
        self._header = header
        self._sealed: deque[Parcel] = deque()
        self._file: SpoolFile | None = None
        self._memory: _MemoryParcel | None = None
        self._in_memory: list[_MemoryParcel] = []
        self.dropped = 0
        self.last_sent = -1
        self._root = root
        self._folder: SpoolFolder | None = None
        self._open_folder()

    @property
    def path(self) -> Path | None:
        """The folder on the disk, None where rows wait in memory."""
        return None if self._folder is None else self._folder.path

    @property
    def place(self) -> tuple[Path, int] | None:
        """The folder on the disk and the file system that it lies on, None where rows wait in memory."""
        folder = self._folder
        return None if folder is None else (folder.path, folder.device)

    @property
    def is_on_disk(self) -> bool:
        """Whether no row waits in memory."""
        return self._folder is not None and not any(parcel.size_bytes for parcel in self._in_memory)

    @property
    def next_header(self) -> SpoolHeader:
        """Where the next parcel belongs; its number is the one it gets."""
        return self._header

    def add(self, rows: Rows) -> None:
        """Keep rows; when this returns they survive the death of the process, if there is a disk."""
        if not rows:
            return
        if self._file is None and self._memory is None:
            self._begin_parcel()
        if self._file is not None:
            try:
                self._file.append(rows)
            except Exception:
                # The rows before are whole on the disk; these and what follows wait in memory.
                self.seal()
            else:
                return
        self._keep(rows)

    def _keep(self, rows: Rows) -> None:
        self._in_memory = [parcel for parcel in self._in_memory if parcel.size_bytes]
        if sum(parcel.size_bytes for parcel in self._in_memory) > LARGEST_MEMORY_BYTES:
            self.dropped += sum(block.values.size for block in rows.metrics)
            rows = Rows(rows.tables, objects=rows.objects)
            if "runs" in rows.tables:
                # A state of a segment holds all that the states before it held.
                for parcel in self._in_memory:
                    parcel.forget_states(_segment_of(rows))
        if self._memory is None:
            self._memory = _MemoryParcel(self._take_number())
            self._in_memory.append(self._memory)
        self._memory.append(rows)

    def is_large(self) -> bool:
        """Whether the present parcel should be sent before its time."""
        present = self._file or self._memory
        return present is not None and present.size_bytes > LARGEST_PARCEL_BYTES

    def seal(self) -> None:
        """End the present parcel; the next rows begin another, on the disk again if that has recovered."""
        file, self._file = self._file, None
        memory, self._memory = self._memory, None
        if file is not None:
            self._sealed.append(_DiskParcel(file.path, file.size_bytes))
            with contextlib.suppress(OSError):
                file.close()
        if memory is not None:
            self._sealed.append(memory)

    def show_alive(self) -> None:
        """Let other machines with the same disk know that the run lives."""
        if self._folder is not None:
            self._folder.touch()

    def first(self) -> Parcel | None:
        """The oldest sealed parcel, None if all were sent."""
        return self._sealed[0] if self._sealed else None

    @property
    def is_done(self) -> bool:
        """Whether nothing waits in the folder on the disk: no parcel, no note of a file."""
        return not self._sealed and (self._folder is None or not note_files(self._folder.path))

    def sent(self, parcel: Parcel) -> None:
        """Forget the oldest parcel."""
        self._sealed.popleft()
        self.last_sent = parcel.number
        parcel.discard()

    def refused(self, parcel: Parcel) -> None:
        """Put the oldest parcel aside: its rows can never be written, or not all of them can be read."""
        self._sealed.popleft()
        self.last_sent = parcel.number
        parcel.set_aside()

    def forget(self) -> None:
        """Let go of the disk without touching it: in a forked child it belongs to the parent."""
        if self._folder is not None:
            self._folder.forget()

    def close(self) -> None:
        """Leave the disk; a folder with unsent parcels stays for `lde sync`."""
        self.seal()
        if self._folder is not None:
            self._folder.close()

    def _begin_parcel(self) -> None:
        self._open_folder()
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._file = self._folder.new_file(self._header)
                self._take_number()

    def _open_folder(self) -> None:
        if self._folder is None:
            with contextlib.suppress(OSError):
                self._folder = SpoolFolder(self._root, self._header.writer)
                # What an earlier segment could not send, and nobody else has since.
                self._sealed.extend(_DiskParcel(path) for path in spool_files(self._folder.path))

    def _take_number(self) -> int:
        number = self._header.number
        self._header = replace(self._header, number=number + 1)
        return number


def _segment_of(rows: Rows) -> int | None:
    """The segment of a portion that is a state of the run, None of any other."""
    if list(rows.tables) != ["runs"] or rows.metrics or rows.objects:
        return None
    segment: int = rows.tables["runs"].column("segment")[0].as_py()
    return segment


def _size_bytes(rows: Rows) -> int:
    of_tables = sum(int(part.nbytes) for part in rows.tables.values())
    return of_tables + sum(block.rows.nbytes for block in rows.metrics) + sum(len(item.data) for item in rows.objects)
