"""What a lake asks of the storage below it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from lightning_lde.errors import StoreError

if TYPE_CHECKING:
    import pyarrow.fs as pa_fs

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file as a listing shows it.

    Attributes:
        path: Relative to the store's root, with ``/`` between parts.
        size_bytes: Its size.
        modified_at: When it was written, None where the storage does not say.
    """

    path: str
    size_bytes: int
    modified_at: datetime | None = None


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

    def create(self, path: str, data: bytes) -> bool:
        """Write a whole file unless there is one of that name; of several writers at once one succeeds.

        Returns:
            Whether the file was made here.
        """
        ...

    def put_file(self, path: str, source: Path, *, sha256: str | None = None) -> None:
        """Copy a local file into the store without holding it in memory.

        Args:
            path: Where to.
            source: The local file.
            sha256: The hash that the copied bytes must have, 64 hexadecimal digits; None takes any.

        Raises:
            FileNotFoundError: If there is no such local file.
            StoreError: If the bytes have another hash, as after a change of the file; nothing is stored then.
        """
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

    def size(self, path: str) -> int | None:
        """The size of a file in bytes, None if there is none of that name."""
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

    def local_path(self, path: str) -> str | None:
        """Where a file lies on this machine's disk, absolute, for readers that can open it there; None elsewhere."""
        ...

    def arrow_filesystem(self) -> tuple[pa_fs.FileSystem, str]:
        """A pyarrow file system and the root's path in it, for readers that scan many files."""
        ...


def checked_chunks(original: BinaryIO, source: Path, sha256: str | None) -> Iterator[bytes]:
    """The content of an open file in pieces; at its end the hash is compared.

    Args:
        original: The file, at its beginning.
        source: Its path, for the message.
        sha256: The hash that all pieces together must have, None for any.

    Raises:
        StoreError: If they have another one.
    """
    digest = hashlib.sha256()
    while chunk := original.read(_CHUNK_BYTES):
        if sha256 is not None:
            digest.update(chunk)
        yield chunk
    if sha256 is not None and (found := digest.hexdigest()) != sha256:
        raise StoreError(f"{source} changed while it was stored: expected the hash {sha256}, found {found}; try again")
