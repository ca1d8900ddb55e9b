"""Erases from a lake and from what this machine has left of it: words become ids, spools go with their runs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from lightning_lde.errors import ConfigurationError, NodeNotFoundError, RunNotFoundError
from lightning_lde.lake import Receipt, Request
from lightning_lde.query import Lake
from lightning_lde.recording import Rows, discard_erased, spool_root, spooled, sync_lake

_WHOLE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHORTEST_BEGINNING = 8


@dataclass(frozen=True)
class Erased:
    """What an erasure came to.

    Attributes:
        receipt: The receipt; None if the lake had nothing to erase.
        spool_files: How many files of this machine's spools were deleted.
        left: Files of spools that hold the text still: their processes are alive, or the lake did not take them.
    """

    receipt: Receipt | None
    spool_files: int = 0
    left: tuple[str, ...] = ()


def request_of(
    lake: Lake,
    *,
    runs: Sequence[str] = (),
    datasets: Sequence[str] = (),
    users: Sequence[str] = (),
    match: str | None = None,
) -> Request:
    """What some words ask for.

    Args:
        lake: The lake.
        runs: Ids of runs, beginnings of ids, or unique names. A whole id may be of a run that the lake does not have.
        datasets: Ids of data sets, beginnings of ids, or unique names.
        users: Names and e-mail addresses of one person.
        match: A text.

    Raises:
        ConfigurationError: If not exactly one kind is given.
        RunNotFoundError: If a word means no run, or several.
        NodeNotFoundError: If a word means no data set, or several.
    """
    given = {"run": runs, "dataset": datasets, "user": users, "match": () if match is None else (match,)}
    kinds = [kind for kind, words in given.items() if words]
    if len(kinds) != 1:
        raise ConfigurationError("give exactly one of --run, --dataset, --user and --match")
    [kind] = kinds
    words = list(given[kind])
    if kind == "run":
        words = [_run(lake, word) for word in words]
    elif kind == "dataset":
        words = [_dataset(lake, word) for word in words]
    return Request(kind, tuple(dict.fromkeys(words)))


def erase(lake: Lake, request: Request, *, force: bool = False, silent_for: timedelta | None = None) -> Erased:
    """Erase what a request asks for, and what dead processes of this machine left of it.

    Args:
        lake: The lake.
        request: What is to be erased.
        force: Also runs that are running.
        silent_for: How long other runs must have been silent whose files change; None for a day.

    Raises:
        EraseError: If writers or other maintenance are at work.
        StoreError: If the storage fails; the next erasure or compaction finishes what was begun.
    """
    if request.kind != "run":
        # What waits here can only be looked through where the rest is.
        for _ in sync_lake(lake.storage):
            pass
    receipt = lake.storage.erase(request, force=force, **({} if silent_for is None else {"silent_for": silent_for}))
    deleted = sum(1 for _ in discard_erased(lake.storage))
    return Erased(receipt, deleted, _left_in_spools(lake, request))


def _left_in_spools(lake: Lake, request: Request) -> tuple[str, ...]:
    if request.kind != "match":
        return ()
    here, [text] = lake.storage.absolute_url, request.words
    found = {str(path) for path, header, rows in spooled(spool_root()) if header.lake == here and _holds(rows, text)}
    return tuple(sorted(found))


def _holds(rows: Rows, text: str) -> bool:
    cells = (value for part in rows.tables.values() for row in part.to_pylist() for value in row.values())
    names = (name for block in rows.metrics for name in block.names)
    data = (item.data for item in rows.objects)
    return any(text in str(value) for value in (*cells, *names)) or any(os.fsencode(text) in one for one in data)


def _run(lake: Lake, word: str) -> str:
    try:
        return _not_by_little("run", word, lake.resolve_run(word))
    except RunNotFoundError:
        if _WHOLE_ID.fullmatch(word):
            return word
        raise


def _not_by_little(kind: str, word: str, found: str) -> str:
    """What was found, unless by so little of its id that a slip of the hand could mean it.

    Raises:
        ConfigurationError: If it was.
    """
    if found.startswith(word.lower()) and len(word) < _SHORTEST_BEGINNING:
        raise ConfigurationError(
            f"{word!r} is too little of the id of a {kind} to erase it: give at least 8 characters"
        )
    return found


def _dataset(lake: Lake, word: str) -> str:
    rows = lake.sql(
        "select dataset_id, name from datasets where name = $1 or starts_with(dataset_id, $1)", [word]
    ).to_pylist()
    exact = [row["dataset_id"] for row in rows if row["dataset_id"] == word] or [row["dataset_id"] for row in rows]
    if len(exact) == 1:
        [name] = [row["name"] for row in rows if row["dataset_id"] == exact[0]]
        return str(exact[0]) if word in {exact[0], name} else _not_by_little("data set", word, str(exact[0]))
    if not exact:
        raise NodeNotFoundError(f"no data set {word!r} in {lake.url}: `lde data history` lists those of a name")
    few = ", ".join(exact[:3])
    raise NodeNotFoundError(
        f"{word!r} means {len(exact)} data sets ({few}, …): give more of the id, or several --dataset"
    )
