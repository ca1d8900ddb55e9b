"""One lake as storage: tables that are appended to, a listing of their files, and objects by content."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lightning_lde.errors import LakeNotFoundError, LakeURLError, RowsError, StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake._parquet import DICTIONARY_COLUMNS, write_parquet
from lightning_lde.lake.stores import Store, open_store
from lightning_lde.policy import STRICTEST, Policy, new_policy, policy_of
from lightning_lde.schema import FORMAT_VERSION, Record, new_run_id, records_to_arrow, utc_now

if TYPE_CHECKING:
    import pyarrow as pa

PAUSES_S = (0.2, 0.8)
"""Before a write is tried again that nobody else will repeat."""

_CHUNK_BYTES = 1 << 20
_PUBLIC_OPTIONS = ("endpoint_url", "region", "anon")


@dataclass(frozen=True)
class Snapshot:
    """The files of the hot tier at one moment, obsolete ones left out."""

    files: Mapping[str, tuple[HotFile, ...]]

    def paths(self, table: str) -> list[str]:
        """Paths of the files of a table, relative to the lake's root."""
        return [file.path for file in self.files.get(table, ())]


class LakeStorage:
    """Storage of one lake. Making the object does no input or output.

    Args:
        url: A folder, ``s3://bucket/prefix`` or any URL that fsspec knows.
        storage_options: fsspec's options for the protocol.

    Attributes:
        store: The files.
        public_options: Those of the options that say where the lake is and are no secret.
        given_options: All of the options.

    Raises:
        LakeURLError: If the address or the options cannot be understood.
    """

    def __init__(self, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        self.store: Store = open_store(url, storage_options)
        self.given_options = dict(storage_options or {})
        given = self.given_options
        self.public_options = {name: given[name] for name in _PUBLIC_OPTIONS if given.get(name) is not None}

    @property
    def url(self) -> str:
        """The lake's address."""
        return self.store.url

    @property
    def absolute_url(self) -> str:
        """The address that means the same in any working directory."""
        return self.store.absolute_url

    def initialise(self) -> bool:
        """Make this address a lake; one that is a lake already stays as it is.

        Returns:
            Whether a new lake was made.

        Raises:
            LakeNotFoundError: If the bucket is missing, or a file is in the folder's place.
            StoreError: If the storage cannot be written.
        """
        if self.store.exists(_layout.MARKER) and not _is_torn(self.store.get(_layout.MARKER)):
            self._check_version()
            return False
        # Of two writers at once the later one's salt counts: whoever needs it reads it again.
        marker = {"format": "lightning-lde", "format_version": FORMAT_VERSION, "policy": new_policy().as_dict()}
        try:
            self.store.put(_layout.MARKER, _marker_bytes(marker))
        except StoreError:
            self.store.check_root()  # says it better where the bucket is missing or a file is in the way
            raise
        return True

    def require(self) -> None:
        """Make sure that there is a lake of a format that this version reads.

        Raises:
            LakeNotFoundError: If the bucket, the folder or the lake is missing.
            LakeURLError: If the lake has a newer format.
        """
        self.store.check_root()
        if not self.store.exists(_layout.MARKER):
            raise LakeNotFoundError(f"no lake at {self.url}: make one with `lde init {self.url}`")
        self._check_version()

    def _check_version(self) -> None:
        try:
            version = int(json.loads(self.store.get(_layout.MARKER))["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise LakeURLError(f"{_layout.MARKER} at {self.url} is not a lake's: {error}") from error
        if version > FORMAT_VERSION:
            raise LakeURLError(
                f"the lake at {self.url} has format {version}, this version reads up to {FORMAT_VERSION}: "
                "upgrade lightning-lde"
            )

    def policy(self) -> Policy:
        """What the lake takes, read anew.

        Raises:
            FileNotFoundError: If there is no lake.
            StoreError: If it cannot be read.
        """
        try:
            marker = json.loads(self.store.get(_layout.MARKER))
        except ValueError:
            return STRICTEST
        return policy_of(marker) if isinstance(marker, dict) else STRICTEST

    def set_policy(self, policy: Policy) -> None:
        """Change what the lake takes from now on, by one write; what else the marker holds stays.

        Args:
            policy: The new policy; without a salt it gets one.
        """
        self.require()
        marker = json.loads(self.store.get(_layout.MARKER))
        salted = policy if policy.salt else replace(policy, salt=new_policy().salt)
        self.store.put(_layout.MARKER, _marker_bytes({**marker, "policy": salted.as_dict()}))

    def append(
        self,
        table: str,
        rows: pa.Table | Iterable[pa.Table],
        *,
        project: str,
        day: date,
        writer: str,
        first: int,
        last: int | None = None,
        in_memory: bool = True,
    ) -> HotFile:
        """Add rows as one immutable file; when it returns they are in the lake.

        Args:
            table: The table's name.
            rows: At least one row, or tables of one schema that become a row group each.
            project: The project, a partition.
            day: The UTC day the writer started, a partition.
            writer: The run id, or another UUIDv7.
            first: The segment's number.
            last: The last number where the file merges several segments.
            in_memory: Whether the file may be put together in memory; a temporary file serves otherwise.

        Raises:
            RowsError: If the rows can never be written.
            StoreError: If the storage does not take them now.
        """
        file = self.place(table, project=project, day=day, writer=writer, first=first, last=last)
        groups = rows if isinstance(rows, Iterable) else [rows]
        if in_memory:
            buffer = io.BytesIO()
            _encode(buffer, table, groups)
            self.store.put(file.path, buffer.getvalue())
        else:
            with tempfile.NamedTemporaryFile(prefix="lde-", suffix=".parquet") as scratch:
                _encode(scratch, table, groups)
                scratch.flush()
                self.store.put_file(file.path, Path(scratch.name))
        return file

    @staticmethod
    def place(table: str, *, project: str, day: date, writer: str, first: int, last: int | None = None) -> HotFile:
        """The file that ``append`` makes for the same arguments."""
        path = _layout.hot_path(table, project=project, day=day, writer=writer, first=first, last=last)
        return HotFile(path, table, writer, first, first if last is None else last)

    def add_records(self, table: str, records: Sequence[Record], *, project: str) -> HotFile:
        """Add rows that belong to no run, as they are, under a writer id of their own.

        ``recording.add_results`` takes out first what the lake's policy does not take.

        Args:
            table: The table's name.
            records: At least one instance of the table's dataclass.
            project: The project, a partition.
        """
        return self.add_rows(table, records_to_arrow(table, records), project=project)

    def add_rows(self, table: str, rows: pa.Table, *, project: str) -> HotFile:
        """As ``add_records``, of rows that are Arrow already."""
        day, writer = utc_now().date(), new_run_id()
        for pause_s in PAUSES_S:
            with contextlib.suppress(StoreError):
                return self.append(table, rows, project=project, day=day, writer=writer, first=0)
            time.sleep(pause_s)
        return self.append(table, rows, project=project, day=day, writer=writer, first=0)

    def read(self, file: HotFile) -> pa.Table:
        """All rows of one file.

        Raises:
            FileNotFoundError: If it is gone, as after a merge.
        """
        import pyarrow.parquet as pq

        return pq.read_table(io.BytesIO(self.store.get(file.path)))

    def read_groups(self, file: HotFile) -> Iterator[pa.Table]:
        """The row groups of one file, one after the other; repeated words stay dictionary-encoded.

        Raises:
            FileNotFoundError: If it is gone, as after a merge.
        """
        import pyarrow.parquet as pq

        words = list(DICTIONARY_COLUMNS.get(file.table, ()))
        with pq.ParquetFile(io.BytesIO(self.store.get(file.path)), read_dictionary=words) as parquet:
            for number in range(parquet.num_row_groups):
                yield parquet.read_row_group(number, use_threads=False)

    def remove(self, file: HotFile) -> None:
        """Delete one file of the hot tier."""
        self.store.delete(file.path)

    def snapshot(self) -> Snapshot:
        """The files that are there now, found by one listing."""
        found = (_layout.parse_hot_path(stored.path) for stored in self.store.list(_layout.HOT))
        tables: dict[str, list[HotFile]] = {}
        for file in _layout.current_files(file for file in found if file is not None):
            tables.setdefault(file.table, []).append(file)
        return Snapshot({table: tuple(files) for table, files in tables.items()})

    def files_of(self, table: str, *, project: str) -> list[HotFile]:
        """The files of one table and project that are there now."""
        found = (
            _layout.parse_hot_path(stored.path) for stored in self.store.list(_layout.table_prefix(table, project))
        )
        return _layout.current_files(file for file in found if file is not None)

    def vanished(self, paths: Iterable[str]) -> set[str]:
        """Those of some files of the hot tier that are no longer there.

        Args:
            paths: Relative to the lake's root.
        """
        wanted = set(paths)
        folders = {"/".join(path.split("/")[:2]) for path in wanted}
        return wanted - {stored.path for folder in folders for stored in self.store.list(f"{folder}/")}

    def put_object(self, source: Path) -> str:
        """Store a file under the SHA-256 of its content; equal content is stored once.

        Returns:
            The object id, 64 hexadecimal digits.

        Raises:
            FileNotFoundError: If there is no such file.
            StoreError: If it cannot be stored, or changed on the way.
        """
        object_id, size_bytes = _hash_and_size(source)
        path = _layout.object_path(object_id)
        # A file of another size is what an interrupted upload left.
        if self.store.size(path) != size_bytes:
            self.store.put_file(path, source, sha256=object_id)
        return object_id

    def put_object_bytes(self, data: bytes) -> str:
        """Store bytes under their SHA-256; equal content is stored once.

        Returns:
            The object id, 64 hexadecimal digits.

        Raises:
            StoreError: If they cannot be stored.
        """
        object_id = hashlib.sha256(data).hexdigest()
        path = _layout.object_path(object_id)
        if self.store.size(path) != len(data):
            self.store.put(path, data)
        return object_id

    def get_object(self, object_id: str) -> bytes:
        """The content of an object, verified.

        Raises:
            FileNotFoundError: If it is not there.
            StoreError: If its content does not have its hash.
        """
        data = self.store.get(_layout.object_path(object_id))
        found = hashlib.sha256(data).hexdigest()
        if found != object_id:
            raise StoreError(f"object {object_id} at {self.url} is damaged: its content has the hash {found}")
        return data


def _marker_bytes(marker: Mapping[str, Any]) -> bytes:
    return (json.dumps(marker, indent=2) + "\n").encode()


def _is_torn(found: bytes) -> bool:
    """Whether it is the beginning of a marker: what a write that broke left, in a store where that can be seen."""
    head = b'{\n  "format": "lightning-lde"'
    if not (found.startswith(head) or head.startswith(found)):
        return False
    try:
        json.loads(found)
    except ValueError:
        return True
    return False


def _encode(target: IO[bytes], table: str, groups: Iterable[pa.Table]) -> None:
    try:
        write_parquet(target, table, groups)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise RowsError(f"rows of {table} cannot be written: {type(error).__name__}: {error}") from error


def _hash_and_size(source: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with source.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return digest.hexdigest(), size_bytes
