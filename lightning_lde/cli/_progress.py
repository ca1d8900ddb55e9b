"""Says on a terminal that long work goes on, and how far it is; elsewhere nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

QUIET_S = 2.0
"""Work that is over sooner says nothing of its progress."""

_SHOWN_EVERY_S = 0.5
_EMPTY_LINE = "\r\x1b[K"


@contextlib.contextmanager
def progress(first: str = "") -> Iterator[Callable[[str], None]]:
    """One line of standard error that is written anew, and is gone at the end.

    Args:
        first: What stands there at once, for work that cannot say how far it is.

    Yields:
        To be called with what is to stand there.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    began, shown = time.monotonic(), 0.0

    def tell(words: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - began > QUIET_S and now - shown > _SHOWN_EVERY_S:
            shown = now
            click.echo(f"{_EMPTY_LINE}{words}", nl=False, err=True)

    if first:
        click.echo(first, nl=False, err=True)
    try:
        yield tell
    finally:
        click.echo(_EMPTY_LINE, nl=False, err=True)
