"""What a lake asks of the storage below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow.fs as pa_fs


@dataclass(frozen=True)
class StoredFile:
    """A file as a listing shows it.

    Attributes:
        path: Relative to the store's root, with ``/`` between parts.
        size_bytes: Its size.
    """

    path: str
    size_bytes: int


class Store(Protocol):
    """Whole immutable files under relative paths; a put is visible completely or not at all."""

    @property
    def url(self) -> str:
        """The address the store was opened with."""
        ...

    @property
    def absolute_url(self) -> str:
        """The address that means the same in any working directory."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file; a file of that name is replaced."""
        ...

    def put_file(self, path: str, source: Path) -> None:
        """Copy a local file into the store without holding it in memory."""
        ...

    def get(self, path: str) -> bytes:
        """Read a whole file.

        Raises:
            FileNotFoundError: If there is none.
        """
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name."""
        ...

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All files below a prefix that ends at a ``/``; none if there is no such prefix."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def check_root(self) -> None:
        """Raise ``LakeNotFoundError`` if the root cannot hold a lake (no such bucket, a file in its place)."""
        ...

    def arrow_filesystem(self) -> tuple[pa_fs.FileSystem, str]:
        """A pyarrow file system and the root's path in it, for readers that scan many files."""
        ...
