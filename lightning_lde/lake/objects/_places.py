"""Where the bytes of objects and chunks lie. Whoever reads, writes or removes them does so here."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from lightning_lde.errors import ArtifactNotFoundError
from lightning_lde.lake._layout import OBJECTS
from lightning_lde.lake.objects._codec import decode
from lightning_lde.lake.stores import Store, StoredFile

CHUNKS = "chunks/"


def chunk_path(name: str) -> str:
    """The path of the chunk of a name."""
    return f"{CHUNKS}{name[:2]}/{name}"


class Elsewhere(Protocol):
    """Another place where files of the same paths may lie, as a cold root."""

    def get(self, path: str) -> bytes:
        """The bytes of a file; `FileNotFoundError` if it is not there."""
        ...

    def remove(self, path: str) -> None:
        """Delete a file; one that is not there is no error."""
        ...

    def size(self, path: str) -> int | None:
        """The size of a file, None where there is none."""
        ...

    def files(self, *prefixes: str) -> Iterator[StoredFile]:
        """All files below some prefixes."""
        ...


class Places:
    """The files below ``objects/`` and ``chunks/``: in the lake's own root, or in a cold one.

    Args:
        store: The lake's store.
        elsewhere: Says where else they may lie; it is asked for what is not in the store.
    """

    def __init__(self, store: Store, elsewhere: Callable[[], Iterable[Elsewhere]] = tuple) -> None:
        self.store = store
        self._elsewhere = elsewhere

    def fetch(self, path: str) -> bytes:
        """The bytes of a file.

        Args:
            path: A path below ``objects/`` or ``chunks/``.

        Raises:
            FileNotFoundError: If it is not there.
            ArchivedError: If it is in a cold root and has to be asked for.
            StoreError: If it cannot be read.
        """
        try:
            return self.store.get(path)
        except FileNotFoundError:
            for place in self._elsewhere():
                with contextlib.suppress(FileNotFoundError):
                    return place.get(path)
            raise

    def size(self, path: str) -> int | None:
        """The size of a file in the lake's own root, None where there is none: what is cold is to be stored again."""
        return self.store.size(path)

    def remove(self, path: str) -> None:
        """Delete a file everywhere; one that is not there is no error."""
        self.store.delete(path)
        for place in self._elsewhere():
            place.remove(path)

    def copies(self, path: str) -> list[int]:
        """The sizes of a file's copies, wherever they lie."""
        sizes = [self.store.size(path), *(place.size(path) for place in self._elsewhere())]
        return [size for size in sizes if size is not None]

    def listed(self, *prefixes: str) -> set[str]:
        """The paths of all files below some prefixes, wherever they lie."""
        own = {stored.path for prefix in prefixes for stored in self.store.list(prefix)}
        return own | {stored.path for place in self._elsewhere() for stored in place.files(*prefixes)}

    def chunk(self, name: str) -> bytes:
        """The content of a chunk, verified.

        Raises:
            ArtifactNotFoundError: If it is not there.
            StoreError: If it is damaged or cannot be read.
        """
        path = chunk_path(name)
        try:
            file = self.fetch(path)
        except FileNotFoundError as error:
            raise ArtifactNotFoundError(f"{path} is missing at {self.store.url}; see `lde check`") from error
        return decode(file, name)

    def generations(self, object_id: str) -> list[str]:
        """The paths of an object that was stored again while its first path was to be deleted."""
        prefix = f"{OBJECTS}{object_id[:2]}/"
        return sorted(file.path for file in self.store.list(prefix) if file.path.startswith(f"{prefix}{object_id}-"))

    def all_generations(self, object_id: str) -> list[str]:
        """The same, wherever they lie."""
        prefix = f"{OBJECTS}{object_id[:2]}/"
        return sorted(path for path in self.listed(prefix) if path.startswith(f"{prefix}{object_id}-"))
