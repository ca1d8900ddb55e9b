"""Journal files on the local disk: checksummed frames of rows that have not reached the lake yet."""

from __future__ import annotations

import fcntl
import io
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa

SPOOL_VARIABLE = "LDE_SPOOL_DIR"
SUFFIX = ".spool"

_MAGIC = b"LDESPOOL1\n"
_FRAME = struct.Struct("<II")
_LOCK = "lock"


@dataclass(frozen=True)
class SpoolHeader:
    """Where the rows of a spool file belong; credentials are never part of it.

    Attributes:
        lake: The lake's address.
        project: The project.
        day: The UTC day the writer started, in ISO form.
        writer: The run's id.
        number: The segment number that the rows get in the lake.
    """

    lake: str
    project: str
    day: str
    writer: str
    number: int

    @property
    def partition_day(self) -> date:
        """The day as a date."""
        return date.fromisoformat(self.day)


def spool_root() -> Path:
    """The folder of all spools of this user: `LDE_SPOOL_DIR`, or one in the state folder of the system."""
    named = os.environ.get(SPOOL_VARIABLE)
    if named:
        return Path(named).expanduser()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "lightning-lde" / "spool"


class SpoolFolder:
    """The spool of one live run; a lock tells other processes that it is in use.

    Args:
        root: The folder of all spools.
        writer: The run's id.

    Raises:
        OSError: If the folder cannot be made or locked.
    """

    def __init__(self, root: Path, writer: str) -> None:
        self.path = root / writer
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _locked(self.path)

    def new_file(self, header: SpoolHeader) -> SpoolFile:
        """Begin the file of one segment."""
        return SpoolFile(self.path / f"{header.number:06d}{SUFFIX}", header)

    def close(self) -> None:
        """Give the lock back, and remove the folder if nothing is left in it."""
        remove_if_empty(self.path)
        os.close(self._lock)


class SpoolFile:
    """An append-only file of frames. What `append` has returned for survives the death of the process."""

    def __init__(self, path: Path, header: SpoolHeader) -> None:
        self.path = path
        self.size_bytes = 0
        self._file: BinaryIO = path.open("xb")
        self._write(_MAGIC + _frame(json.dumps(asdict(header)).encode()))

    def append(self, tables: Mapping[str, pa.Table]) -> None:
        """Add rows of some tables.

        Raises:
            OSError: If the disk is full; what was written before stays readable.
        """
        self._write(b"".join(_frame(_encode(table, rows)) for table, rows in tables.items()))

    def close(self) -> None:
        """No more rows will come."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
        except OSError:
            # A torn frame would hide all that came after it.
            self._file.truncate(self.size_bytes)
            self._file.seek(self.size_bytes)
            raise
        self.size_bytes += len(data)


def read_spool(path: Path) -> tuple[SpoolHeader, dict[str, pa.Table]]:
    """Header and rows of a file, up to the first frame that is torn or damaged.

    Raises:
        ValueError: If it is no spool file or its header is damaged.
    """
    import pyarrow as pa

    frames = _frames(path)
    try:
        header = SpoolHeader(**json.loads(next(frames)))
    except (StopIteration, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a readable spool file") from error
    tables: dict[str, list[pa.Table]] = {}
    for payload in frames:
        rows = pa.ipc.open_stream(payload).read_all()
        tables.setdefault(rows.schema.metadata[b"lde.table"].decode(), []).append(rows)
    return header, {table: pa.concat_tables(parts) for table, parts in tables.items()}


def orphaned_folders(root: Path) -> Iterator[Path]:
    """Folders of runs whose process is gone; each stays locked while it is handled."""
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        try:
            lock = _locked(folder)
        except OSError:
            continue
        try:
            yield folder
        finally:
            os.close(lock)


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder's lock until it is closed, also by the death of the process."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def spool_files(folder: Path) -> list[Path]:
    """Spool files of a folder, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def remove_if_empty(folder: Path) -> None:
    """Remove a spool folder that holds nothing but its lock."""
    if spool_files(folder):
        return
    (folder / _LOCK).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return


def _encode(table: str, rows: pa.Table) -> bytes:
    import pyarrow as pa

    metadata = {**(rows.schema.metadata or {}), b"lde.table": table.encode()}
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema.with_metadata(metadata)) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _frame(payload: bytes) -> bytes:
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _frames(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            length, checksum = _FRAME.unpack(head)
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload) != checksum:
                return
            yield payload
