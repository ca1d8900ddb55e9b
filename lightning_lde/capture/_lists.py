"""Where literals stand in a list of a text: between brackets, or below each other in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lightning_lde.capture._pace import Pace

LONGEST_LIST = 20_000
"""Characters between brackets that are looked at."""

OPENING = "[({"


class Literal(NamedTuple):
    """A word or a quoted text in a list.

    Attributes:
        start: Where its text begins.
        end: Where it ends.
        is_quoted: Whether it stands in quotation marks.
    """

    start: int
    end: int
    is_quoted: bool


# What matters between brackets; a new part of a diff ends what was not closed.
_MARK = re.compile(r"[\[({\])}]|\\{0,3}[\"']|\n(?:@@ |diff )")
_QUOTED = re.compile(
    r"(?P<escaped>\\{1,3}[\"'])(?P<held>(?:(?!(?P=escaped))[^\n])*)(?P=escaped)"
    r"|(?P<quote>[\"'])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\\n])*)(?P=quote)"
)
_COLON = re.compile(r"\s{0,40}:")
_BARE = re.compile(r"(?<=[\[,])\s*(?P<bare>[^\s,\[\](){}\"'\\]{2,400})(?=\s*[,\]])")
_ITEM = re.compile(
    r"(?:\r?\n|(?:\\r)?\\n)[+ -]?[ \t]{0,40}-[ \t]+"
    r"(?:(?P<quote>\\{0,3}[\"'])(?P<quoted>[^\"'\n\\]{1,400})(?P=quote)|(?P<bare>(?![&*!|>{\[#-])[^\s\"'\\]{1,400}))"
    r"[ \t]*(?:#[^\n]*)?(?=\r?\n|\\r|\\n|\\{0,3}\"|\Z)"
)


def bracket_end(text: str, start: int, pace: Pace) -> tuple[int, list[Literal]]:
    """Where a bracket closes, and the quoted texts in it that are no keys.

    A bracket that does not close ends where a diff goes on with another place, or after `LONGEST_LIST` characters.

    Args:
        text: Any text.
        start: Where the bracket stands.
        pace: How to rest.
    """
    limit, depth, at = min(len(text), start + LONGEST_LIST), 0, start
    found: list[Literal] = []
    while (mark := _MARK.search(text, at, limit)) is not None:
        pace.breathe()
        at, sign = mark.end(), mark[0]
        if sign in OPENING:
            depth += 1
        elif sign in "])}":
            depth -= 1
            if depth <= 0:
                return at, found
        elif sign.startswith("\n"):
            return mark.start(), found
        elif (quoted := _QUOTED.match(text, mark.start(), limit)) is not None:
            at = quoted.end()
            if _COLON.match(text, at) is None:
                found.append(Literal(*quoted.span("held" if quoted["escaped"] else "quoted"), True))
    return limit, found


def bare_words(text: str, start: int, end: int) -> list[Literal]:
    """Words without quotation marks between brackets, as YAML has them: ``[x1, y2]``.

    Args:
        text: Any text.
        start: Where the bracket stands.
        end: Where it closes.
    """
    return [Literal(*word.span("bare"), False) for word in _BARE.finditer(text, start, end)]


def items_below(text: str, start: int, pace: Pace) -> Iterator[Literal]:
    """The items of a list in YAML: each on a line of its own behind a hyphen.

    Args:
        text: Any text, also of a diff, or as JSON writes it.
        start: The end of the line before.
        pace: How to rest.
    """
    while (item := _ITEM.match(text, start)) is not None:
        pace.breathe()
        is_quoted = item["quote"] is not None
        yield Literal(*item.span("quoted" if is_quoted else "bare"), is_quoted)
        start = item.end()
