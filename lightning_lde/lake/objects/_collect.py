"""Deletes objects and chunks that no row refers to, beside writers that may be about to refer to them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lightning_lde.lake import _layout
from lightning_lde.lake.objects._condemned import CONDEMNED, CondemnedList, condemn, look
from lightning_lde.lake.objects._places import CHUNKS
from lightning_lde.lake.objects._references import first_path
from lightning_lde.lake.stores import StoredFile
from lightning_lde.schema import utc_now

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage

OLDER_THAN = timedelta(days=7)
"""Younger files may belong to a run whose rows have not come yet."""

CONDEMNED_FOR = timedelta(hours=24)
"""How long a file is condemned before it is deleted; writers do not rely on it meanwhile."""

DELETES_FOR = timedelta(minutes=30)
"""How long anybody deletes by one list and one look at the rows; a day later others delete his list."""

_PATH = re.compile(r"(?:objects|chunks)/([0-9a-f]{2})/\1[0-9a-f]{62}(?:-[1-9][0-9]*)?")
_THREADS = 16


@dataclass(frozen=True)
class Collected:
    """What a collection found and did.

    Attributes:
        kept: Files that rows refer to.
        kept_bytes: Their bytes.
        young: Files without a row that are too young to tell.
        young_bytes: Their bytes.
        waiting: Files that are condemned, and deleted by a later collection unless a row comes to refer to them.
        waiting_bytes: Their bytes.
        deleted: Files that were deleted, or would be.
        deleted_bytes: Their bytes.
    """

    kept: int = 0
    kept_bytes: int = 0
    young: int = 0
    young_bytes: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0

    def details(self) -> dict[str, int]:
        """What is noted of it."""
        return dataclasses.asdict(self)


def collect(
    storage: LakeStorage,
    *,
    older_than: timedelta = OLDER_THAN,
    condemned_for: timedelta = CONDEMNED_FOR,
    dry_run: bool = False,
) -> Collected:
    """Delete what was condemned long enough ago, and condemn what no row refers to now.

    It may die at any moment, and several may be at work at once.

    Args:
        storage: The lake.
        older_than: Files that were written later stay.
        condemned_for: How long files are condemned before they are deleted.
        dry_run: Whether nothing shall be changed.

    Raises:
        StoreError: If the storage fails, or a file of rows or a recipe cannot be read: then nothing is deleted.
    """
    lists = look(storage.store).lists.values()
    ripe = [one for one in lists if one.created_at + condemned_for <= utc_now() and not is_in_use(one)]
    due = _paths(ripe)
    found = _sorted(storage, due, _paths(lists) - due, older_than)
    gone = set(found.due)
    if not dry_run:
        gone = delete_unreferenced(storage, found.due)
        if found.new:
            condemn(storage.store, found.new, is_deleting=False)
        for path in (*(one.path for one in ripe), *_unreadable(storage, condemned_for)):
            storage.store.delete(path)
    return found.summary(gone)


def delete_unreferenced(
    storage: LakeStorage,
    paths: Iterable[str],
    *,
    needed: Callable[[], set[str]] | None = None,
    remove: Callable[[str], None] | None = None,
) -> set[str]:
    """Delete files that nothing needs, at once; none that a writer comes to rely on meanwhile.

    An object goes together with what was stored again in its place (``-1``, …), if that is given too.

    Args:
        storage: The lake.
        paths: Files below ``objects/`` and ``chunks/``.
        needed: Looks which files are needed, after the list has been made: a row that is sent later is sent by a
            writer that sees the list. By default what rows refer to.
        remove: Removes a file. By default everywhere.

    Returns:
        The files that were deleted.

    Raises:
        StoreError: If the storage fails; the list stays then, for a day.
    """
    look_again = needed or (lambda: storage.references().paths)
    left, gone = sorted(set(paths)), set[str]()
    while left:
        mine = condemn(storage.store, left)
        staying = look_again()
        going = [path for path in left if first_path(path) not in staying]
        # Whoever cannot be sure that he was quick enough begins again.
        until, done = mine.created_at + DELETES_FOR, 0
        with ThreadPoolExecutor(_THREADS) as pool:
            while done < len(going) and utc_now() < until:
                portion = going[done : done + _THREADS * 8]
                list(pool.map(remove or storage.objects.places.remove, portion))
                done += len(portion)
        gone.update(going[:done])
        storage.store.delete(mine.path)
        left = going[done:]
    return gone


@dataclass
class _Files:
    """The files below ``objects/`` and ``chunks/``, by what becomes of them."""

    kept: dict[str, int]
    young: dict[str, int]
    waiting: dict[str, int]
    due: dict[str, int]
    new: dict[str, int]

    def summary(self, gone: Iterable[str]) -> Collected:
        deleted = {path: self.due[path] for path in gone}
        kept = self.kept | {path: size for path, size in self.due.items() if path not in deleted}
        parts: Mapping[str, dict[str, int]] = {
            "kept": kept, "young": self.young, "waiting": self.waiting | self.new, "deleted": deleted,
        }  # fmt: skip
        counts = {name: len(part) for name, part in parts.items()}
        sizes = {f"{name}_bytes": sum(part.values()) for name, part in parts.items()}
        return Collected(**counts, **sizes)


def _sorted(storage: LakeStorage, due: set[str], waiting: set[str], older_than: timedelta) -> _Files:
    stored = list(_stored(storage))
    # Rows that come after this look are the affair of the second one.
    needed = storage.references().paths
    files, limit = _Files({}, {}, {}, {}, {}), utc_now() - older_than
    for file in stored:
        if first_path(file.path) in needed:
            part = files.kept
        elif file.modified_at is None or file.modified_at > limit:
            part = files.young
        elif file.path in due:
            part = files.due
        else:
            part = files.waiting if file.path in waiting else files.new
        part[file.path] = file.size_bytes
    return files


def _stored(storage: LakeStorage) -> Iterator[StoredFile]:
    for prefix in (_layout.OBJECTS, CHUNKS):
        yield from (file for file in storage.store.list(prefix) if _PATH.fullmatch(file.path))


def is_in_use(one: CondemnedList) -> bool:
    """Whether somebody may be deleting by a list: by it, writers know what not to rely on."""
    return one.is_deleting and one.created_at + CONDEMNED_FOR > utc_now()


def _paths(lists: Iterable[CondemnedList]) -> set[str]:
    return {path for one in lists for path in one.paths}


def _unreadable(storage: LakeStorage, condemned_for: timedelta) -> list[str]:
    """Old lists that were never complete, so that nothing was deleted by them."""
    limit, complete = utc_now() - condemned_for, look(storage.store).lists
    return [
        file.path
        for file in storage.store.list(CONDEMNED)
        if file.path not in complete and file.modified_at is not None and file.modified_at <= limit
    ]
