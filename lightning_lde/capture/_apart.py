"""Long lists of files, described by a process of its own.

A hundred thousand names take half a second of Python's time. On a thread beside a training all of it would be the
training's loss, since Python lets one thread run at a time. Another process costs the training what it takes to hand
the names over, a tenth of that.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from lightning_lde.capture._pace import Pace

if TYPE_CHECKING:
    from lightning_lde.capture._files import FilesRead

MANY = 5_000
"""So many files are worth a process."""

_AT_ONCE = 256
_LOOK_EVERY_S = 0.01
_PROGRAM = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from lightning_lde.capture import _apart
_apart.serve()
"""


def read_files_apart(items: Sequence[Any], *, root: object, pace: Pace) -> FilesRead | None:
    """What `read_files` says of a list of paths, or of pairs of a path and a label, found out by another process.

    Args:
        items: The list.
        root: The folder that they lie in, None where it is not known.
        pace: How to go on.

    Returns:
        None where no process can be had, or the list holds more than plain words and numbers.

    Raises:
        HurriedError: If the pace says so.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        # What is frozen has no interpreter of its own: the program itself would start once more.
        return None
    places = json.dumps([path for path in sys.path if path])
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is meant for the training.
            start_new_session=True,
        )
    except (OSError, ValueError):
        return None
    try:
        return _asked(process, items, root, pace)
    except (OSError, ValueError):
        return None
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                cast(IO[bytes], stream).close()


def _asked(process: subprocess.Popen[bytes], items: Sequence[Any], root: object, pace: Pace) -> FilesRead | None:
    from lightning_lde.capture._files import FilesRead

    question, answer = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    question.write(marshal.dumps([None if root is None else str(root), pace.exact]))
    for first in range(0, len(items), _AT_ONCE):
        question.write(_plain(items[first : first + _AT_ONCE]))
        pace.breathe()
    question.write(marshal.dumps([]))
    question.close()
    while process.poll() is None:
        time.sleep(_LOOK_EVERY_S)
        pace.breathe()
    return FilesRead(*json.loads(answer.read())) if process.returncode == 0 else None


def _plain(items: Sequence[Any]) -> bytes:
    """A portion of the list as bytes.

    Raises:
        ValueError: If it holds what the other process would not see as it is.
    """
    kinds = set(map(type, items))
    paths = [item[0] for item in items] if kinds <= {tuple, list} and all(items) else items
    if set(map(type, paths)) != {str}:
        raise ValueError("a list of other things than plain paths")
    return marshal.dumps(list(items))


def serve() -> None:
    """Be that process: read a list from standard input, write what is known of it to standard output."""
    from lightning_lde.capture._files import read_files

    with contextlib.suppress(OSError):
        os.nice(10)
    source = sys.stdin.buffer
    root, exact = marshal.load(source)  # noqa: S302  # from the process that started this one
    items: list[Any] = []
    while portion := marshal.load(source):  # noqa: S302
        items += portion
    pace = Pace(fingerprint="exact" if exact else "cheap")
    found = read_files(items, path_of=_path, label_of=_label, root=root, pace=pace)
    sys.stdout.write(json.dumps(found))


def _path(item: Any) -> object:
    return item[0] if isinstance(item, (list, tuple)) else item


def _label(item: Any) -> object:
    return item[1] if isinstance(item, (list, tuple)) and len(item) > 1 else None
