"""Columns in a terminal: cells of any length, shortened in the middle so that each row stays one line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

from lightning_lde.cli._output import text
from lightning_lde.query import MISSING

PLAIN_WIDTH = 100
LEAST_WIDTH = 60
NARROWEST_COLUMN = 11
GAP = 2

_LONG = 4000
_WORDS = {"", "–", "NaN", "Infinity", "-Infinity"}


def page_width() -> int:
    """Columns of the terminal; 100 where there is none."""
    return max(LEAST_WIDTH, shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns) if sys.stdout.isatty() else PLAIN_WIDTH


def say(line: str, **style: Any) -> None:
    """Write one line; colours only on a terminal, and not where NO_COLOR asks for none."""
    plain = line.rstrip()
    click.echo(
        click.style(plain, **style) if style and sys.stdout.isatty() and not os.environ.get("NO_COLOR") else plain
    )


def shortened(words: str, width: int) -> str:
    """Words that take no more than a width, the middle left out where they would.

    Example:
        >>> shortened("a long name of a run", 11), shortened("short", 11)
        ('a lon…a run', 'short')
    """
    from rich.cells import cell_len, set_cell_size

    # Ten megabytes need not be looked at for a few columns.
    words = words if len(words) <= _LONG else f"{words[: _LONG // 2]}{words[-_LONG // 2 :]}"
    words = text(words)
    if cell_len(words) <= width:
        return words
    room = width - 1
    head = set_cell_size(words, room - room // 2).rstrip()
    tail = set_cell_size(words[::-1], room // 2)[::-1].lstrip()
    return f"{head}…{tail}"


def value_words(value: Any) -> str:
    """A setting as one types it: text is quoted only where it would read as something else.

    Example:
        >>> [value_words(value) for value in (3, 3.0, "3", "adam", None, True, MISSING)]
        ['3', '3.0', '"3"', 'adam', 'null', 'true', '–']
    """
    if value is MISSING:
        return "–"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _is_ambiguous(value) else value
    if value is None or isinstance(value, (bool, int, float, list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return text(value)


def cells(values: Sequence[Any], width: int) -> list[str]:
    """Settings that stand side by side, each at most so wide; what differs is seen to differ.

    Example:
        >>> cells(["x" * 50 + "one" + "y" * 50, "x" * 50 + "two" + "y" * 50], 14)
        ['…xxxxoneyyyyy…', '…xxxxtwoyyyyy…']
    """
    words = [value_words(value) for value in values]
    shown = [shortened(each, width) for each in words]
    if len(set(shown)) < len(set(words)):
        start = max(0, _n_common([each for each in words if len(each) > width]) - width // 3)
        shown = [
            each if each == whole else shortened(f"…{whole[start : start + width - 2]}…", width)
            for each, whole in zip(shown, words, strict=True)
        ]
    if len(set(shown)) < len(set(words)):
        # Differences at several places, or in what cannot be printed.
        shown = [
            each if each == whole else f"{shortened(whole, width - 7)} {_digest(whole)}"
            for each, whole in zip(shown, words, strict=True)
        ]
    return shown


def print_columns(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, indent: int = 2, whole: bool = False
) -> None:
    """Write rows of a key and cells in as many blocks of columns as the width needs.

    Args:
        heads: A word for each column after the first.
        rows: Of each the key and a cell for each head; cells that are too long are shortened.
        width: Columns of the page.
        indent: Spaces before each line.
        whole: True for figures, which are of no use without their middle: rather more blocks.
    """
    from rich.cells import cell_len

    wanted = [max(cell_len(head), *(cell_len(row[n + 1]) for row in rows)) for n, head in enumerate(heads)]
    left = width - indent - sum(wanted) - GAP * len(wanted)
    key_width = min(max((cell_len(row[0]) for row in rows), default=0), max(18, width * 2 // 5, left))
    room = width - indent - key_width
    least = wanted if whole else [min(each, NARROWEST_COLUMN) for each in wanted]
    for block in blocks(least, room):
        widths = fair_widths([wanted[n] for n in block], room - GAP * len(block))
        lines = [["", *(heads[n] for n in block)], *([row[0], *(row[n + 1] for n in block)] for row in rows)]
        for number, line in enumerate(lines):
            say(_line(line, [key_width, *widths], indent), **({"bold": True} if number == 0 else {}))


def blocks(least: Sequence[int], room: int) -> list[list[int]]:
    """Positions of columns, in as few blocks as hold the least width of each; never an empty block.

    Example:
        >>> blocks([10, 10, 10], 24)
        [[0, 1], [2]]
    """
    found: list[list[int]] = []
    left = -1
    for number, each in enumerate(least):
        left -= each + GAP
        if left < 0:
            found.append([])
            left = room - each - GAP
        found[-1].append(number)
    return found


def fair_widths(wanted: Sequence[int], room: int) -> list[int]:
    """Widths that fit into the room: what is narrow keeps its width, the rest share what is left.

    Example:
        >>> fair_widths([4, 50, 60], 54), fair_widths([4, 5], 54)
        ([4, 25, 25], [4, 5])
    """
    widths = list(wanted)
    if sum(wanted) <= room:
        return widths
    left, open_columns = room, sorted(range(len(wanted)), key=lambda number: wanted[number])
    while open_columns:
        share = left // len(open_columns)
        number = open_columns.pop(0)
        widths[number] = min(wanted[number], max(1, share))
        left -= widths[number]
    return widths


def column_width(n_columns: int, key_width: int, width: int) -> int:
    """The width that each of several equal columns may take beside the keys."""
    room = width - 2 - min(key_width, max(18, width * 2 // 5))
    per_block = len(blocks([NARROWEST_COLUMN] * n_columns, room)[0])
    return room // per_block - GAP


def _line(words: Sequence[str], widths: Sequence[int], indent: int) -> str:
    from rich.cells import cell_len

    parts = [shortened(word, width) for word, width in zip(words, widths, strict=True)]
    return " " * indent + (" " * GAP).join(
        part + " " * (width - cell_len(part)) for part, width in zip(parts, widths, strict=True)
    )


def _is_ambiguous(value: str) -> bool:
    if value in _WORDS or value != value.strip() or value[:1] in {'"', "[", "{"}:
        return True
    if len(value) > _LONG:
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def _digest(words: str) -> str:
    return hashlib.sha256(words.encode("utf-8", "backslashreplace")).hexdigest()[:6]


def _n_common(words: Sequence[str]) -> int:
    """Length of the beginning that all have in common."""
    low, high = 0, min(map(len, words), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len({word[:middle] for word in words}) == 1 else (low, middle - 1)
    return low
