"""Erases: rows from both tiers, objects, former versions, logs and notes, in steps that anybody can finish."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from lightning_lde.errors import EraseError
from lightning_lde.lake import _layout
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake.cold._absorbed import list_absorbed
from lightning_lde.lake.cold._commit import commit, delete_all
from lightning_lde.lake.cold._delta import can_publish, has_logs, publish
from lightning_lde.lake.cold._erased import hash_of, read_erased, write_erased
from lightning_lde.lake.cold._lock import Lock, held
from lightning_lde.lake.cold._manifest import newest_manifest
from lightning_lde.lake.cold._settled import SETTLED_AFTER, restless
from lightning_lde.lake.erase import _objects
from lightning_lde.lake.erase._ask import Request, Scope, scope_of
from lightning_lde.lake.erase._clean import clean_notes, lists_without, remove_damaged, remove_former, where_left
from lightning_lde.lake.erase._digest import Digest
from lightning_lde.lake.erase._files import Affected, Files, Hit, Known, affected, list_files, scan
from lightning_lde.lake.erase._receipt import Plan, Receipt, new_plan, read_receipts, unfinished
from lightning_lde.lake.erase._rewrite import rewrite
from lightning_lde.lake.erase._versions import keeps_versions
from lightning_lde.lake.stores import Store
from lightning_lde.lake.tiers._move import LOCK
from lightning_lde.schema import utc_now

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage

_MOST_ROUNDS = 6
_MOST_NAMED = 3


@dataclass(frozen=True)
class Preview:
    """What would be erased.

    Attributes:
        runs: Ids of runs.
        rows: By table how many rows go.
        changed: By table how many rows stay and name what goes: that is taken out of them.
        content: By table of content how many things only these runs used.
        objects: Files of objects that nothing else refers to.
        object_bytes: Their size.
        waits_for: Writers at work that are in the way, with the reason.
        unread: Files of objects that nobody could look into.
    """

    runs: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    content: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    object_bytes: int = 0
    waits_for: dict[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to erase."""
        return not (self.runs or any(self.rows.values()) or any(self.changed.values()) or self.objects)


def preview(storage: LakeStorage, request: Request, *, silent_for: timedelta = SETTLED_AFTER) -> Preview:
    """Look what would be erased; nothing is changed.

    Args:
        storage: The lake.
        request: What is asked.
        silent_for: How long other runs must have been silent whose files would change.
    """
    files = list_files(storage.store, newest_manifest(storage.store))
    scope = scope_of(storage, files, request)
    hits = scan(storage.store, files, scope.target)
    going: dict[str, int] = {}
    changed: dict[str, int] = {}
    for one in files.counting:
        hit = hits.get(one.path, Hit())
        going[one.table] = going.get(one.table, 0) + hit.going
        changed[one.table] = changed.get(one.table, 0) + hit.changing
    found = affected(files, hits, scope.target)
    n, size_bytes = _objects.would_go(storage, files, scope.target, scope.paths)
    return Preview(
        tuple(sorted(scope.target.runs)),
        {table: count for table, count in sorted(going.items()) if count},
        {table: count for table, count in sorted(changed.items()) if count},
        {table: len(ids) for table, ids in scope.target.content.items() if ids},
        n,
        size_bytes,
        _in_the_way(storage, files, found, scope, silent_for=silent_for, force=False),
        scope.unread,
    )


def erase(
    storage: LakeStorage,
    request: Request,
    *,
    force: bool = False,
    silent_for: timedelta = SETTLED_AFTER,
) -> Receipt | None:
    """Erase; when this returns nothing of it can be found in any byte of the lake.

    Args:
        storage: The lake.
        request: What is asked.
        force: Also runs that are running; what they send later is given up.
        silent_for: How long other runs must have been silent whose files change, if they never ended.

    Returns:
        The receipt; None if there was nothing to erase.

    Raises:
        EraseError: If writers at work are in the way, or other maintenance is.
        StoreError: If the storage fails; the next erasure or compaction finishes what was begun.
    """
    with _locked(storage) as lock:
        _finish_all(storage, lock)
        files = list_files(storage.store, newest_manifest(storage.store))
        scope = scope_of(storage, files, request)
        seen: Known = {}
        found = affected(files, scan(storage.store, files, scope.target, seen), scope.target)
        known = read_erased(storage.store, files.manifest)
        if not (found or scope.paths or {hash_of(run) for run in scope.target.runs} - known):
            return None
        if waits := _in_the_way(storage, files, found, scope, silent_for=silent_for, force=force):
            raise EraseError(_words(waits))
        plan = new_plan(request.kind, list(request.words), scope.target, request.needle)
        plan.paths |= scope.paths
        plan.save(storage.store)
        return _Job(storage, lock, plan, silent_for, seen).run(scope.unread)


