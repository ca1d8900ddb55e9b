"""Reading of archives member by member: nothing is unpacked to the disk."""

from __future__ import annotations

import codecs
import io
import pickle
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from lightning_lde.errors import DataError

__all__ = ["archive_members", "load_plain_pickle"]

_LARGEST = 1 << 29
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)
# What a pickled dictionary of lists, strings and numpy arrays is made of, under the names of old and new numpy.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_PLAIN = {
    "numpy.dtype": np.dtype,
    "numpy.ndarray": np.ndarray,
    "numpy.core.multiarray._reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray._reconstruct": _RECONSTRUCT,
    "_codecs.encode": codecs.encode,
}


def archive_members(path: Path, wanted: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and content of the files in a zip or tar archive, in the archive's order.

    Args:
        path: The archive.
        wanted: Regular expression that the whole name has to match.

    Raises:
        DataError: The archive is broken or cut, or a name in it leads out of its folder.
    """
    pattern = re.compile(wanted)
    try:
        read = _zip_members if zipfile.is_zipfile(path) or path.suffix == ".zip" else _tar_members
        for name, size, content in read(path):
            parts = PurePosixPath(name.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or re.match("[A-Za-z]:", name):
                raise DataError(f"{path} holds {name!r}, which leads out of the archive: do not use this file.")
            plain = str(parts)
            if content is None or not pattern.fullmatch(plain):
                continue
            if size > _LARGEST:
                raise DataError(f"{path}: {name!r} claims {size} bytes, more than any file of a known set.")
            yield plain, content.read()
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read to its end ({error}): delete it and download it again.") from error


def load_plain_pickle(data: bytes, place: str) -> Any:
    """Load a pickle of Python 2 that holds nothing but plain values and arrays; no other code is run.

    Raises:
        DataError: It is broken, or holds something else.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError, TypeError) as error:
        raise DataError(f"{place} is no pickle of plain arrays ({error}): do not use this file.") from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in _PLAIN:
            raise pickle.UnpicklingError(f"it asks for {full}")
        return _PLAIN[full]


_Members = Iterator["tuple[str, int, BinaryIO | None]"]


def _zip_members(path: Path) -> _Members:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                yield member.filename, 0, None
                continue
            with archive.open(member) as content:
                yield member.filename, member.file_size, content  # type: ignore[misc]  # IO[bytes] reads all the same


def _tar_members(path: Path) -> _Members:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            yield member.name, member.size, content  # type: ignore[misc]  # IO[bytes] reads all the same
