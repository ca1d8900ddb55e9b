"""Where a file is cut: a checkpoint of torch at its storages, everything else where its content says so (FastCDC)."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from lightning_lde.errors import StoreError

LARGEST_PIECE_BYTES = 16 << 20
"""Larger storages are cut at multiples of this."""

SMALLEST_STORAGE_BYTES = 16 << 10
"""Smaller storages go with what lies between the others: a file of its own costs more than it can save."""

MEAN_BYTES, MEAN_OF_REST_BYTES = 1 << 20, 64 << 10
"""About the mean size of FastCDC's chunks: in any file, and in what lies between storages."""

_LARGE_REST_BYTES = 64 << 20
_READ_BYTES = 8 << 20
_LARGEST_DIRECTORY_BYTES = 64 << 20
_LOCAL_HEADER = struct.Struct("<4s22xHH")


class Span(NamedTuple):
    """Bytes of a file.

    Attributes:
        start: Where they begin.
        size_bytes: How many they are.
    """

    start: int
    size_bytes: int


class Cut(NamedTuple):
    """A piece of a file, as it was cut.

    Attributes:
        content: Its bytes.
        is_rest: Whether it belongs to what lies between large pieces.
    """

    content: bytes | memoryview
    is_rest: bool


def storages(file: BinaryIO, size_bytes: int) -> list[Span]:
    """The storages in a file of ``torch.save``, in order, without a look at what they mean.

    Nothing is unpickled or decompressed. What does not look right is left out, whatever the file says.

    Args:
        file: The file; where it stands does not matter, before and after.
        size_bytes: Its size.

    Returns:
        Spans that lie in the file, do not overlap, and are as large as a piece may be; none for other files.
    """
    try:
        with zipfile.ZipFile(_Frugal(file)) as archive:
            entries = archive.infolist()
    except Exception:
        # Whatever it is, it can be cut elsewhere.
        return []
    folders = {name.filename.removesuffix("data.pkl") for name in entries if name.filename.endswith("/data.pkl")}
    found: list[Span] = []
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        is_stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size
        folder, is_data, _ = entry.filename.partition("data/")
        if is_stored and is_data and folder in folders and entry.file_size >= SMALLEST_STORAGE_BYTES:
            start = _start_of_content(file, entry.header_offset)
            end_before = found[-1].start + found[-1].size_bytes if found else 0
            if start is not None and end_before <= start and start + entry.file_size <= size_bytes:
                found.append(Span(start, entry.file_size))
    return [part for span in found for part in _parts(span)]


def _start_of_content(file: BinaryIO, header: int) -> int | None:
    try:
        file.seek(header)
        signature, name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    except (OSError, ValueError, struct.error):
        return None
    return header + _LOCAL_HEADER.size + name + extra if signature == b"PK\x03\x04" else None


def _parts(span: Span) -> Iterator[Span]:
    end = span.start + span.size_bytes
    for start in range(span.start, end, LARGEST_PIECE_BYTES):
        yield Span(start, min(LARGEST_PIECE_BYTES, end - start))


class _Frugal:
    """A file from which no huge directory is read at once, for a file may say that it has one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, n_bytes: int = -1) -> bytes:
        if n_bytes > _LARGEST_DIRECTORY_BYTES:
            raise ValueError(f"a directory of {n_bytes} bytes")
        return self._file.read(_LARGEST_DIRECTORY_BYTES if n_bytes < 0 else n_bytes)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


class Cutter:
    """Reads a file once, from its beginning to its end, and cuts it.

    Args:
        file: The file.
        size_bytes: Its size.

    Attributes:
        order: As `Recipe` has it; complete after the last piece.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._spans = storages(file, size_bytes)
        n_rest = size_bytes - sum(span.size_bytes for span in self._spans)
        is_fine = self._spans and n_rest <= _LARGE_REST_BYTES
        self._rest = _Rest(MEAN_OF_REST_BYTES if is_fine else MEAN_BYTES)
        self.order: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[bytes, list[Cut]]]:
        """What was read, and the pieces that are complete by it.

        Raises:
            StoreError: If the file is shorter by now.
        """
        self._file.seek(0)
        at = 0
        for span in self._spans:
            yield from self._between(at, span.start)
            data = self._read(span.size_bytes)
            rest, pieces = self.order.pop()
            self.order.append((rest, pieces + 1))
            yield data, [Cut(data, is_rest=False)]
            at = span.start + span.size_bytes
        yield from self._between(at, self._size_bytes)
        yield b"", self._rest.end()

    def _between(self, start: int, end: int) -> Iterator[tuple[bytes, list[Cut]]]:
        if end > start or not self.order:
            self.order.append((end - start, 0))
        for at in range(start, end, _READ_BYTES):
            data = self._read(min(_READ_BYTES, end - at))
            yield data, self._rest.add(data)

    def _read(self, n_bytes: int) -> bytes:
        data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise StoreError(f"{self._file.name} became shorter while it was stored; try again when it is complete")
        return data


class _Rest:
    """A stream that is cut by its content. Where a chunk ends depends on nothing but what it holds."""

    def __init__(self, mean_bytes: int) -> None:
        from pyfastcdc import FastCDC

        self._cdc = FastCDC(mean_bytes, min_size=mean_bytes // 4, max_size=mean_bytes * 4)
        self._waiting = bytearray()

    def add(self, data: bytes) -> list[Cut]:
        self._waiting += data
        if len(self._waiting) < self._cdc.max_size:
            return []
        # The last chunk may go on in what comes.
        return self._cut(keep_last=True)

    def end(self) -> list[Cut]:
        return self._cut(keep_last=False)

    def _cut(self, *, keep_last: bool) -> list[Cut]:
        data = bytes(self._waiting)
        found = [chunk.data for chunk in self._cdc.cut_buf(data)] if data else []
        self._waiting = bytearray(found.pop()) if keep_last else bytearray()
        return [Cut(content, is_rest=True) for content in found]
