"""A store on any file system that fsspec knows: memory, Google, Azure, or S3 with unusual options."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import LakeNotFoundError, LakeURLError, StoreError
from lightning_lde.lake.stores._base import StoredFile, checked_chunks

if TYPE_CHECKING:
    import pyarrow.fs as pa_fs

_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
"""What file systems call the time of the last write."""


class FsspecStore:
    """Files below one fsspec URL.

    Args:
        url: ``protocol://path``.
        options: Passed to the file system as they are (fsspec's ``storage_options``).

    Raises:
        LakeURLError: If fsspec does not know the protocol or refuses the options.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        import fsspec

        self._url = url.rstrip("/")
        try:
            self._filesystem, root = fsspec.core.url_to_fs(self._url, **options)
        except (ValueError, ImportError, TypeError) as error:
            raise LakeURLError(f"cannot open {url!r}: {error}") from error
        self._root = root.rstrip("/")

    @property
    def url(self) -> str:
        """The address the store was opened with."""
        return self._url

    @property
    def absolute_url(self) -> str:
        """The same address."""
        return self._url

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file."""
        with self._translated(f"write {path}"):
            self._make_parent(path)
            self._filesystem.pipe_file(self._key(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a whole file unless there is one; only as exclusive as the file system makes it."""
        try:
            with self._translated(f"create {path}"):
                self._make_parent(path)
                self._filesystem.pipe_file(self._key(path), data, mode="create")
        except FileExistsError:
            return False
        return True

    def put_file(self, path: str, source: Path, *, sha256: str | None = None) -> None:
        """Upload a local file."""
        with self._translated(f"write {path}"):
            self._make_parent(path)
            self._filesystem.put_file(str(source), self._key(path))
            if sha256 is not None:
                self._check(path, source, sha256)

    def _check(self, path: str, source: Path, sha256: str) -> None:
        # The file system reads the source by itself; what it read has the hash if the source still has it.
        try:
            with source.open("rb") as original:
                for _ in checked_chunks(original, source, sha256):
                    pass
        except BaseException:
            self.delete(path)
            raise

    def get(self, path: str) -> bytes:
        """Read a whole file."""
        with self._translated(f"read {path}"):
            data: bytes = self._filesystem.cat_file(self._key(path))
            return data

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""
        with self._translated(f"look for {path}"):
            return bool(self._filesystem.isfile(self._key(path)))

    def size(self, path: str) -> int | None:
        """The size of a file in bytes, None if there is none of that name."""
        self._filesystem.invalidate_cache()
        with self._translated(f"look for {path}"), contextlib.suppress(FileNotFoundError):
            info = self._filesystem.info(self._key(path))
            return int(info["size"]) if info["type"] == "file" else None
        return None

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All files below a prefix."""
        self._filesystem.invalidate_cache()
        with self._translated(f"list {prefix}"):
            found = self._filesystem.find(self._key(prefix.rstrip("/")), detail=True)
        start = len(self._filesystem._strip_protocol(self._root)) + 1
        for path, info in found.items():
            yield StoredFile(path[start:], int(info.get("size") or 0), _modified_at(info))

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        with self._translated(f"delete {path}"), contextlib.suppress(FileNotFoundError):
            self._filesystem.rm_file(self._key(path))

    def check_root(self) -> None:
        """Raise if the root does not exist."""
        with self._translated("reach the root"):
            if not self._filesystem.exists(self._root):
                raise LakeNotFoundError(f"nothing at {self._url}: create it or correct the address")

    def local_path(self, path: str) -> None:
        """None: what fsspec reaches need not lie on a disk of this machine."""

    def arrow_filesystem(self) -> tuple[pa_fs.FileSystem, str]:
        """The same file system behind pyarrow's interface."""
        import pyarrow.fs as pa_fs

        return pa_fs.PyFileSystem(pa_fs.FSSpecHandler(self._filesystem)), self._root

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _make_parent(self, path: str) -> None:
        # Object stores have no folders; there this is a call that does nothing.
        if not self._url.startswith(("s3://", "s3a://", "gs://", "gcs://", "az://", "abfs://")):
            self._filesystem.makedirs(self._key(path).rsplit("/", 1)[0], exist_ok=True)

    @contextlib.contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, FileNotFoundError, LakeNotFoundError, StoreError):
            raise
        except Exception as error:
            # Clients have errors of their own, which are no OSError. One made at its first use says only then that it
            # does not know an option.
            raise StoreError(f"cannot {action} at {self._url}: {error}") from error


def _modified_at(info: Mapping[str, Any]) -> datetime | None:
    for name in _TIMES:
        found = info.get(name)
        if isinstance(found, int | float):
            return datetime.fromtimestamp(found, timezone.utc)
        if isinstance(found, str):
            with contextlib.suppress(ValueError):
                found = datetime.fromisoformat(found.replace("Z", "+00:00"))
        if isinstance(found, datetime):
            return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
    return None
