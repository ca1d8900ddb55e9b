"""Where the bytes of objects and chunks lie. Whoever reads, writes or removes them does so here."""

from __future__ import annotations

from lightning_lde.errors import ArtifactNotFoundError
from lightning_lde.lake._layout import OBJECTS
from lightning_lde.lake.objects._codec import decode
from lightning_lde.lake.stores import Store

CHUNKS = "chunks/"


def chunk_path(name: str) -> str:
    """The path of the chunk of a name."""
    return f"{CHUNKS}{name[:2]}/{name}"


class Places:
    """The files below ``objects/`` and ``chunks/``.

    Args:
        store: The lake's store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def fetch(self, path: str) -> bytes:
        """The bytes of a file.

        Args:
            path: A path below ``objects/`` or ``chunks/``.

        Raises:
            FileNotFoundError: If it is not there.
            StoreError: If it cannot be read.
        """
        return self.store.get(path)

    def size(self, path: str) -> int | None:
        """The size of a file, None where there is none."""
        return self.store.size(path)

    def remove(self, path: str) -> None:
        """Delete a file; one that is not there is no error."""
        self.store.delete(path)

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
