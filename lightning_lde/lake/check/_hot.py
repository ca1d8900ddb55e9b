"""What is wrong with the files of the hot tier, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

from lightning_lde.lake import _layout
from lightning_lde.lake.check._contents import Contents
from lightning_lde.lake.check._findings import Finding, Found, Kind, Severity
from lightning_lde.lake.check._mending import DAMAGED, Mending
from lightning_lde.lake.check._moments import OLD, is_older
from lightning_lde.lake.check._rows import FileFacts
from lightning_lde.lake.stores import StoredFile

_MOVES = f"moves it to {DAMAGED}"


def hot_findings(contents: Contents, facts: dict[str, FileFacts], mending: Mending, now: datetime) -> Iterator[Found]:
    """Damaged files, those that others cover, those whose rows are in the cold tables, and those of nobody.

    Args:
        contents: What lies there.
        facts: What is known of the files that count.
        mending: Repairs.
        now: The present.
    """
    for file in contents.current:
        known = facts.get(file.path)
        for problem in known.problems if known is not None else ():
            yield _damaged(file, problem.kind, problem.message, mending)
    for file, cover in contents.covered.items():
        stored = contents.hot[file.path]
        # Who merges deletes the parts when readers are through with them.
        if is_older(stored, OLD, now) and is_older(contents.hot[cover.path], OLD, now):
            said = Finding(
                Severity.INFO, Kind.OBSOLETE, file.path, f"a merged file has its rows: {_name(cover.path)}",
                "removes it, where the merged file has each of its rows",
            )  # fmt: skip
            yield Found(said, partial(mending.remove_covered, file, cover))
    for file in contents.absorbed_again:
        if is_older(contents.hot[file.path], OLD, now):
            said = Finding(
                Severity.ERROR, Kind.ABSORBED, file.path,
                "its rows are in the cold tables already, and each is seen twice: it came back after it was deleted",
                _MOVES,
            )  # fmt: skip
            yield Found(said, partial(mending.move_aside, file.path))
    for path in contents.foreign:
        yield from _foreign(contents.hot[path], now)


def _damaged(file: _layout.HotFile, kind: str, message: str, mending: Mending) -> Found:
    if kind == Kind.UNREADABLE:
        said = Finding(
            Severity.ERROR, kind, file.path, message,
            f"{_MOVES}, and keeps the row groups that can be read",
        )  # fmt: skip
        return Found(said, partial(mending.salvage, file))
    if kind == Kind.EMPTY:
        said = Finding(Severity.WARNING, kind, file.path, message, _MOVES)
        return Found(said, partial(mending.move_aside, file.path))
    return Found(Finding(Severity.ERROR, kind, file.path, message))


def _foreign(stored: StoredFile, now: datetime) -> Iterator[Found]:
    # Names that end so are writes in progress, in a store that shows them.
    if not stored.path.endswith(".tmp"):
        yield Found(
            Finding(Severity.INFO, Kind.FOREIGN, stored.path, "no file of a lake has such a name; nobody reads it")
        )


def _name(path: str) -> str:
    return path.rpartition("/")[2]
