"""How a chunk is written into a file: as it is, or compressed where a sample says that this pays."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lightning_lde.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

RAW, ZSTD = 0, 1
SHUFFLED = (2, 4, 8)
"""Codes of chunks whose elements of so many bytes were taken apart, then compressed with zstd."""

LARGEST_CHUNK_BYTES = 1 << 30
"""No chunk is larger; a file that says so is damaged."""

_HEADER_BYTES = 9
_LEVEL = 1
_SAMPLES, _SAMPLE_BYTES = 4, 8192
_WORTHWHILE = 0.95

Buffer = bytes | bytearray | memoryview


def encode(content: Buffer) -> bytes:
    """The bytes of the file of a chunk.

    The first byte is the code. After 0 the content follows. After other codes its length follows, eight bytes,
    little-endian, then a frame of zstd.

    Args:
        content: The chunk.
    """
    code = _choice(content)
    if code != RAW:
        packed = _packed(content, code)
        if len(packed) <= _WORTHWHILE * len(content):
            return bytes([code]) + len(content).to_bytes(8, "little") + packed
    return b"\0" + content


def raw_size(length: int) -> int:
    """The size of the file of a chunk that is not compressed; no compressed one of this length is as large."""
    return length + 1


def decode(file: bytes, name: str) -> bytes:
    """The chunk in a file, verified.

    Args:
        file: The bytes of the file.
        name: The chunk's name; its first 64 characters are the SHA-256 of the content.

    Raises:
        StoreError: If the file does not hold the chunk of that name.
    """
    content = _unpacked(file)
    if content is None or hashlib.sha256(content).hexdigest() != name[:64]:
        raise StoreError(f"chunk {name} is damaged: {len(file)} bytes that do not hold its content; see `lde check`")
    return content


def _unpacked(file: bytes) -> bytes | None:
    code = file[0] if file else None
    if code == RAW:
        return file[1:]
    length = int.from_bytes(file[1:_HEADER_BYTES], "little")
    if code not in (ZSTD, *SHUFFLED) or len(file) <= _HEADER_BYTES or length > LARGEST_CHUNK_BYTES:
        return None
    try:
        packed = memoryview(file)[_HEADER_BYTES:]
        content: bytes = _zstd().decompress(packed, decompressed_size=length, asbytes=True)
    except (OSError, ValueError, MemoryError):
        return None
    return content if code == ZSTD else _joined(content, code)


def _packed(content: Buffer, code: int) -> bytes:
    packed: bytes = _zstd().compress(content if code == ZSTD else _taken_apart(content, code), asbytes=True)
    return packed


def _zstd() -> pa.Codec:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=_LEVEL)


def _choice(content: Buffer) -> int:
    """The code that makes a sample smallest. Of numbers the bytes that say how large they are resemble each other."""
    sample = _sample(memoryview(content))
    if len(sample) < SHUFFLED[-1]:
        return RAW
    sizes = {code: len(_packed(sample, code)) for code in (ZSTD, *SHUFFLED)}
    best = min(sizes, key=lambda code: sizes[code])
    return best if sizes[best] <= _WORTHWHILE * len(sample) else RAW


def _sample(content: memoryview) -> bytes:
    if len(content) <= _SAMPLES * _SAMPLE_BYTES:
        return bytes(content)
    step = (len(content) // _SAMPLES) // 8 * 8
    return b"".join(content[at : at + _SAMPLE_BYTES] for at in range(0, _SAMPLES * step, step))


def _taken_apart(content: Buffer, width: int) -> bytes:
    """The first bytes of all elements, then the second ones and so on; what is no whole element stays at the end."""
    import numpy as np

    given = np.frombuffer(content, np.uint8)
    whole = len(given) // width * width
    result = np.empty(len(given), np.uint8)
    result[:whole].reshape(width, -1)[:] = given[:whole].reshape(-1, width).T
    result[whole:] = given[whole:]
    return result.data  # type: ignore[return-value]


def _joined(content: bytes, width: int) -> bytes:
    import numpy as np

    given = np.frombuffer(content, np.uint8)
    whole = len(given) // width * width
    result = np.empty(len(given), np.uint8)
    result[:whole].reshape(-1, width)[:] = given[:whole].reshape(width, -1).T
    result[whole:] = given[whole:]
    return result.tobytes()
