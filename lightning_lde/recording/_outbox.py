"""Rows on their way to the lake, in numbered parcels: on the local disk, or in memory where there is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lightning_lde.recording._spool import SpoolFile, SpoolFolder, SpoolHeader, read_spool

if TYPE_CHECKING:
    import pyarrow as pa

_LARGEST_PARCEL_BYTES = 32 << 20


class Parcel(Protocol):
    """The rows that become one file per table in the lake, under one number."""

    number: int

    def tables(self) -> dict[str, pa.Table]:
        """The rows by table."""
        ...

    def discard(self) -> None:
        """Forget the rows; the lake has them."""
        ...


class _DiskParcel:
    def __init__(self, number: int, file: SpoolFile) -> None:
        self.number = number
        self._path = file.path

    def tables(self) -> dict[str, pa.Table]:
        return read_spool(self._path)[1]

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)


class _MemoryParcel:
    def __init__(self, number: int) -> None:
        self.number = number
        self._parts: dict[str, list[pa.Table]] = {}

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        for table, rows in tables.items():
            self._parts.setdefault(table, []).append(rows)

    def tables(self) -> dict[str, pa.Table]:
        import pyarrow as pa

        return {table: pa.concat_tables(parts) for table, parts in self._parts.items()}

    def discard(self) -> None:
        self._parts.clear()


class Outbox:
    """Takes rows, keeps them until they are sent. Used by one thread.

    Args:
        root: The folder of all spools; where it cannot be written, rows wait in memory.
        header: Where the rows belong; its number is the first parcel's.
    """

    def __init__(self, root: Path, header: SpoolHeader) -> None:
        self._header = header
        self._sealed: deque[Parcel] = deque()
        self._file: SpoolFile | None = None
        self._memory: _MemoryParcel | None = None
        try:
            self._folder: SpoolFolder | None = SpoolFolder(root, header.writer)
        except OSError:
            self._folder = None

    @property
    def path(self) -> Path | None:
        """The folder on the disk, None where rows wait in memory."""
        return None if self._folder is None else self._folder.path

    @property
    def next_number(self) -> int:
        """The number that the next parcel gets."""
        return self._header.number

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        """Keep rows; when this returns they survive the death of the process, if there is a disk."""
        if not tables:
            return
        if self._folder is not None:
            try:
                self._open_file(self._folder).append(tables)
            except OSError:
                self.seal()
                self._folder = None
            else:
                return
        if self._memory is None:
            self._memory = _MemoryParcel(self._take_number())
        self._memory.add(tables)

    def is_large(self) -> bool:
        """Whether the present parcel should be sent before its time."""
        return self._file is not None and self._file.size_bytes > _LARGEST_PARCEL_BYTES

    def seal(self) -> None:
        """End the present parcel; the next rows begin another."""
        if self._file is not None:
            self._file.close()
            self._sealed.append(_DiskParcel(int(self._file.path.stem), self._file))
            self._file = None
        if self._memory is not None:
            self._sealed.append(self._memory)
            self._memory = None

    def first(self) -> Parcel | None:
        """The oldest sealed parcel, None if all were sent."""
        return self._sealed[0] if self._sealed else None

    def sent(self, parcel: Parcel) -> None:
        """Forget the oldest parcel."""
        self._sealed.popleft()
        parcel.discard()

    def close(self) -> None:
        """Leave the disk; a folder with unsent parcels stays for `lde sync`."""
        self.seal()
        if self._folder is not None:
            self._folder.close()

    def _open_file(self, folder: SpoolFolder) -> SpoolFile:
        if self._file is None:
            self._file = folder.new_file(replace(self._header, number=self._take_number()))
        return self._file

    def _take_number(self) -> int:
        number = self._header.number
        self._header = replace(self._header, number=number + 1)
        return number