def finish(storage: LakeStorage) -> list[Receipt]:
    """Finish erasures that broke off; the lock must not be held.

    Args:
        storage: The lake.
    """
    if not unfinished(storage.store):
        return []
    with _locked(storage) as lock:
        return _finish_all(storage, lock)


def _finish_all(storage: LakeStorage, lock: Lock) -> list[Receipt]:
    return [_Job(storage, lock, plan, timedelta(0), {}).run() for plan in unfinished(storage.store)]


@contextlib.contextmanager
def _locked(storage: LakeStorage) -> Iterator[Lock]:
    # A file that is on its way to the cold root would arrive there when it is erased.
    with held(storage.store) as lock, held(storage.store, LOCK) as moving:
        if lock is None or moving is None:
            raise EraseError(
                f"other maintenance of the lake at {storage.url} is at work: try again when it is over; "
                "the lock of one that died runs out after 15 minutes"
            )
        yield lock


def _in_the_way(
    storage: LakeStorage, files: Files, found: Affected, scope: Scope, *, silent_for: timedelta, force: bool
) -> dict[str, str]:
    """Writers at work: runs that are erased and go on, and others whose files would be taken from them."""
    current = _layout.current_files(files.hot)
    theirs = [one for one in current if one.writer in found.writers]
    others = [one for one in current if one.writer in found.others]
    waits = restless(storage.store, others, silent_for)
    if not force:
        waits |= restless(storage.store, theirs, timedelta(0))
    return waits


def _words(waits: dict[str, str]) -> str:
    some = "; ".join(f"{writer} {why}" for writer, why in list(waits.items())[:_MOST_NAMED])
    more = f"; and {len(waits) - _MOST_NAMED} more" if len(waits) > _MOST_NAMED else ""
    return (
        f"nothing was erased, since writers are at work: {some}{more}. Wait until they are over, "
        "say --silent-for 0s if they are, or erase with --force what is running itself"
    )


