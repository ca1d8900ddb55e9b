"""One maintenance job at a time: a lock that runs out, so that one which died holds up nobody for long.

It spares work only. That two at once do no harm is owed to manifests, of which each number can be made once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from lightning_lde.errors import StoreError
from lightning_lde.lake.cold._manifest import COLD
from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id, utc_now

PATH = f"{COLD}lock.json"
HELD_FOR = timedelta(minutes=15)


class Lock:
    """The lock, held.

    Args:
        store: Where the lake is.
        owner: Tells who holds it.
        path: The lock's file.
    """

    def __init__(self, store: Store, owner: str, path: str = PATH) -> None:
        self._store = store
        self._owner = owner
        self._path = path

    def renew(self) -> None:
        """Hold it for as long again."""
        self._store.put(self._path, _content(self._owner))


@contextlib.contextmanager
def held(store: Store, path: str = PATH) -> Iterator[Lock | None]:
    """Hold the lock; None where somebody else does.

    Args:
        store: Where the lake is.
        path: The lock's file.
    """
    owner = new_run_id()
    if not _take(store, owner, path):
        yield None
        return
    try:
        yield Lock(store, owner, path)
    finally:
        # Where it cannot be given back it runs out.
        with contextlib.suppress(StoreError, OSError):
            if _read(store, path)[0] == owner:
                store.delete(path)


def is_held(store: Store) -> bool:
    """Whether a maintenance job is at work."""
    try:
        return _read(store, PATH)[1] > utc_now()
    except FileNotFoundError:
        return False


def _take(store: Store, owner: str, path: str) -> bool:
    if store.create(path, _content(owner)):
        return True
    with contextlib.suppress(FileNotFoundError):
        _, until = _read(store, path)
        if until > utc_now():
            return False
    store.put(path, _content(owner))
    return _read(store, path)[0] == owner


def _content(owner: str) -> bytes:
    return json.dumps({"owner": owner, "until": (utc_now() + HELD_FOR).isoformat()}).encode()


def _read(store: Store, path: str) -> tuple[str, datetime]:
    """Who holds it, and until when; nobody where it is damaged."""
    try:
        content = json.loads(store.get(path))
        return content["owner"], datetime.fromisoformat(content["until"])
    except (ValueError, KeyError, TypeError):
        return "", datetime.fromtimestamp(0, utc_now().tzinfo)
