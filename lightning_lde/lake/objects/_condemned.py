"""Lists of files that are about to be deleted, by which writers and collectors stay out of each other's way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id, utc_now

CONDEMNED = "condemned/"


@dataclass(frozen=True)
class CondemnedList:
    """Files that somebody is about to delete, unless they are referenced.

    Attributes:
        path: Where the list lies.
        created_at: When it was made.
        paths: The files.
        is_deleting: Whether its maker deletes by it now; otherwise a later collection does.
    """

    path: str
    created_at: datetime
    paths: frozenset[str]
    is_deleting: bool = True


@dataclass(frozen=True)
class Look:
    """What was condemned when somebody looked.

    Attributes:
        lists: By their path.
    """

    lists: Mapping[str, CondemnedList] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Whether a file is on one of the lists."""
        return any(path in one.paths for one in self.lists.values())

    def free(self, path: str) -> str:
        """The first of a path and its following generations that is on no list."""
        generation, candidate = 0, path
        while self.has(candidate):
            generation += 1
            candidate = f"{path}-{generation}"
        return candidate


def look(store: Store, before: Look | None = None) -> Look:
    """The lists that there are.

    Args:
        store: Where the lake is.
        before: An earlier look; lists never change, so those that it has are not read again.
    """
    known = before.lists if before is not None else {}
    found = {}
    for path in sorted(stored.path for stored in store.list(CONDEMNED)):
        one = known.get(path) or _read(store, path)
        if one is not None:
            found[path] = one
    return Look(found)


def condemn(store: Store, paths: Iterable[str], *, is_deleting: bool = True) -> CondemnedList:
    """Make a list; when this returns every writer that looks sees it.

    Args:
        store: Where the lake is.
        paths: The files.
        is_deleting: Whether they are deleted right after this. Nobody else takes such a list away for a day.

    Raises:
        StoreError: If the storage does not take it.
    """
    made = CondemnedList(f"{CONDEMNED}{new_run_id()}.json", utc_now(), frozenset(paths), is_deleting)
    content = {"created_at": made.created_at.isoformat(), "deleting": is_deleting, "paths": sorted(made.paths)}
    store.create(made.path, json.dumps(content, indent=1).encode())
    return made


def newer(now: Look, before: Look) -> Iterator[CondemnedList]:
    """The lists that were made since an earlier look."""
    return (one for path, one in now.lists.items() if path not in before.lists)


def _read(store: Store, path: str) -> CondemnedList | None:
    """A list, None where it is gone by now: what it named is deleted, or stays."""
    try:
        content = json.loads(store.get(path))
        created_at, is_deleting = datetime.fromisoformat(content["created_at"]), bool(content.get("deleting", True))
        return CondemnedList(path, created_at, frozenset(content["paths"]), is_deleting)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        # Whoever began it did not come to its second look, so nothing was deleted by it.
        return None
