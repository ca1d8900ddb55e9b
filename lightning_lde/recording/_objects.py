"""Small objects that rows name, such as a snapshot of the sources: they wait in the spool beside the rows."""

from __future__ import annotations

from typing import NamedTuple

_ALWAYS, _NOT_AT_MINIMAL = b"+", b"-"


class SmallObject(NamedTuple):
    """An object of the lake that fits into memory.

    Attributes:
        data: Its content.
        at_minimal: Whether the level of capture ``"minimal"`` takes it.
    """

    data: bytes
    at_minimal: bool = True


def encode_object(item: SmallObject) -> list[bytes]:
    """An object as the pieces of a frame."""
    return [_ALWAYS if item.at_minimal else _NOT_AT_MINIMAL, item.data]


def decode_object(content: memoryview) -> SmallObject:
    """The object of a frame."""
    return SmallObject(bytes(content[1:]), bytes(content[:1]) == _ALWAYS)
