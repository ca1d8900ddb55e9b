"""Journal files on the local disk: checksummed frames of rows that have not reached the lake yet."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import io
import json
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lightning_lde.recording._blocks import MetricBlock, decode_blocks, encode_blocks
from lightning_lde.recording._frames import MAGIC, METRICS, OBJECT, TABLE, Piece, frame, read_frames
from lightning_lde.recording._objects import SmallObject, decode_object, encode_object

if TYPE_CHECKING:
    import pyarrow as pa

SPOOL_VARIABLE = "LDE_SPOOL_DIR"
SUFFIX = ".spool"
NOTE_SUFFIX = ".file"
DONE_SUFFIX = ".done"
KEPT_SUFFIX = ".kept"
PART_SUFFIX = ".part"

_LOCK = "lock"
_NEWBORN_SUFFIX = ".new"
_REFUSED_SUFFIX = ".refused"
_LOCK_ATTEMPTS = 100
_LOCK_PAUSE_S = 0.01
_SIGN_EVERY_S = 60.0
_SILENT_ELSEWHERE_S = 900.0
_MOST_TOLD = 3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Rows:
    """Rows that travel together: of any table as Arrow, those of ``metrics`` as blocks of numbers.

    Attributes:
        tables: Rows by table.
        metrics: Metric values.
        objects: Small objects that rows may name.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    metrics: list[MetricBlock] = field(default_factory=list)
    objects: list[SmallObject] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tables or self.metrics or self.objects)


@dataclass(frozen=True)
class SpoolHeader:
    """Where the rows of a spool file belong; credentials are never part of it.

    Attributes:
        lake: The lake's address.
        project: The project.
        day: The UTC day the writer started, in ISO form.
        run_id: The run.
        writer: Who writes: the run's id, or another UUIDv7 where a process continues the run of another.
        number: The segment number that the rows get in the lake.
        options: Storage options that are no secret, such as the endpoint.
        people: Kinds and names of the user and the machine that recorded, which the lake's policy may want hidden.
    """

    lake: str
    project: str
    day: str
    run_id: str
    writer: str
    number: int
    options: dict[str, Any] = field(default_factory=dict)
    people: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_dict(cls, words: dict[str, Any]) -> SpoolHeader:
        """The header that was written as JSON.

        Raises:
            TypeError: If it is none.
            ValueError: If it is none.
        """
        people = tuple((str(kind), str(name)) for kind, name in words.get("people", ()))
        return cls(**{**words, "people": people})

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

    Attributes:
        path: The folder.
        device: The file system that it lies on.

    Raises:
        OSError: If the folder cannot be made or locked.
    """

    def __init__(self, root: Path, writer: str) -> None:
        self.path = root / writer
        self._lock = _own(self.path)
        self._signed = time.monotonic()
        self.device = os.fstat(self._lock).st_dev

    def new_file(self, header: SpoolHeader) -> SpoolFile:
        """Begin the file of one segment."""
        return SpoolFile(self.path / f"{header.number:06d}{SUFFIX}", header)

    def touch(self) -> None:
        """Show other machines, for which this one's locks may mean nothing, that the run lives; once a minute."""
        if time.monotonic() - self._signed >= _SIGN_EVERY_S:
            self._signed = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._lock)

    def close(self) -> None:
        """Give the lock back, and remove the folder if nothing is left in it."""
        remove_if_empty(self.path)
        self.forget()

    def forget(self) -> None:
        """Give the lock back and touch nothing else, as a forked child must."""
        os.close(self._lock)


