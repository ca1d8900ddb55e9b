"""Brings cold files of runs back into the lake's own root; what is archived is asked for first."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from lightning_lde.errors import ConfigurationError, StoreError
from lightning_lde.lake.cold._lock import held
from lightning_lde.lake.objects import references
from lightning_lde.lake.objects._workers import workers
from lightning_lde.lake.tiers._amounts import Amount, Restoring
from lightning_lde.lake.tiers._archive import RETRIEVALS, ObjectState, State
from lightning_lde.lake.tiers._move import LOCK
from lightning_lde.lake.tiers._needs import by_key
from lightning_lde.lake.tiers._plan import FileKey, HeldFile
from lightning_lde.lake.tiers._root import ColdRoot, cold_roots
from lightning_lde.lake.tiers._rows import files_and_runs
from lightning_lde.lake.tiers._work import is_damaged
from lightning_lde.schema import Placement, Record, Tier, utc_now

if TYPE_CHECKING:
    from lightning_lde.lake._storage import LakeStorage

POLL_S = 60.0
"""Between two looks at files that are on their way out of an archive."""

_THREADS = 16


def restore(
    storage: LakeStorage,
    run_ids: Collection[str],
    *,
    match: str = "*",
    days: int = 7,
    retrieval: str = "Standard",
    dry_run: bool = False,
    wait: bool = False,
    poll_s: float = POLL_S,
    tell: Callable[[Restoring], None] | None = None,
) -> Restoring:
    """Bring cold files of some runs back.

    Args:
        storage: The lake.
        run_ids: Whole ids.
        match: Only files whose path this glob means.
        days: For how many days archived objects are asked for.
        retrieval: How fast, a word of `RETRIEVALS`.
        dry_run: Only say what is where.
        wait: Go on until all is back.
        poll_s: Seconds between two looks at what is archived.
        tell: Called after each look.

    Raises:
        ConfigurationError: If an argument cannot work.
        StoreError: If a storage fails; what was done until then stays done.
    """
    if retrieval not in RETRIEVALS:
        raise ConfigurationError(f"retrieval is {retrieval!r}: give one of {', '.join(RETRIEVALS)}")
    if days < 1:
        raise ConfigurationError(f"days is {days}: archived objects are asked for at least one day")
    roots = cold_roots(storage.tiers(), storage.store, storage.given_options)
    for root in roots:
        root.require_there()
    total = Restoring(is_dry_run=dry_run)
    while True:
        with held(storage.store, LOCK) as lock:
            if lock is None and not dry_run:
                total.was_busy = True
            else:
                total.was_busy = False
                _Job(storage, roots, run_ids, match, days, retrieval, total).once()
        if tell is not None:
            tell(total)
        if dry_run or not wait or not (total.was_busy or total.waiting.n):
            return total
        time.sleep(poll_s)


@dataclass
class _Found:
    """An object in a cold root, and how it is there."""

    root: ColdRoot | None
    state: ObjectState


class _Job:
    """One look at what is cold."""

    def __init__(
        self,
        storage: LakeStorage,
        roots: Sequence[ColdRoot],
        run_ids: Collection[str],
        match: str,
        days: int,
        retrieval: str,
        done: Restoring,
    ) -> None:
        self._storage = storage
        self._roots = roots
        self._run_ids = run_ids
        self._match = match
        self._days = days
        self._retrieval = retrieval
        self._done = done

    def once(self) -> None:
        """Ask for what is archived, copy what can be read, say which files are back."""
        files, runs = files_and_runs(self._storage, now=utc_now())
        cold = [file for file in files if file.tier == Tier.COLD and self._is_meant(file)]
        held_by = by_key(references(self._storage).holdings)
        wanted = sorted({path for file in cold for path in held_by.get(file.key, ())})
        there = self._in_hot(wanted)
        found = self._look([path for path in wanted if path not in there])
        self._done.states = _counted(found)
        self._done.until = min((one.state.until for one in found.values() if one.state.until is not None), default=None)
        self._done.problems = []
        if not self._done.is_dry_run:
            self._ask([path for path, one in found.items() if one.state.state is State.ARCHIVED], found)
            there |= self._copy(found)
        self._say(cold, held_by, there, found, {run_id: state.facts.project for run_id, state in runs.items()})

    def _is_meant(self, file: HeldFile) -> bool:
        return file.key.run_id in self._run_ids and fnmatchcase(file.key.path, self._match)

    def _in_hot(self, paths: Sequence[str]) -> set[str]:
        """What is in the lake's own root already: it never left, or what was broken off had brought it back."""

        def is_there(path: str) -> bool:
            try:
                return not is_damaged(path, self._storage.store.get(path))
            except FileNotFoundError:
                return False

        with ThreadPoolExecutor(_THREADS) as pool:
            return {path for path, found in zip(paths, pool.map(is_there, paths), strict=True) if found}

    def _look(self, paths: Sequence[str]) -> dict[str, _Found]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return dict(zip(paths, pool.map(self._look_for, paths), strict=True))

    def _look_for(self, path: str) -> _Found:
        for root in self._roots:
            state = root.state(path)
            if state.state is not State.MISSING:
                return _Found(root, state)
        return _Found(None, ObjectState(State.MISSING))

    def _ask(self, paths: Sequence[str], found: dict[str, _Found]) -> None:
        def ask(path: str) -> None:
            root = found[path].root
            if root is not None:
                root.ask_for(path, days=self._days, retrieval=self._retrieval)
                found[path] = _Found(root, root.state(path))

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(ask, paths))
        self._done.asked.n += len(paths)
        self._done.asked.size_bytes += sum(found[path].state.size_bytes or 0 for path in paths)

    def _copy(self, found: dict[str, _Found]) -> set[str]:
        """Copy what can be read; what is hot by that."""
        copied: set[str] = set()
        with workers() as at_work:
            running = [
                (path, at_work.submit(one.state.size_bytes or 0, partial(self._copied, path, one.root)))
                for path, one in found.items()
                if one.root is not None and one.state.is_readable
            ]
            for path, future in running:
                size_bytes = future.result()
                if size_bytes is not None:
                    copied.add(path)
                    self._done.copied.n += 1
                    self._done.copied.size_bytes += size_bytes
        return copied

    def _copied(self, path: str, root: ColdRoot) -> int | None:
        """Copy one object; its size, None where its copy in the cold root is damaged."""
        data = root.get(path)
        if is_damaged(path, data):
            return None
        self._storage.store.put(path, data)
        if self._storage.store.size(path) != len(data):
            raise StoreError(f"{path} did not arrive at {self._storage.url}; try again")
        return len(data)

    def _say(
        self,
        cold: Sequence[HeldFile],
        held_by: dict[FileKey, set[str]],
        there: set[str],
        found: dict[str, _Found],
        projects: dict[str, str],
    ) -> None:
        """Say in the lake which files are back, and to people which are not."""
        rows: dict[str, list[Record]] = {}
        self._done.waiting = Amount()
        for file in cold:
            missing = sorted(held_by.get(file.key, {""}) - there)
            if not missing:
                rows.setdefault(projects[file.key.run_id], []).append(_placement(file))
                self._done.restored.n += 1
                self._done.restored.size_bytes += file.size_bytes
                continue
            hopeless = [path for path in missing if path not in found or found[path].root is None]
            damaged = [path for path in missing if path in found and found[path].state.is_readable]
            if hopeless or (damaged and not self._done.is_dry_run):
                word = "missing" if hopeless else "damaged"
                self._done.problems.append(
                    f"{file.key.path} of {file.key.run_id}: {(hopeless or damaged)[0]} is {word}"
                )
                continue
            self._done.waiting.n += 1
            self._done.waiting.size_bytes += file.size_bytes
        if not self._done.is_dry_run:
            for project, some in rows.items():
                self._storage.add_records("placements", some, project=project)


def _counted(found: dict[str, _Found]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in found.values():
        counts[one.state.state.value] = counts.get(one.state.state.value, 0) + 1
    return counts


def _placement(file: HeldFile) -> Placement:
    return Placement(
        run_id=file.key.run_id,
        path=file.key.path,
        object_id=file.key.object_id,
        recipe=file.recipe,
        size_bytes=file.size_bytes,
        tier=Tier.HOT,
        reason="lde restore",
        recorded_at=max(utc_now(), file.stored_at, file.placed_at or file.stored_at),
    )
