"""The objects of a lake: files by their content, whatever their size."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lightning_lde.lake._tables import TableStorage
from lightning_lde.lake.objects import Objects, StoredObject


class ObjectStorage(TableStorage):
    """The third floor of `LakeStorage`: files of runs."""

    def __init__(self, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> None:
        super().__init__(url, storage_options)
        self._objects: Objects | None = None

    @property
    def objects(self) -> Objects:
        """Files by their content."""
        # Tests put another store in the place of the first.
        if self._objects is None or self._objects.places.store is not self.store:
            self._objects = Objects(self.store, self._cold_roots)
        return self._objects

    def put_artifact(self, source: Path) -> StoredObject:
        """Store a file of any size: a large one in chunks, of which each is stored once.

        Args:
            source: The file; it is read once.

        Raises:
            FileNotFoundError: If there is no such file.
            StoreError: If it cannot be stored, or changed meanwhile.
        """
        return self.objects.put_artifact(source)

    def put_object(self, source: Path) -> str:
        """Store a file in one piece under the SHA-256 of its content; equal content is stored once.

        Returns:
            The object id, 64 hexadecimal digits.

        Raises:
            FileNotFoundError: If there is no such file.
            StoreError: If it cannot be stored, or changed on the way.
        """
        return self.objects.put_whole(source).object_id

    def put_object_bytes(self, data: bytes) -> str:
        """Store bytes under their SHA-256; equal content is stored once.

        Returns:
            The object id, 64 hexadecimal digits.

        Raises:
            StoreError: If they cannot be stored.
        """
        return self.objects.put_bytes(data).object_id

    def is_condemned_since(self, stored: StoredObject) -> bool:
        """Whether something stored may be deleted, or is gone, so that it has to be stored again.

        To be asked after the row that names it is in the lake, see docs/format.md.

        Args:
            stored: What ``put_artifact`` returned.

        Raises:
            StoreError: If the storage cannot say.
        """
        return self.objects.is_condemned_since(stored)

    def get_object(self, object_id: str, recipe: str | None = None) -> bytes:
        """The content of an object, verified.

        Args:
            object_id: Its id.
            recipe: What its row says of its recipe.

        Raises:
            FileNotFoundError: If it, or a chunk of it, is not there.
            StoreError: If its content does not have its hash.
        """
        return self.objects.get(object_id, recipe)

    def open_object(self, object_id: str, recipe: str | None = None) -> BinaryIO:
        """An object as a file that can be read anywhere, each chunk verified when it is read.

        Args:
            object_id: Its id.
            recipe: What its row says of its recipe.

        Raises:
            FileNotFoundError: If it is not there; of chunks this is said when they are read.
            StoreError: If it is damaged; of chunks this is said when they are read.
        """
        return self.objects.open(object_id, recipe)

    def copy_object(
        self, object_id: str, recipe: str | None, target: Path, *, tell: Callable[[int], None] | None = None
    ) -> None:
        """Write an object into a local file, which is there when all of it is verified.

        Args:
            object_id: Its id.
            recipe: What its row says of its recipe.
            target: Where to; a file of that name is replaced.
            tell: Told the number of bytes of each portion that was written.

        Raises:
            FileNotFoundError: If it, or a chunk of it, is not there.
            StoreError: If it is damaged.
            OSError: If the target cannot be written.
        """
        self.objects.copy(object_id, recipe, target, tell or (lambda _: None))