class SpoolFile:
    """An append-only file of frames. What `append` has returned for survives the death of the process."""

    def __init__(self, path: Path, header: SpoolHeader) -> None:
        self.path = path
        self.size_bytes = 0
        # Under its own name it appears with a whole header. Unbuffered: what a full disk refuses must not come later.
        newborn = path.with_suffix(_NEWBORN_SUFFIX)
        self._file: BinaryIO = newborn.open("wb", buffering=0)
        try:
            self._write([MAGIC, *frame([json.dumps(asdict(header)).encode()])])
            newborn.rename(path)
        except BaseException:
            self._file.close()
            newborn.unlink(missing_ok=True)
            raise

    def append(self, rows: Rows) -> None:
        """Add rows.

        Raises:
            OSError: If the disk is full; what was written before stays readable.
        """
        self._write(encode_rows(rows))

    def close(self) -> None:
        """No more rows will come."""
        self._file.close()

    def _write(self, pieces: Sequence[Piece]) -> None:
        try:
            for piece in pieces:
                rest = memoryview(piece).cast("B")
                while len(rest):
                    rest = rest[self._file.write(rest) :]
        except BaseException:
            # A torn frame would hide all that came after it.
            self._file.truncate(self.size_bytes)
            self._file.seek(self.size_bytes)
            raise
        self.size_bytes += sum(map(len, pieces))


def read_header(path: Path) -> SpoolHeader:
    """Where the rows of a spool file belong.

    Raises:
        ValueError: If it is no spool file or its header is damaged.
    """
    damage: list[str] = []
    try:
        with path.open("rb") as file:
            first = next(read_frames(file, damage.append), None)
        if first is not None and not damage:
            return SpoolHeader.from_dict(json.loads(bytes(first.payload)))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a readable spool file: {error}") from error
    reason = damage[0] if damage else "it ends before its header does"
    raise ValueError(f"{path} is not a readable spool file: {reason}")


class SpoolRows:
    """The rows of a spool file, read anew at each pass, without those that are damaged.

    A last portion that is torn is none: the process died before it was acknowledged.

    Args:
        path: The file.
        size_bytes: How large it is known to be, None where that is not known.
    """

    def __init__(self, path: Path, size_bytes: int | None = None) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._damage: dict[str, None] = {}

    @property
    def damage(self) -> str | None:
        """What could not be read in one of the passes, None where that is nothing."""
        if not self._damage:
            return None
        told = list(self._damage)
        more = f" and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        return f"{self._path.name} of the spool is damaged: {', '.join(told[:_MOST_TOLD])}{more}"

    def __iter__(self) -> Iterator[Rows]:
        with self._path.open("rb") as file:
            if self._size_bytes is not None and (missing := self._size_bytes - os.fstat(file.fileno()).st_size) > 0:
                self._complain(f"{missing} bytes are missing at its end")
            for at, payload in read_frames(file, self._complain):
                # First comes the header.
                if at != len(MAGIC) and (rows := _decoded(payload, at, self._complain)):
                    yield rows

    def _complain(self, words: str) -> None:
        self._damage[words] = None


def encode_rows(rows: Rows) -> list[Piece]:
    """Rows as the frames that stand for them in a spool."""
    pieces: list[Piece] = []
    for item in rows.objects:
        pieces += frame([OBJECT, *encode_object(item)])
    for table, part in rows.tables.items():
        pieces += frame([TABLE, _encode_table(table, part)])
    if rows.metrics:
        pieces += frame([METRICS, *encode_blocks(rows.metrics)])
    return pieces


def orphaned_folders(root: Path) -> Iterator[Path]:
    """Folders of runs whose process is gone; each stays locked while it is handled."""
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        if _may_live_elsewhere(folder):
            continue
        try:
            lock = _locked(folder)
        except OSError:
            continue
        try:
            yield folder
        finally:
            os.close(lock)


def _own(folder: Path) -> int:
    """Make a folder and lock it, although others look through all folders for those that nobody has locked."""
    for attempt in range(_LOCK_ATTEMPTS):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _signed(_locked(folder))
        except OSError:
            if attempt == _LOCK_ATTEMPTS - 1:
                raise
        time.sleep(_LOCK_PAUSE_S)
    raise AssertionError


def _signed(lock: int) -> int:
    """The same lock, with the name of this machine in its file where the disk has room for it."""
    with contextlib.suppress(OSError):
        os.truncate(lock, 0)
        os.pwrite(lock, _this_boot(), 0)
    return lock


