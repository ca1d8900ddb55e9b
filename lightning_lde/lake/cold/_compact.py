"""Compaction: rows of settled writers go from many hot files into few cold ones, in one step for all tables.

Whatever breaks off, the lake stays whole. New files count when a manifest names them, and a manifest comes into being
at once or not at all; hot files are deleted when a manifest says that they do not count. What a job that died has left
is finished or removed by the next one.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake.cold._absorbed import list_absorbed, listed, one_list
from lightning_lde.lake.cold._commit import commit, delete_all
from lightning_lde.lake.cold._delta import can_publish, has_logs, publish
from lightning_lde.lake.cold._erased import is_erased, read_erased
from lightning_lde.lake.cold._files import LARGEST_FILE
from lightning_lde.lake.cold._lock import Lock, held
from lightning_lde.lake.cold._manifest import ColdFile, Manifest, newest_manifest
from lightning_lde.lake.cold._rows import SORTED_BY
from lightning_lde.lake.cold._settled import LEASE, SETTLED_AFTER, settled_writers
from lightning_lde.lake.cold._shares import Share, Source, shares_of, write_shares
from lightning_lde.lake.cold._vacuum import KEPT_FOR, vacuum
from lightning_lde.lake.stores import Store
from lightning_lde.schema import utc_now

GRACE = timedelta(minutes=10)
"""How long hot files stay after their rows went elsewhere, for readers that have listed them."""

MOST_FILES = 20_000
MOST_BYTES = 1 << 30
"""Of the hot files that one step takes."""

LONGEST_LIST = 1 << 20
"""Files in a list of absorbed ones, at most."""

_MANY_LISTS = 16
_TIER = 2

Tell = Callable[["Compaction"], None]


@dataclass
class Compaction:
    """What a compaction has done so far.

    Attributes:
        was_busy: Whether nothing was done because another one was at work.
        files_in: Hot files whose rows went into the cold tables.
        files_left: Hot files that stay, because their writers may still write.
        files_out: Cold files that were written.
        bytes_in: Bytes of the hot files.
        bytes_out: Bytes of the cold files.
        rows: Rows by table, of the cold files that were written.
        hot_deleted: Hot files that were deleted.
        vacuumed: Files of former versions that were deleted.
        published: Delta tables that were brought up to date.
        is_delta: Whether all tables can be read as Delta tables now.
    """

    was_busy: bool = False
    files_in: int = 0
    files_left: int = 0
    files_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    hot_deleted: int = 0
    vacuumed: int = 0
    published: list[str] = field(default_factory=list)
    is_delta: bool = False

    @property
    def did_something(self) -> bool:
        """Whether the lake has other files than before."""
        return bool(self.files_in or self.hot_deleted or self.vacuumed or self.published)

    def details(self) -> dict[str, Any]:
        """What it came to, for the log of maintenance."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in ("was_busy", "is_delta")}


def compact(
    store: Store,
    *,
    project: str | None = None,
    silent_for: timedelta = SETTLED_AFTER,
    grace: timedelta = GRACE,
    kept_for: timedelta = KEPT_FOR,
    options: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
    done: Compaction | None = None,
) -> Compaction:
    """Bring the rows of writers that will write no more into the cold tables.

    Args:
        store: Where the lake is.
        project: Only this project's files.
        silent_for: How long a writer must have been silent; shorter than a day only where nobody writes.
        grace: How long hot files stay after that.
        kept_for: How long files of former versions stay.
        options: The storage options, for the client that writes Delta tables.
        tell: Called after each step.
        done: Where to count, for who wants to know of it although it fails.

    Raises:
        StoreError: If the storage fails; what was done until then stays done.
    """
    done = Compaction() if done is None else done
    with held(store) as lock:
        if lock is None:
            done.was_busy = True
            return done
        job = _Job(store, lock, done, tell or _say_nothing)
        job.delete_absorbed(grace)
        job.absorb(project, silent_for)
        job.delete_absorbed(grace)
        job.merge_lists()
        done.is_delta = can_publish(store)
        if done.is_delta:
            done.published = publish(store, job.manifest, options or {})
        # Who cannot bring Delta tables up to date lets them have their files.
        if done.is_delta or not has_logs(store, job.manifest):
            done.vacuumed = vacuum(store, job.manifest, kept_for)
    return done


