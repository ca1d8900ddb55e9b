"""Looks for bytes in objects: as they are stored, put together from their chunks, and within what is packed in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake.erase._objects import all_paths
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.objects import CHUNKS, WHOLE, first_path

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage

_WINDOW = 8 << 20
_DEEPEST = 3


class Found:
    """Objects and chunks with a text in them.

    Attributes:
        objects: Ids of the objects: the SHA-256 of the whole file.
        paths: Files below ``objects/`` and ``chunks/``.
        unread: Files that are damaged or gone, which nobody could look into.
    """

    def __init__(self) -> None:
        self.objects: set[str] = set()
        self.paths: set[str] = set()
        self.unread: list[str] = []


def search_objects(storage: LakeStorage, needle: bytes, target: Target) -> Found:
    """The objects that hold a text.

    Args:
        storage: The lake.
        needle: The text's bytes.
        target: How rows are looked at, for objects that are tables.
    """
    found = Found()
    for path in all_paths(storage):
        try:
            content = _decoded(storage, path)
        except (FileNotFoundError, StoreError):
            found.unread.append(path)
            continue
        if holds(content, needle, target):
            found.paths.add(path)
            if path.startswith(_layout.OBJECTS):
                found.objects.add(first_path(path).rpartition("/")[2])
    for holding in storage.references().holdings:
        if holding.object_id in found.objects:
            continue
        if found.paths & set(holding.paths) or (holding.recipe != WHOLE and _spans(storage, holding, needle, found)):
            found.objects.add(holding.object_id)
    return found


def _decoded(storage: LakeStorage, path: str) -> bytes:
    if path.startswith(CHUNKS):
        return storage.objects.places.chunk(path.rpartition("/")[2])
    return storage.objects.places.fetch(path)


def _spans(storage: LakeStorage, holding, needle: bytes, found: Found) -> bool:  # type: ignore[no-untyped-def]
    """Whether the text stands across the border of two chunks."""
    try:
        with storage.open_object(holding.object_id, holding.recipe) as file:
            return holds_in_stream(file, needle)
    except (FileNotFoundError, StoreError):
        found.unread.append(holding.paths[0])
        return False


def holds_in_stream(file: BinaryIO, needle: bytes) -> bool:
    """Whether a file holds some bytes; little of it is in memory at once.

    Args:
        file: The file, at its beginning.
        needle: The bytes.
    """
    tail = b""
    while block := file.read(_WINDOW):
        if needle in tail + block:
            return True
        tail = (tail + block)[-(len(needle) - 1) :] if len(needle) > 1 else b""
    return False


def holds(content: bytes, needle: bytes, target: Target, depth: int = 0) -> bool:
    """Whether bytes hold others, packed ones too: gzip, bzip2, xz, zip, Parquet.

    Args:
        content: Where to look.
        needle: What for.
        target: How rows are looked at.
        depth: How deep within others they were packed.
    """
    if needle in content:
        return True
    if depth == _DEEPEST:
        return False
    if content.startswith(b"PAR1"):
        return _table_holds(content, target)
    return any(holds(inner, needle, target, depth + 1) for inner in _unpacked(content))


def _unpacked(content: bytes) -> Iterator[bytes]:
    try:
        if content.startswith(b"\x1f\x8b"):
            yield gzip.decompress(content)
        elif content.startswith(b"BZh"):
            yield bz2.decompress(content)
        elif content.startswith(b"\xfd7zXZ"):
            yield lzma.decompress(content)
        elif content.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                # What is stored as it is was looked at with the whole.
                for one in archive.infolist():
                    if one.compress_type != zipfile.ZIP_STORED:
                        yield archive.read(one)
    except (OSError, EOFError, ValueError, RuntimeError, NotImplementedError):
        return
    except (zlib.error, lzma.LZMAError, zipfile.BadZipFile):
        return


def _table_holds(content: bytes, target: Target) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError):
        return False
    return bool(pc.any(Target(needles=target.needles).goes("", rows)).as_py())
