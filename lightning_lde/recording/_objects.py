"""Small objects that rows name, such as a snapshot of the sources: they wait in the spool beside the rows."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

# Whether the level `minimal` takes it, and whether it is an archive of sources.
_MARKS = {(True, False): b"+", (False, False): b"-", (True, True): b"A", (False, True): b"a"}
_MEANINGS = {mark: meaning for meaning, mark in _MARKS.items()}


class SmallObject(NamedTuple):
    """An object of the lake that fits into memory.

    Attributes:
        data: Its content.
        at_minimal: Whether the level of capture ``"minimal"`` takes it.
        is_archive: Whether it is an archive of sources, whose names and texts pass the gate.
    """

    data: bytes
    at_minimal: bool = True
    is_archive: bool = False

    @property
    def object_id(self) -> str:
        """Its id among the objects of a lake."""
        return hashlib.sha256(self.data).hexdigest()


def encode_object(item: SmallObject) -> list[bytes]:
    """An object as the pieces of a frame."""
    return [_MARKS[item.at_minimal, item.is_archive], item.data]


def decode_object(content: memoryview) -> SmallObject:
    """The object of a frame."""
    at_minimal, is_archive = _MEANINGS.get(bytes(content[:1]), (False, False))
    return SmallObject(bytes(content[1:]), at_minimal, is_archive)
