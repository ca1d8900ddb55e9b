"""A store in a folder of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lightning_lde.errors import LakeNotFoundError, StoreError
from lightning_lde.lake.stores._base import StoredFile, checked_chunks

if TYPE_CHECKING:
    import pyarrow.fs as pa_fs

TEMPORARY_SUFFIX = ".tmp"


class LocalStore:
    """Files in a folder; each is written beside its place, synced, then renamed into it.

    The folder stays the same one when the process changes its working directory.

    Args:
        root: The folder; it is made at the first write.
    """

    def __init__(self, root: Path) -> None:
        self._given = root.expanduser()
        self._root = self._given.absolute()

    @property
    def url(self) -> str:
        """The folder's path as it was given."""
        return str(self._given)

    @property
    def absolute_url(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file: temporary name, fsync, rename, fsync of the folder."""
        with self._replacing(path) as file:
            file.write(data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a whole file unless there is one: temporary name, fsync, hard link, fsync of the folder."""
        with self._beside(path) as temporary:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, self._root / path)
            except FileExistsError:
                return False
            _sync_folder(temporary.parent)
        return True

    def put_file(self, path: str, source: Path, *, sha256: str | None = None) -> None:
        """Copy a local file into the store in pieces."""
        with source.open("rb") as original, self._replacing(path) as file:
            for chunk in checked_chunks(original, source, sha256):
                file.write(chunk)

    @contextlib.contextmanager
    def _replacing(self, path: str) -> Iterator[BinaryIO]:
        with self._beside(path) as temporary:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._root / path)
            _sync_folder(temporary.parent)

    @contextlib.contextmanager
    def _beside(self, path: str) -> Iterator[Path]:
        """A name for a temporary file in the folder that a path lies in; nothing of it is left."""
        target = self._root / path
        temporary = target.parent / f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(error.errno, f"cannot write {target}: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def get(self, path: str) -> bytes:
        """Read a whole file."""
        return (self._root / path).read_bytes()

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""
        return (self._root / path).is_file()

    def size(self, path: str) -> int | None:
        """The size of a file in bytes, None if there is none of that name."""
        target = self._root / path
        try:
            return target.stat().st_size if target.is_file() else None
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All files below a prefix, temporary ones left out."""
        yield from _scan(self._root / prefix, prefix.rstrip("/"))

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        (self._root / path).unlink(missing_ok=True)

    def check_root(self) -> None:
        """Raise if there is no folder of that name."""
        if self._root.exists() and not self._root.is_dir():
            raise LakeNotFoundError(f"{self.url} is a file: a lake is a folder")
        if not self._root.is_dir():
            raise LakeNotFoundError(f"no folder {self.url}: make a lake there with `lde init {self.url}`")

    def local_path(self, path: str) -> str:
        """The file's absolute path."""
        return str(self._root / path)

    def arrow_filesystem(self) -> tuple[pa_fs.FileSystem, str]:
        """The local file system and the folder's absolute path."""
        import pyarrow.fs as pa_fs

        return pa_fs.LocalFileSystem(), str(self._root.resolve())


def _scan(folder: Path, prefix: str) -> Iterator[StoredFile]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.is_dir():
            yield from _scan(Path(entry.path), path)
        elif not entry.name.endswith(TEMPORARY_SUFFIX):
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat()
                yield StoredFile(path, found.st_size, datetime.fromtimestamp(found.st_mtime, timezone.utc))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
