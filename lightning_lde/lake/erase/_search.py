"""Looks for bytes in objects: as they are stored, put together from their chunks, and within what is packed in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake.erase._objects import all_paths
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.objects import CHUNKS, WHOLE, Holding, first_path

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage

_WINDOW = 8 << 20
_DEEPEST = 3
_HEAD = 8


class Found:
    """Objects and chunks with a text in them.

    Attributes:
        objects: Ids of the objects: the SHA-256 of the whole file.
        paths: Files below ``objects/`` and ``chunks/``.
        unread: Files that are damaged, encrypted or gone, which nobody could look into.
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
        is_whole = path.startswith(_layout.OBJECTS)
        # What is packed in a chunk begins and ends in others: it is unpacked from the file below.
        if _looked_into(path, io.BytesIO(content), needle, target, found) if is_whole else needle in content:
            found.paths.add(path)
            if is_whole:
                found.objects.add(first_path(path).rpartition("/")[2])
    for holding in storage.references().holdings:
        if holding.object_id in found.objects:
            continue
        is_in_chunks = holding.recipe != WHOLE
        if found.paths & set(holding.paths) or (is_in_chunks and _holds(storage, holding, needle, target, found)):
            found.objects.add(holding.object_id)
    return found


def _decoded(storage: LakeStorage, path: str) -> bytes:
    if path.startswith(CHUNKS):
        return storage.objects.places.chunk(path.rpartition("/")[2])
    return storage.objects.places.fetch(path)


def _holds(storage: LakeStorage, holding: Holding, needle: bytes, target: Target, found: Found) -> bool:
    """Whether a file that is put together from its chunks holds the text, also across the border of two."""
    try:
        with storage.open_object(holding.object_id, holding.recipe) as file:
            return _looked_into(holding.paths[0], file, needle, target, found)
    except (FileNotFoundError, StoreError):
        found.unread.append(holding.paths[0])
        return False


def _looked_into(path: str, file: BinaryIO, needle: bytes, target: Target, found: Found) -> bool:
    try:
        return holds(file, needle, target)
    except PackedError:
        found.unread.append(path)
        return False


class PackedError(Exception):
    """Something is packed, and cannot be unpacked: it is damaged, encrypted, or only looks like it."""


def holds(file: BinaryIO, needle: bytes, target: Target, depth: int = 0) -> bool:
    """Whether a file holds some bytes, packed ones too: gzip, bzip2, xz, zip, Parquet. Little is in memory at once.

    Args:
        file: Where to look, from its beginning on.
        needle: What for.
        target: How rows are looked at.
        depth: How deep within others it was packed.

    Raises:
        PackedError: If it cannot be unpacked, and does not hold them as it stands.
    """
    if _in_stream(file, needle):
        return True
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    try:
        if head.startswith(b"PAR1"):
            return _table_holds(file, target)
        if depth == _DEEPEST:
            return False
        return any(holds(inner, needle, target, depth + 1) for inner in _unpacked(file, head))
    except (FileNotFoundError, StoreError):
        raise
    except _DAMAGED as error:
        raise PackedError(str(error)) from error


_DAMAGED = (
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


def _in_stream(file: BinaryIO, needle: bytes) -> bool:
    tail = b""
    while block := file.read(_WINDOW):
        if needle in tail + block:
            return True
        tail = (tail + block)[-(len(needle) - 1) :] if len(needle) > 1 else b""
    return False


def _unpacked(file: BinaryIO, head: bytes) -> Iterator[BinaryIO]:
    if head.startswith(b"\x1f\x8b"):
        yield cast("BinaryIO", gzip.GzipFile(fileobj=file))
    elif head.startswith(b"BZh"):
        yield cast("BinaryIO", bz2.BZ2File(file))
    elif head.startswith(b"\xfd7zXZ"):
        yield cast("BinaryIO", lzma.LZMAFile(file))  # noqa: SIM115
    elif head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(file) as archive:
            # What is stored as it is was looked at with the whole.
            for one in archive.infolist():
                if one.compress_type != zipfile.ZIP_STORED:
                    with archive.open(one) as inner:
                        yield cast("BinaryIO", inner)


def _table_holds(file: BinaryIO, target: Target) -> bool:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    asked = Target(needles=target.needles)
    with pq.ParquetFile(file) as parquet:
        groups = (parquet.read_row_group(number) for number in range(parquet.num_row_groups))
        return any(pc.any(asked.goes("", rows)).as_py() for rows in groups)