class _Job:
    """One compaction at work."""

    def __init__(self, store: Store, lock: Lock, done: Compaction, tell: Tell) -> None:
        self._store = store
        self._lock = lock
        self._done = done
        self._tell = tell
        self.manifest = newest_manifest(store)
        self._erased = read_erased(store, self.manifest)

    def delete_absorbed(self, grace: timedelta) -> None:
        """Delete hot files whose rows have been in the cold tables for long enough."""
        due = [one for one in self.manifest.absorbed if not one.is_deleted and one.at + grace <= utc_now()]
        if not due:
            return
        for one in due:
            self._done.hot_deleted += delete_all(self._store, (file.path for file in listed(self._store, one)))
        gone = {one.path for one in due}
        lists = (replace(one, is_deleted=one.is_deleted or one.path in gone) for one in self.manifest.absorbed)
        self._commit(replace(self.manifest, absorbed=tuple(lists)), ())

    def absorb(self, project: str | None, silent_for: timedelta) -> None:
        """Step by step, bring in what is settled."""
        hot = _Hot(self._store, self.manifest, project, is_erased(self._erased))
        # Nobody reads them: a writer that did not know has brought them after all.
        self._done.hot_deleted += delete_all(self._store, hot.erased)
        writers = settled_writers(self._store, hot.current, now=utc_now(), silent_for=silent_for)
        self._done.files_left = len(hot.files)
        for batch in hot.batches(writers):
            try:
                self._absorb(batch, is_sure=silent_for >= LEASE)
            except _WritersAtWorkError:
                # Their files are other ones now: another time.
                continue

    def _absorb(self, batch: _Batch, *, is_sure: bool) -> None:
        tables = dict(self.manifest.tables)
        made: list[ColdFile] = []
        shares: list[Share] = []
        for table, files in batch.tables.items():
            kept, merged = _worth_merging(tables.get(table, ()), sum(batch.sizes[file.path] for file in files))
            tables[table] = tuple(kept)
            sources = [Source(one.first or "", one.path, one.size_bytes) for one in merged]
            sources += [Source(one.writer, one.path, batch.sizes[one.path]) for one in files]
            shares += shares_of(table, sources)
        try:
            write_shares(self._store, shares, self._erased, made.append)
        except Exception as error:
            self._give_up(batch, made)
            raise StoreError(f"cannot compact the lake at {self._store.url}: {error}") from error
        for table in batch.tables:
            cold = (*tables[table], *(file for file in made if file.table == table))
            tables[table] = tuple(sorted(cold, key=lambda file: (file.first or "", file.path)))
        if not is_sure:
            self._give_up(batch, made)
        absorbed = list_absorbed(self._store, batch.all_files, utc_now())
        self._commit(
            replace(self.manifest, tables=tables, absorbed=(*self.manifest.absorbed, absorbed)),
            [*(file.path for file in made), absorbed.path],
        )
        self._count(batch, made)
        self._lock.renew()
        self._tell(self._done)

    def _give_up(self, batch: _Batch, made: Sequence[ColdFile]) -> None:
        """Leave a batch alone whose writers were not settled after all."""
        if not batch.is_as_it_was(self._store):
            delete_all(self._store, [file.path for file in made])
            raise _WritersAtWorkError

    def _count(self, batch: _Batch, made: Sequence[ColdFile]) -> None:
        done = self._done
        done.files_in += len(batch.all_files)
        done.files_left -= len(batch.all_files)
        done.bytes_in += sum(batch.sizes.values())
        done.files_out += len(made)
        done.bytes_out += sum(file.size_bytes for file in made)
        for table in batch.tables:
            count = sum(file.rows for file in made if file.table == table)
            done.rows[table] = done.rows.get(table, 0) + count

    def merge_lists(self) -> None:
        """Keep the lists of absorbed files few; long ones stay, or all of them would be written each time."""
        short = [one for one in self.manifest.absorbed if one.is_deleted and one.files <= LONGEST_LIST // 2]
        if len(short) < _MANY_LISTS:
            return
        sums = itertools.accumulate(one.files for one in short)
        merged = [one for one, files in zip(short, sums, strict=True) if files <= LONGEST_LIST]
        whole = one_list(self._store, merged)
        others = (one for one in self.manifest.absorbed if one not in merged)
        self._commit(replace(self.manifest, absorbed=(whole, *others)), [whole.path])

    def _commit(self, manifest: Manifest, made: Sequence[str]) -> None:
        self.manifest = commit(self._store, self.manifest, manifest, made)


class _WritersAtWorkError(Exception):
    """A writer that was taken for settled has changed its files."""


class _Batch:
    """Files of some writers, which one step takes.

    Attributes:
        tables: By table, the files to read.
        all_files: These, and those that they cover, which would count again if they stayed alone.
        sizes: Bytes by path.
    """

    def __init__(self, current: Iterable[HotFile], all_files: Iterable[HotFile], sizes: dict[str, int]) -> None:
        self.all_files = list(all_files)
        self.sizes = {file.path: sizes[file.path] for file in self.all_files}
        self.tables: dict[str, list[HotFile]] = {}
        for file in current:
            self.tables.setdefault(file.table, []).append(file)

    def is_as_it_was(self, store: Store) -> bool:
        """Whether the writers have the same files still."""
        writers = {file.writer for file in self.all_files}
        found = (_layout.parse_hot_path(stored.path) for stored in store.list(_layout.HOT))
        now = {file.path for file in found if file is not None and file.writer in writers and file.table in SORTED_BY}
        return now == {file.path for file in self.all_files}


class _Hot:
    """The files of the hot tier that are not absorbed, by one listing."""

    def __init__(self, store: Store, manifest: Manifest, project: str | None, is_erased: Callable[[str], bool]) -> None:
        gone = {file.path for one in manifest.absorbed if not one.is_deleted for file in listed(store, one)}
        self._sizes: dict[str, int] = {}
        self.files: list[HotFile] = []
        self.erased: list[str] = []
        for stored in store.list(_layout.HOT):
            file = _layout.parse_hot_path(stored.path)
            # Tables that this version does not know stay where they are.
            if file is not None and is_erased(file.writer):
                self.erased.append(file.path)
                continue
            if file is None or file.path in gone or file.table not in SORTED_BY:
                continue
            if project is None or file.path.startswith(_layout.table_prefix(file.table, project)):
                self.files.append(file)
                self._sizes[file.path] = stored.size_bytes
        self.current = _layout.current_files(self.files)

    def batches(self, writers: set[str]) -> Iterator[_Batch]:
        """The files of some writers, in portions, the oldest writers first."""
        current, every = _by_writer(self.current), _by_writer(self.files)
        chosen: list[str] = []
        n_files = n_bytes = 0
        for writer in sorted(writers & set(every)):
            more, size = len(every[writer]), sum(self._sizes[file.path] for file in every[writer])
            if chosen and (n_files + more > MOST_FILES or n_bytes + size > MOST_BYTES):
                yield self._batch(chosen, current, every)
                chosen, n_files, n_bytes = [], 0, 0
            chosen.append(writer)
            n_files, n_bytes = n_files + more, n_bytes + size
        if chosen:
            yield self._batch(chosen, current, every)

    def _batch(self, writers: list[str], current: dict[str, list[HotFile]], every: dict[str, list[HotFile]]) -> _Batch:
        return _Batch(
            (file for writer in writers for file in current[writer]),
            (file for writer in writers for file in every[writer]),
            self._sizes,
        )


def _by_writer(files: Iterable[HotFile]) -> dict[str, list[HotFile]]:
    found: dict[str, list[HotFile]] = {}
    for file in files:
        found.setdefault(file.writer, []).append(file)
    return found


def _worth_merging(files: Iterable[ColdFile], new_bytes: int) -> tuple[list[ColdFile], list[ColdFile]]:
    """Cold files that stay, and those that are so small beside what comes that they are written again with it.

    Each time that rows are written again they are in a file that is at least half as large again, so it happens to none
    very often.
    """
    kept, merged, size = [], [], new_bytes
    for file in sorted(files, key=lambda file: file.size_bytes):
        if file.size_bytes <= _TIER * size and file.size_bytes <= LARGEST_FILE // 2:
            merged.append(file)
            size += file.size_bytes
        else:
            kept.append(file)
    return kept, merged


def _say_nothing(_: Compaction) -> None:
    """Nobody wants to know."""
