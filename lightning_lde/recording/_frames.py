"""Checksummed frames of a spool file; behind a damaged one the next is looked for."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, TypeAlias

Piece: TypeAlias = "bytes | memoryview"

MAGIC = b"LDESPOOL2\n"
TABLE, METRICS, OBJECT = b"T", b"M", b"O"

_HEAD = struct.Struct("<QI")
_LETTERS = (TABLE, METRICS, OBJECT)
_LARGEST_BYTES = (1 << 32) - 1
# A length of less than 4 GiB, a checksum, and the letter that a payload of rows begins with.
_LIKE_A_FRAME = re.compile(rb"(?=.{4}\x00{4}.{4}[TMO])", re.DOTALL)
_PATIENCE = 64


class Frame(NamedTuple):
    """A frame that is as it was written.

    Attributes:
        at: Where it begins in its file.
        payload: What is in it.
    """

    at: int
    payload: memoryview


def frame(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces of a payload as those of a frame, which is not empty."""
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return [_HEAD.pack(sum(map(len, pieces)), checksum), *pieces]


def read_frames(file: BinaryIO, complain: Callable[[str], None]) -> Iterator[Frame]:
    """The frames of a spool file, in their order.

    A last frame that was cut is left out without a word: the process died as it wrote it. Anything else that is no
    frame is damage. It is left out, too, and said; what follows it is read again from the next frame on.

    Args:
        file: The file.
        complain: Called with words for each damage.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    if file.read(len(MAGIC)) != MAGIC:
        complain(f"it does not begin with {MAGIC!r}")
    at = len(MAGIC)
    while at < size_bytes:
        file.seek(at)
        payload = _payload(file, size_bytes - at)
        if payload is None:
            following = _following(file, at)
            if following is None and _is_cut(file, at):
                return
            if following is None:
                complain(f"bytes {at} to {size_bytes} cannot be read")
                return
            complain(f"bytes {at} to {following} cannot be read")
            at = following
            continue
        yield Frame(at, payload)
        at += _HEAD.size + len(payload)


def _payload(file: BinaryIO, room_bytes: int) -> memoryview | None:
    """What is in the frame that begins here, None if there is no whole one."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    length, checksum = _HEAD.unpack(head)
    if not 0 < length <= room_bytes - _HEAD.size:
        return None
    payload = file.read(length)
    return memoryview(payload) if zlib.crc32(payload) == checksum else None


def _is_cut(file: BinaryIO, at: int) -> bool:
    """Whether the rest of a file is the beginning of a frame."""
    file.seek(at)
    rest = file.read()
    if len(rest) < _HEAD.size:
        return True
    length, checksum = _HEAD.unpack_from(rest)
    payload = memoryview(rest)[_HEAD.size :]
    likely = length <= _LARGEST_BYTES and (not payload or bytes(payload[:1]) in _LETTERS)
    # Where the checksum fits to what is there, all of it is, and the length is wrong.
    return likely and length > len(payload) and zlib.crc32(payload) != checksum


def _following(file: BinaryIO, at: int) -> int | None:
    """Where the next frame behind one that cannot be read begins, None if there is none."""
    file.seek(at)
    rest = memoryview(file.read())
    if len(rest) < _HEAD.size:
        return None
    after = _HEAD.size + _HEAD.unpack_from(rest)[0]
    if _checked(rest, after) is True:
        return at + int(after)
    patience = _PATIENCE * len(rest)
    for found in _LIKE_A_FRAME.finditer(rest, 1):
        checked = _checked(rest, found.start())
        if checked is True:
            return at + found.start()
        patience -= _HEAD.unpack_from(rest, found.start())[0] if checked is False else 0
        if patience < 0:
            break
    return None


def _checked(data: memoryview, at: int) -> bool | None:
    """Whether a frame that begins somewhere has the right checksum; None if it does not fit in there."""
    if at + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, at)
    payload = data[at + _HEAD.size :][:length]
    return zlib.crc32(payload) == checksum if 0 < length == len(payload) else None
