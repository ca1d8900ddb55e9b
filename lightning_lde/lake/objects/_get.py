"""Reads files that lie in chunks, each chunk verified: piece by piece, or as a whole into another file."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import io
import os
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lde.errors import StoreError
from lightning_lde.lake.objects._places import Places
from lightning_lde.lake.objects._recipe import Part, Piece, Recipe
from lightning_lde.lake.objects._workers import MOST_BYTES, Workers, workers

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNKS_AT_HAND = 3


def read_recipe(places: Places, name: str) -> Recipe:
    """A recipe.

    Args:
        places: Where it lies.
        name: Its name.

    Raises:
        ArtifactNotFoundError: If it is not there.
        StoreError: If it is damaged.
    """
    return Recipe.from_bytes(places.chunk(name), name)


class ChunkedFile(io.RawIOBase):
    """A file that lies in chunks, to be read anywhere; each chunk is verified when it is first needed.

    Args:
        places: Where they lie.
        recipe: What the file consists of.
    """

    def __init__(self, places: Places, recipe: Recipe) -> None:
        self._places = places
        self._parts = list(recipe.parts())
        self._starts: list[int] = []
        end = 0
        for part in self._parts:
            self._starts.append(end)
            end += part.size_bytes
        self._size_bytes = end
        self._at = 0
        self._at_hand: OrderedDict[str, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next bytes are read."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go somewhere, as in any file."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        if origin + offset < 0:
            raise ValueError(f"cannot seek to {origin + offset}: a file begins at 0")
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read bytes of one chunk.

        Raises:
            ArtifactNotFoundError: If the chunk is not there.
            StoreError: If it is damaged.
        """
        if self._at >= self._size_bytes:
            return 0
        target = memoryview(buffer).cast("B")
        number = bisect.bisect_right(self._starts, self._at) - 1
        part, within = self._parts[number], self._at - self._starts[number]
        taken = min(len(target), part.size_bytes - within)
        start = part.start + within
        target[:taken] = self._content(part.piece)[start : start + taken]
        self._at += taken
        return taken

    def _content(self, piece: Piece) -> memoryview:
        if piece.name not in self._at_hand:
            self._at_hand[piece.name] = _content(self._places, piece)
            if len(self._at_hand) > _CHUNKS_AT_HAND:
                self._at_hand.popitem(last=False)
        self._at_hand.move_to_end(piece.name)
        return memoryview(self._at_hand[piece.name])


def in_order(places: Places, recipe: Recipe) -> Iterator[memoryview]:
    """The bytes of a file in pieces; chunks are fetched and verified by several threads, a little ahead.

    Args:
        places: Where they lie.
        recipe: What the file consists of.

    Raises:
        ArtifactNotFoundError: If a chunk is not there.
        StoreError: If one is damaged.
    """
    with workers() as at_work:
        ahead = _Ahead(places, recipe, at_work)
        while (part := ahead.next_part()) is not None:
            yield memoryview(ahead.take(part))[part.start : part.start + part.size_bytes]


class _Ahead:
    """The parts of a file that come next, and their chunks, each fetched once for all parts in sight."""

    def __init__(self, places: Places, recipe: Recipe, at_work: Workers) -> None:
        self._places = places
        self._at_work = at_work
        self._unseen = recipe.parts()
        self._seen: deque[Part] = deque()
        self._chunks: dict[str, tuple[Future[bytes], int]] = {}
        self._bytes = 0

    def next_part(self) -> Part | None:
        while not self._seen or self._bytes < MOST_BYTES:
            part = next(self._unseen, None)
            if part is None:
                break
            self._fetch(part.piece)
            self._seen.append(part)
        return self._seen.popleft() if self._seen else None

    def _fetch(self, piece: Piece) -> None:
        if piece.name in self._chunks:
            future, uses = self._chunks[piece.name]
        else:
            future, uses = self._at_work.submit(piece.size_bytes, partial(_content, self._places, piece)), 0
            self._bytes += piece.size_bytes
        self._chunks[piece.name] = future, uses + 1

    def take(self, part: Part) -> bytes:
        future, uses = self._chunks.pop(part.piece.name)
        if uses > 1:
            self._chunks[part.piece.name] = future, uses - 1
        else:
            self._bytes -= part.piece.size_bytes
        return future.result()


def copy_to(places: Places, recipe: Recipe, target: Path, tell: Callable[[int], None] = lambda _: None) -> None:
    """Write a file that is verified as a whole; a file of that name is replaced when all of it is there.

    Args:
        places: Where its chunks lie.
        recipe: What it consists of.
        target: Where to.
        tell: Told the number of bytes of each portion that was written.

    Raises:
        ArtifactNotFoundError: If a chunk is not there.
        StoreError: If one is damaged.
        OSError: If the target cannot be written.
    """
    digest = hashlib.sha256()
    with beside(target) as temporary:
        with temporary.open("xb") as file:
            for data in in_order(places, recipe):
                digest.update(data)
                file.write(data)
                tell(len(data))
        check_hash(digest.hexdigest(), recipe.sha256)
        temporary.replace(target)


def check_hash(found: str, expected: str) -> None:
    """Raise where a file that was put together is not the one that was stored.

    Raises:
        StoreError: If the hashes differ.
    """
    if found != expected:
        raise StoreError(f"the file with the hash {expected} came together with the hash {found}; see `lde check`")


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A name for a temporary file beside another one; nothing of it is left."""
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _content(places: Places, piece: Piece) -> bytes:
    content = places.chunk(piece.name)
    if len(content) != piece.size_bytes:
        raise StoreError(f"chunk {piece.name} has {len(content)} bytes, its recipe says {piece.size_bytes}")
    return content
