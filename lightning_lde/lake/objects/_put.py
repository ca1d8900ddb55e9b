"""Stores files: small ones as they are, others cut into chunks, of which each is stored once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake.objects._codec import Buffer, decode, encode, raw_size
from lightning_lde.lake.objects._condemned import Look
from lightning_lde.lake.objects._cutting import Cut, Cutter
from lightning_lde.lake.objects._places import Places, chunk_path
from lightning_lde.lake.objects._recipe import WHOLE, Piece, Recipe
from lightning_lde.lake.objects._workers import workers

WHOLE_BELOW_BYTES = 256 << 10
"""Smaller files are stored as they are."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """What has been stored.

    Attributes:
        object_id: The SHA-256 of the content.
        size_bytes: Its size.
        recipe: The name of its recipe, `WHOLE` where it is one file.
        paths: The files that it consists of, its recipe among them.
        look: What was condemned before it was stored.
    """

    object_id: str
    size_bytes: int
    recipe: str
    paths: tuple[str, ...]
    look: Look


class Writer:
    """Stores files of one lake. It knows the sizes of the chunks that it has seen whole.

    Args:
        places: Where they lie.
        known: Sizes by path, from earlier files.
        look: What is condemned.
    """

    def __init__(self, places: Places, known: dict[str, int], look: Look) -> None:
        self._places = places
        self._known = known
        self._look = look

    def put(self, source: Path) -> StoredObject:
        """Store a file.

        Args:
            source: The file; it is read once.

        Raises:
            FileNotFoundError: If there is no such file.
            StoreError: If it cannot be stored, or changed meanwhile.
        """
        with source.open("rb") as file:
            given = _Given(file, source)
            if given.size_bytes >= WHOLE_BELOW_BYTES:
                return self._put_pieces(given)
            data = file.read()
            given.check()
            return self.put_bytes(data)

    def put_whole(self, source: Path) -> StoredObject:
        """As ``put``, in one file whatever its size."""
        object_id, size_bytes = _hash_and_size(source)
        return self._put_whole(
            object_id, size_bytes, lambda path: self._places.store.put_file(path, source, sha256=object_id)
        )

    def put_bytes(self, data: bytes) -> StoredObject:
        """Store bytes in one file."""
        object_id = hashlib.sha256(data).hexdigest()
        return self._put_whole(object_id, len(data), lambda path: self._places.store.put(path, data))

    def _put_whole(self, object_id: str, size_bytes: int, put: Callable[[str], None]) -> StoredObject:
        path = self._look.free(_layout.object_path(object_id))
        # A file of another size is what an interrupted upload left.
        if self._places.size(path) != size_bytes:
            put(path)
        return StoredObject(object_id, size_bytes, WHOLE, (path,), self._look)

    def _put_pieces(self, given: _Given) -> StoredObject:
        cutter, digest = Cutter(given.file, given.size_bytes), hashlib.sha256()
        pieces: list[Future[Piece]] = []
        rest: list[Future[Piece]] = []
        with workers() as at_work:
            for data, cuts in cutter:
                for cut in cuts:
                    (rest if cut.is_rest else pieces).append(at_work.submit(len(cut.content), self._storing(cut)))
                digest.update(data)
                _raise_first(pieces, rest)
        given.check()
        object_id = digest.hexdigest()
        recipe = Recipe(
            given.size_bytes,
            object_id,
            tuple(piece.result() for piece in pieces),
            tuple(piece.result() for piece in rest),
            tuple(cutter.order),
        )
        # Whoever sees the recipe finds what it names.
        name = self.put_chunk(recipe.to_bytes()).name
        paths = tuple(chunk_path(one) for one in (name, *recipe.names))
        return StoredObject(object_id, given.size_bytes, name, paths, self._look)

    def _storing(self, cut: Cut) -> Callable[[], Piece]:
        return lambda: self.put_chunk(cut.content)

    def put_chunk(self, content: Buffer) -> Piece:
        """Store a chunk unless it is there.

        Args:
            content: The chunk.
        """
        path = self._look.free(chunk_path(hashlib.sha256(content).hexdigest()))
        name = path.rsplit("/", 1)[1]
        if not self._is_there(path, name, len(content)):
            file = encode(content)
            self._places.store.put(path, file)
            self._known[path] = len(file)
        return Piece(name, len(content))

    def _is_there(self, path: str, name: str, length: int) -> bool:
        """Whether a chunk is there, and whole."""
        size_bytes = self._places.size(path)
        if size_bytes is None:
            return False
        if size_bytes not in (self._known.get(path), raw_size(length)):
            # How large a compressed chunk is nobody knows beforehand, and an upload may have broken off. It is looked
            # at once.
            try:
                decode(self._places.fetch(path), name)
            except (FileNotFoundError, StoreError):
                return False
            self._known[path] = size_bytes
        return True


def _raise_first(*groups: list[Future[Piece]]) -> None:
    """Do not read on where something failed."""
    for futures in groups:
        for future in reversed(futures):
            if not future.done():
                continue
            future.result()
            break


class _Given:
    """A file to store, which must not change meanwhile.

    Args:
        file: The file, open.
        source: Its path, for the message.
    """

    def __init__(self, file: BinaryIO, source: Path) -> None:
        self.file = file
        self._source = source
        self._before = os.fstat(file.fileno())
        self.size_bytes = self._before.st_size

    def check(self) -> None:
        now = os.fstat(self.file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise StoreError(f"{self._source} changed while it was stored; try again when it is complete")


def _hash_and_size(source: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with source.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return digest.hexdigest(), size_bytes