class _Job:
    """One erasure at work, begun now or by somebody who did not come to the end."""

    def __init__(self, storage: LakeStorage, lock: Lock, plan: Plan, silent_for: timedelta, seen: Known) -> None:
        self._storage = storage
        self._store = storage.store
        self._lock = lock
        self._plan = plan
        self._silent_for = silent_for
        self._seen = seen
        self._manifest = newest_manifest(self._store)
        self._warnings: list[str] = []

    def run(self, unread: tuple[str, ...] = ()) -> Receipt:
        """Do all that is left to do."""
        plan = self._plan
        for receipt in read_receipts(self._store, plan.erasure_id):
            plan.forget(self._store)
            return receipt
        if plan.tombstones is not None:
            plan.settle_pending(is_committed=self._manifest.erased == plan.tombstones)
        self._rewrite_until_clean()
        self._clean_lists()
        self._remove_former()
        objects, size_bytes = self._remove_objects()
        erased = read_erased(self._store, self._manifest)
        plan.count_files("damaged", *remove_damaged(self._store, erased, plan.target, plan.paths))
        clean_notes(self._store, plan.target)
        self._warn(unread)
        receipt = self._receipt(objects, size_bytes)
        rows = {table: digest.count for table, digest in plan.rows.items()}
        details = {"receipt": plan.erasure_id, "asked": plan.asked["kind"], "runs": len(plan.target.runs), "rows": rows}
        self._storage.note_action("erase", {**details, "objects": objects.count})
        # Who erases may be who is erased.
        clean_notes(self._store, plan.target)
        self._store.create(receipt.path, receipt.to_bytes())
        plan.forget(self._store)
        return receipt

    def _rewrite_until_clean(self) -> None:
        for _ in range(_MOST_ROUNDS):
            if not self._rewrite():
                return
            self._lock.renew()
        raise EraseError("rows that are to be erased came anew each time that they were erased: try again later")

    def _rewrite(self) -> bool:
        """Bring all rows that stay into files without the others; whether there was anything to do."""
        plan, store = self._plan, self._store
        files = list_files(store, self._manifest)
        self._delete("hot", [*files.absorbed, *files.buried], files)
        found = affected(files, scan(store, files, plan.target, self._seen), plan.target)
        known = read_erased(store, self._manifest)
        erased = known | {hash_of(name) for name in (plan.target.runs | found.writers)}
        if not found and erased == known:
            return False
        others = [one for one in found.hot if one.writer in found.others]
        if waits := restless(store, others, self._silent_for):
            raise EraseError(_words(waits) + "; what was begun is finished by the next erasure or compaction")
        done = rewrite(store, files, found, plan.target)
        if not _as_it_was(store, others):
            delete_all(store, done.made)
            return True
        tombstones = write_erased(store, erased)
        plan.refs |= done.refs
        plan.pending, plan.tombstones = done.gone, tombstones
        plan.save(store)
        absorbed = [list_absorbed(store, others, utc_now())] if others else []
        tables = {table: kept for table, kept in {**self._manifest.tables, **done.tables}.items() if kept}
        wanted = replace(
            self._manifest, tables=tables, absorbed=(*self._manifest.absorbed, *absorbed), erased=tombstones
        )
        self._manifest = commit(
            store, self._manifest, wanted, [*done.made, tombstones, *(one.path for one in absorbed)]
        )
        plan.settle_pending(is_committed=True)
        self._delete("hot", [one.path for one in found.hot], files)
        plan.save(store)
        return True

    def _delete(self, kind: str, paths: list[str], files: Files) -> None:
        if paths:
            self._plan.count_files(kind, delete_all(self._store, paths), sum(files.sizes[path] for path in paths))

    def _clean_lists(self) -> None:
        erased = read_erased(self._store, self._manifest)
        lists = lists_without(self._store, self._manifest, erased, self._plan.target)
        if lists != self._manifest.absorbed:
            made = [one.path for one in lists if one.path not in {old.path for old in self._manifest.absorbed}]
            self._manifest = commit(self._store, self._manifest, replace(self._manifest, absorbed=lists), made)

    def _remove_former(self) -> None:
        had_logs = has_logs(self._store, self._manifest)
        self._plan.count_files("cold", *remove_former(self._store, self._manifest))
        if not had_logs:
            return
        if can_publish(self._store):
            publish(self._store, self._manifest, self._storage.given_options)
        else:
            self._warnings.append("the Delta tables are gone until `lde compact` runs where deltalake is installed")

    def _remove_objects(self) -> tuple[Digest, int]:
        plan = self._plan
        # Before the first one goes: a recipe says which others belong to it.
        plan.paths |= _objects.paths_of(self._storage, plan.refs)
        plan.save(self._store)
        objects, size_bytes = _objects.remove(self._storage, plan.paths)
        _objects.forget_condemned(self._storage, plan.paths)
        return objects, size_bytes

    def _warn(self, unread: tuple[str, ...]) -> None:
        plan = self._plan
        if unread:
            self._warnings.append(
                f"{len(unread)} files of objects are damaged, encrypted or away and could not be looked into"
            )
        if plan.needle is not None and (left := where_left(self._store, plan.needle, [plan.path])):
            self._warnings.append(f"the text still stands in {', '.join(left)}, which erasing does not change")
        if keeps_versions(self._storage):
            self._warnings.append(
                "the bucket keeps versions of deleted files: what was erased is there until they are deleted too"
            )

    def _receipt(self, objects: Digest, size_bytes: int) -> Receipt:
        plan = self._plan
        return Receipt(
            plan.erasure_id,
            plan.began_at,
            utc_now(),
            plan.asked,
            tuple(sorted(map(hash_of, plan.target.runs))),
            {table: digest.as_words() for table, digest in sorted(plan.rows.items())},
            {**objects.as_words(), "bytes": size_bytes},
            {kind: {"count": n, "bytes": size} for kind, (n, size) in sorted(plan.files.items())},
            tuple(self._warnings),
        )


def _as_it_was(store: Store, files: Sequence[HotFile]) -> bool:
    """Whether writers have the same files still, in the tables that these are of."""
    places = {(one.writer, one.table) for one in files}
    if not places:
        return True
    found = (_layout.parse_hot_path(stored.path) for stored in store.list(_layout.HOT))
    now = {one.path for one in found if one is not None and (one.writer, one.table) in places}
    return now == {one.path for one in files}
