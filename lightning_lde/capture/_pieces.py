"""Long texts gone through in pieces, so that no single call keeps other threads from running for long."""

from __future__ import annotations

from collections.abc import Iterator

from lightning_lde.capture._pace import Pace

PIECE = 1 << 15
"""Characters that are looked at between two rests; a call over so many takes less than a millisecond."""

_LONG = 1 << 14


def pace_for(text: str, pace: Pace | None) -> Pace:
    """The pace that was given; else one that gives way to other threads where a text is long."""
    return Pace(gently=len(text) >= _LONG) if pace is None else pace


def spans(n: int, pace: Pace) -> Iterator[tuple[int, int]]:
    """Where pieces begin and end.

    Args:
        n: The number of characters.
        pace: How to rest after each piece.
    """
    for start in range(0, n, PIECE):
        yield start, min(start + PIECE, n)
        pace.breathe()


def find(text: str, needle: str, start: int, pace: Pace) -> int:
    """As ``text.find(needle, start)``.

    Args:
        text: The text.
        needle: What to look for.
        start: Where to begin.
        pace: How to rest after each piece.
    """
    pace.breathe()
    while start < len(text):
        at = text.find(needle, start, start + PIECE + len(needle) - 1)
        if at >= 0:
            return at
        start += PIECE
        pace.breathe()
    return -1
