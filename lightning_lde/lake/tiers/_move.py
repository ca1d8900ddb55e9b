"""Moves files to the cold root, or away, as the rules say.

Whatever breaks off, every file can be read. A file is copied and compared, then its row says that it is cold, then its
copy in the lake's own root goes: by the protocol of docs/format.md, so that nothing goes that a writer at work relies
on. Rows say what shall be where, so the next run finishes what one that died has left.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from lightning_lde.errors import ConfigurationError
from lightning_lde.lake.cold._lock import Lock, held
from lightning_lde.lake.objects import delete_unreferenced, first_path
from lightning_lde.lake.objects._workers import workers
from lightning_lde.lake.tiers._amounts import Amount, Tiering
from lightning_lde.lake.tiers._cost import estimate
from lightning_lde.lake.tiers._plan import Decision, HeldFile
from lightning_lde.lake.tiers._root import ColdRoot, cold_roots
from lightning_lde.lake.tiers._work import Work, is_damaged, listed_cold, listed_hot, needs_now, plan_work
from lightning_lde.schema import Placement, Record, Tier, utc_now
from lightning_lde.tiering import TierPolicy

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage

LOCK = "cold/tiers-lock.json"
"""Held by who moves files; of two at once one steps aside."""

_RENEW_EVERY_S = 60.0


Tell = Callable[[Tiering], None]


def tier(
    storage: LakeStorage,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    project: str | None = None,
    tell: Tell | None = None,
) -> Tiering:
    """Bring files where the rules say.

    Args:
        storage: The lake.
        now: Another moment than the present.
        dry_run: Only say what would be done.
        project: Only files of runs of this project.
        tell: Called now and then with what was done so far.

    Raises:
        ConfigurationError: If the tiers cannot be understood, or there is no cold root for what shall go there.
        StoreError: If a storage fails; what was done until then stays done.
    """
    tiers = storage.tiers()
    tiers.require_understood()
    if tiers.cold_root is None and any(rule.to == "cold" for rule in tiers.rules):
        raise ConfigurationError(
            "a rule moves files to the cold root, and there is none: "
            f"`lde policy set {storage.url} tiers.cold=FOLDER_OR_URL`"
        )
    roots = cold_roots(tiers, storage.store, storage.given_options)
    for root in roots:
        root.require_there()
    if dry_run:
        return _Job(storage, tiers, roots, project).look(now or utc_now())
    with held(storage.store, LOCK) as lock:
        if lock is None:
            return Tiering(was_busy=True)
        if tiers.cold_root is not None:
            roots[0].claim(tiers.tier_id)
            storage.use_root(tiers.cold_root)
        return _Job(storage, tiers, roots, project, lock, tell).run(now or utc_now())


class _Job:
    """One run of it."""

    def __init__(
        self,
        storage: LakeStorage,
        tiers: TierPolicy,
        roots: list[ColdRoot],
        project: str | None,
        lock: Lock | None = None,
        tell: Tell | None = None,
    ) -> None:
        self._storage = storage
        self._tiers = tiers
        self._roots = roots
        self._project = project
        self._lock = lock
        self._tell = tell
        self._renewed = time.monotonic()
        self.done = Tiering(is_dry_run=lock is None)

    def look(self, now: datetime) -> Tiering:
        """What would be done."""
        work = self._plan(now)
        self._count_moves(work.moves)
        done = self.done
        done.copied = Amount.of(work.new_copies)
        done.removed = Amount.of(work.hot[path] for path in work.drops)
        cold_drops = [work.cold[at][path] for at in range(len(self._roots)) for path in work.cold_drops(at)]
        done.removed_cold = Amount.of(cold_drops)
        sizes = work.sizes
        done.hot_after, done.cold_after = Amount.of(sizes.hot_after), Amount.of(sizes.cold_after)
        return done

    def run(self, now: datetime) -> Tiering:
        """Do it."""
        work = self._plan(now)
        failed = self._copy(work)
        present = {first_path(path) for path in work.hot}.union(*work.cold)
        moves = [move for move in work.moves if not self._is_held_up(move, work, failed, present)]
        self._record(moves, work.projects)
        self._count_moves(moves)
        self._remove(work, failed)
        self.done.hot_after = Amount.of(listed_hot(self._storage).values())
        self.done.cold_after = Amount.of(size for root in self._roots for size in listed_cold(root).values())
        return self.done

    def _plan(self, now: datetime) -> Work:
        work = plan_work(self._storage, self._tiers, self._roots, now=now, project=self._project)
        sizes = work.sizes
        self.done.hot_before, self.done.cold_before = Amount.of(sizes.hot_before), Amount.of(sizes.cold_before)
        self.done.cost = estimate(sizes, self._tiers.prices_for(self._storage.absolute_url))
        return work

    def _copy(self, work: Work) -> dict[str, str]:
        """Copy what shall be cold; what cannot be copied, by its path in the cold root, with the reason."""
        failed: dict[str, str] = {}
        there = work.cold[0] if work.cold else {}
        with workers() as at_work:
            running = [
                (
                    path,
                    target,
                    at_work.submit(work.hot[path], partial(self._copied, path, target, may_be_there=target in there)),
                )
                for path, target in work.copies.items()
            ]
            for path, target, future in running:
                try:
                    is_new = future.result()
                except _UnfitError as error:
                    failed[target] = str(error)
                    continue
                self.done.copied.n += is_new
                self.done.copied.size_bytes += work.hot[path] if is_new else 0
                self._go_on()
        return failed

    def _copied(self, path: str, target: str, *, may_be_there: bool) -> bool:
        """Make sure that an object is in the cold root as it is here; whether it had to be written."""
        try:
            data = self._storage.store.get(path)
        except FileNotFoundError as error:
            raise _UnfitError(f"{path} is gone") from error
        if is_damaged(path, data):
            raise _UnfitError(f"{path} is damaged")
        return self._roots[0].put(target, data, may_be_there=may_be_there)

    def _is_held_up(self, move: Decision, work: Work, failed: dict[str, str], present: set[str]) -> bool:
        """Whether a file cannot become cold, because something of it is nowhere or damaged."""
        if move.to != Tier.COLD:
            return False
        wanted = work.held.get(move.file.key, {""})
        problems = [failed[path] for path in wanted if path in failed]
        problems += [f"{path or 'its row'} is missing" for path in wanted if path not in present]
        if problems:
            self.done.problems.append(f"{move.file.key.path} of {move.file.key.run_id} stays: {sorted(problems)[0]}")
        return bool(problems)

    def _record(self, moves: list[Decision], projects: dict[str, str]) -> None:
        """Say in the lake where files are."""
        root = self._roots[0] if self._roots else None
        rows: dict[str, list[Record]] = {}
        for one in moves:
            rows.setdefault(projects[one.file.key.run_id], []).append(_placement(one.file, one.to, one.why, root))
        for project, some in rows.items():
            self._storage.add_records("placements", some, project=project)

    def _remove(self, work: Work, failed: dict[str, str]) -> None:
        """Remove what nobody needs where it is."""
        drops = [path for path in work.drops if first_path(path) not in failed]
        if drops:
            gone = delete_unreferenced(
                self._storage, drops, needed=self._needed_here, remove=self._storage.store.delete
            )
            self.done.removed = Amount.of(work.hot[path] for path in gone)
            self._go_on()
        orphans = [
            (root, path, work.cold[at][path]) for at, root in enumerate(self._roots) for path in work.cold_drops(at)
        ]
        needed = needs_now(self._storage).all if orphans else frozenset()
        for root, path, size_bytes in orphans:
            if path not in needed:
                root.remove(path)
                self.done.removed_cold.n += 1
                self.done.removed_cold.size_bytes += size_bytes
                self._go_on()

    def _needed_here(self) -> set[str]:
        """What has to stay in the lake's own root: what hot files need, and what is nowhere else."""
        now = needs_now(self._storage)
        return set(now.hot) | (now.cold - set().union(*map(listed_cold, self._roots)))

    def _count_moves(self, moves: list[Decision]) -> None:
        for one in moves:
            for amount in (
                self.done.deleted if one.to == Tier.DELETED else self.done.to_cold,
                self.done.by_rule.setdefault(one.rule or 0, Amount()),
            ):
                amount.n += 1
                amount.size_bytes += one.file.size_bytes

    def _go_on(self) -> None:
        """Hold the lock, and tell."""
        if time.monotonic() - self._renewed > _RENEW_EVERY_S and self._lock is not None:
            self._lock.renew()
            self._renewed = time.monotonic()
        if self._tell is not None:
            self._tell(self.done)


class _UnfitError(Exception):
    """An object that cannot be copied."""


def _placement(file: HeldFile, to: str, why: str, root: ColdRoot | None) -> Placement:
    is_cold = to == Tier.COLD and root is not None
    return Placement(
        run_id=file.key.run_id,
        path=file.key.path,
        object_id=file.key.object_id,
        recipe=file.recipe,
        size_bytes=file.size_bytes,
        tier=to,
        root=root.url if is_cold and root is not None else None,
        storage_class=root.storage_class if is_cold and root is not None else None,
        reason=why,
        # The clock of who stored the file may be ahead.
        recorded_at=max(utc_now(), file.stored_at),
    )