def _may_live_elsewhere(folder: Path) -> bool:
    """Whether another machine, or this one before it was started anew, wrote here in the last quarter of an hour.

    Home folders of clusters are shared, and locks there may be known to one machine only.
    """
    with contextlib.suppress(OSError):
        boot = (folder / _LOCK).read_bytes()
        if boot and boot != _this_boot():
            newest = max(path.stat().st_mtime for path in folder.iterdir())
            return time.time() - newest < _SILENT_ELSEWHERE_S
    return False


@functools.cache
def _this_boot() -> bytes:
    """Differs between machines, and between two starts of one."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        import platform

        return platform.node().encode()


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder's lock until it is closed, also by the death of the process."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it before may have removed the file: the lock of a file without a name locks nobody out.
        if os.fstat(descriptor).st_ino != (folder / _LOCK).stat().st_ino:
            raise BlockingIOError(f"the lock of {folder} was replaced")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def spool_files(folder: Path) -> list[Path]:
    """Spool files of a folder, oldest first."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def note_files(folder: Path) -> list[Path]:
    """Notes of files that the lake has not taken."""
    return sorted(folder.glob(f"*{NOTE_SUFFIX}"))


def done_files(folder: Path) -> list[Path]:
    """Notes of files that the lake has, and of which a kept link may be left."""
    return sorted(folder.glob(f"*{DONE_SUFFIX}"))


def kept_files(folder: Path) -> list[Path]:
    """Files that are kept in a folder until the lake has them, also halves of them."""
    return sorted([*folder.glob(f"*{KEPT_SUFFIX}"), *folder.glob(f"*{PART_SUFFIX}")])


def all_files(folder: Path) -> list[Path]:
    """Spool files, notes, and what was put aside."""
    return [*spool_files(folder), *note_files(folder), *sorted(folder.glob(f"*{_REFUSED_SUFFIX}"))]


def remove_stillborn(folder: Path) -> None:
    """Remove files whose process died before they had a header; nothing is in them. The folder must be locked."""
    for path in [*folder.glob(f"*{_NEWBORN_SUFFIX}"), *spool_files(folder)]:
        if path.suffix == _NEWBORN_SUFFIX or path.stat().st_size == 0:
            path.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Keep a file whose rows cannot be written, under a name that nobody tries to send."""
    path.rename(path.with_suffix(_REFUSED_SUFFIX))


def remove_if_empty(folder: Path) -> None:
    """Remove a spool folder that holds nothing but its lock."""
    if spool_files(folder) or note_files(folder) or done_files(folder) or kept_files(folder):
        return
    (folder / _LOCK).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return


def _encode_table(table: str, rows: pa.Table) -> bytes:
    import pyarrow as pa

    metadata = {**(rows.schema.metadata or {}), b"lde.table": table.encode()}
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema.with_metadata(metadata)) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _decoded(payload: memoryview, at: int, complain: Callable[[str], None]) -> Rows:
    """The rows of a frame; none, and a complaint, where another version wrote what this one does not understand."""
    try:
        return _decode(payload)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        complain(f"rows at byte {at} cannot be understood: {type(error).__name__}: {error}"[:200])
        return Rows()


def _decode(payload: memoryview) -> Rows:
    import pyarrow as pa

    kind, content = bytes(payload[:1]), payload[1:]
    if kind == METRICS:
        return Rows(metrics=list(decode_blocks(content)))
    if kind == OBJECT:
        return Rows(objects=[decode_object(content)])
    rows = pa.ipc.open_stream(pa.py_buffer(content)).read_all()
    return Rows({rows.schema.metadata[b"lde.table"].decode(): rows})


def spooled(root: Path) -> Iterator[tuple[Path, SpoolHeader, Rows]]:
    """All that waits below a folder of spools, also what was put aside: file, where it belongs, a portion.

    Files without a readable header are left out, and so is what is damaged in others.

    Args:
        root: The folder of all spools.
    """
    for path in sorted([*root.glob(f"*/*{SUFFIX}"), *root.glob(f"*/*{_REFUSED_SUFFIX}")]):
        try:
            header = read_header(path)
            for rows in SpoolRows(path):
                yield path, header, rows
        except (OSError, ValueError):
            continue
