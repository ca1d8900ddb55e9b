"""What broken-off work has left: temporary files, and deletions that were not finished."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from lightning_lde.errors import StoreError
from lightning_lde.lake.check._findings import Finding, Found, Kind, Severity
from lightning_lde.lake.check._mending import Mending
from lightning_lde.lake.check._moments import OLD, is_older
from lightning_lde.lake.stores import Store, StoredFile

CONDEMNED = "condemned/"

_SUFFIX = ".tmp"
_FOLDERS = ("hot", "cold", "objects", "chunks", "condemned", "erasing", "maintenance", "receipts")


def temporary_findings(store: Store, listed: list[StoredFile], mending: Mending, now: datetime) -> Iterator[Found]:
    """Files that end in ``.tmp`` and that nobody writes any more.

    Args:
        store: Where the lake is.
        listed: Files that listings have shown; those of a folder do not show temporary ones.
        mending: Repairs.
        now: The present.
    """
    old = {one.path for one in listed if one.path.endswith(_SUFFIX) and is_older(one, OLD, now)}
    for path in sorted(old | set(_on_disk(store, now))):
        said = Finding(Severity.INFO, Kind.TEMPORARY, path, "a write that was broken off has left it", "removes it")
        yield Found(said, partial(mending.remove, path))


def _on_disk(store: Store, now: datetime) -> Iterator[str]:
    root = store.local_path("")
    if root is None:
        return
    places = [Path(root), *(Path(root) / folder for folder in _FOLDERS)]
    for place in places:
        for folder, _, names in os.walk(place) if place != Path(root) else [(root, [], _names(Path(root)))]:
            for name in names:
                file = Path(folder) / name
                # Delta's writers have temporary names of their own.
                if name.endswith(_SUFFIX) and "_delta_log" not in file.parts and _is_old(file, now):
                    yield file.relative_to(root).as_posix()


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return [entry.name for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
    return []


def _is_old(file: Path, now: datetime) -> bool:
    try:
        changed = file.lstat().st_mtime
    except OSError:
        return False
    return datetime.fromtimestamp(changed, timezone.utc) <= now - OLD


def condemned_findings(store: Store, now: datetime) -> Iterator[Found]:
    """Lists of objects that were to be deleted, by somebody who has not come back.

    Args:
        store: Where the lake is.
        now: The present.
    """
    for stored in store.list(CONDEMNED):
        if stored.path.endswith(_SUFFIX):
            continue
        try:
            created = datetime.fromisoformat(json.loads(store.get(stored.path))["created_at"])
            is_old = created <= now - 7 * OLD
        except FileNotFoundError:
            continue
        except StoreError:
            raise
        except (ValueError, KeyError, TypeError):
            said = "this list of objects that are to be deleted cannot be understood; `lde gc` makes new ones"
            yield Found(Finding(Severity.WARNING, Kind.CONDEMNED, stored.path, said))
            continue
        if is_old:
            said = f"objects were to be deleted since {created:%Y-%m-%d %H:%M}; `lde gc` goes on with it"
            yield Found(Finding(Severity.INFO, Kind.CONDEMNED, stored.path, said))
