"""Where the data of a run should be: what can be said before it is run again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lightning_lde.reproduce._facts import Recorded

_CUT = "<path>/"
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")


def places_of_data(recorded: Recorded, words: Iterable[str], base: Path) -> list[str]:
    """Of data sets whose place on a disk was recorded, whether something is there.

    A place of which only the last part was recorded is looked for among the paths of the command line.

    Args:
        recorded: The run.
        words: Its command line.
        base: Where it is started.
    """
    words = list(words)
    found = []
    for use in recorded.uses:
        path = _place(str(use.facts.get("uri") or ""), words)
        if path is None:
            continue
        # Those of Path raise for unknown users and names that are too long.
        is_there = os.path.exists(base / os.path.expanduser(path))  # noqa: PTH110, PTH111
        if is_there or path.is_absolute() or str(path).startswith("~"):
            found.append(f"{use.facts.get('dataset')}: {path} is {'there' if is_there else 'not there'}")
    return list(dict.fromkeys(found))


def _place(uri: str, words: list[str]) -> Path | None:
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    if uri.startswith(_CUT):
        values = (word.rpartition("=")[2] for word in words)
        return next((Path(each) for each in values if Path(each).name == uri.removeprefix(_CUT)), None)
    return Path(uri) if uri and not _SCHEME.match(uri) and "<" not in uri else None
