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
_CLEARLY_BETTER = 0.98
_SMALL_BYTES = 256 << 10

_RAW_FRAME = b"\x28\xb5\x2f\xfd\xe0"
"""How a zstd frame begins whose content's length follows (RFC 8878)."""

_RAW_BLOCK_BYTES = 128 << 10

Buffer = bytes | bytearray | memoryview


def encode(content: Buffer) -> bytes:
    """The bytes of the file of a chunk.

    The first byte is the code. After 0 the content follows. After other codes its length follows, eight bytes,
    little-endian, then frames of zstd.

    Args:
        content: The chunk.
    """
    code = _choice(content)
    if code != RAW:
        frames = _packed(content, code)
        if _size(frames) <= _WORTHWHILE * len(content):
            return b"".join((bytes([code]), len(content).to_bytes(8, "little"), *frames))
    return b"".join((b"\0", content))


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


def _packed(content: Buffer, code: int) -> list[Buffer]:
    """Parts of frames of zstd: one for all, or for the first bytes of all elements, the second ones and so on."""
    if code == ZSTD:
        return [_frame(content)]
    apart = _taken_apart(content, code)
    step = len(apart) // code
    parts = [apart[start : start + step] for start in range(0, code * step, step)]
    # Each has a frame, and so a code of Huffman's, of its own.
    return [piece for part in (*parts, apart[code * step :]) for piece in _shorter_frame(part)]


def _size(parts: list[Buffer]) -> int:
    return sum(len(part) for part in parts)


def _shorter_frame(content: memoryview) -> list[Buffer]:
    if len(content) > _SMALL_BYTES:
        sample = _sample(content)
        if len(_frame(sample)) > _WORTHWHILE * len(sample):
            return _raw_frame(content)
    packed = _frame(content)
    return [packed] if len(packed) < len(content) else _raw_frame(content)


def _frame(content: Buffer) -> bytes:
    packed: bytes = _zstd().compress(content, asbytes=True)
    return packed


def _raw_frame(content: memoryview) -> list[Buffer]:
    """A frame that holds bytes as they are: to find out again that they cannot be compressed takes most of the time."""
    parts: list[Buffer] = [_RAW_FRAME + len(content).to_bytes(8, "little")]
    for start in range(0, max(1, len(content)), _RAW_BLOCK_BYTES):
        block = content[start : start + _RAW_BLOCK_BYTES]
        is_last = start + _RAW_BLOCK_BYTES >= len(content)
        parts += [(len(block) << 3 | is_last).to_bytes(3, "little"), block]
    return parts


def _zstd() -> pa.Codec:
    import pyarrow as pa

    return pa.Codec("zstd", compression_level=_LEVEL)


def _choice(content: Buffer) -> int:
    """The code that makes a sample smallest. Of numbers the bytes that say how large they are resemble each other."""
    sample = _sample(memoryview(content))
    if len(sample) < SHUFFLED[-1]:
        return RAW
    best, size = RAW, _WORTHWHILE / _CLEARLY_BETTER * len(sample)
    for code in (ZSTD, *SHUFFLED):
        packed = _size(_packed(sample, code))
        if packed <= _CLEARLY_BETTER * size:
            best, size = code, packed
    return best


def _sample(content: memoryview) -> bytes:
    if len(content) <= _SAMPLES * _SAMPLE_BYTES:
        return bytes(content)
    step = (len(content) // _SAMPLES) // 8 * 8
    return b"".join(content[at : at + _SAMPLE_BYTES] for at in range(0, _SAMPLES * step, step))


def _taken_apart(content: Buffer, width: int) -> memoryview:
    """The first bytes of all elements, then the second ones and so on; what is no whole element stays at the end."""
    import numpy as np

    given = np.frombuffer(content, np.uint8)
    n = len(given) // width
    result = np.empty(len(given), np.uint8)
    for number in range(width):
        result[number * n : (number + 1) * n] = given[number : n * width : width]
    result[n * width :] = given[n * width :]
    return result.data


def _joined(content: bytes, width: int) -> bytes:
    import numpy as np

    given = np.frombuffer(content, np.uint8)
    n = len(given) // width
    result = np.empty(len(given), np.uint8)
    # Three times as quick as the transposition in one go.
    for number in range(width):
        result[number : n * width : width] = given[number * n : (number + 1) * n]
    result[n * width :] = given[n * width :]
    return result.tobytes()
