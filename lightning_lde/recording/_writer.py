"""Brings parcels to the lake, keeps account of the files it made there, and merges them."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lightning_lde.columns import column_of
from lightning_lde.errors import RecordingWarning, tell
from lightning_lde.lake import LEASE, AbsorbedNumbers, HotFile, LakeStorage, StoredObject
from lightning_lde.recording import _ending
from lightning_lde.recording._blocks import ROWS_PER_GROUP
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._parcels import kept_words, send_rows
from lightning_lde.recording._spool import SpoolHeader

if TYPE_CHECKING:
    import pyarrow as pa

_LOOK_EVERY_S = 600.0
_LARGEST_IN_MEMORY_ROWS = 1_000_000
_LARGE_ROWS = 200_000
_MUCH_LARGER = 4
_MOST_KEPT_BYTES = 16 << 20


class LakeWriter:
    """The one that writes a run into a lake. Used by one thread.

    Args:
        storage: The lake.
        header: Where the rows belong.
        refuse: Called with a sentence about rows that can never be written.
        governance: What all rows pass before they are written; it learns the lake's policy here.

    Attributes:
        is_erased: Whether the run is known to have been erased: what is left of it is given up.
        refused: How many sentences there were about rows that cannot be written.
    """

    def __init__(
        self, storage: LakeStorage, header: SpoolHeader, refuse: Callable[[str], None], governance: Governance
    ) -> None:
        self._storage = storage
        self._refuse = refuse
        self._header = header
        self._governance = governance
        self._files: dict[str, dict[HotFile, int]] = defaultdict(dict)
        self._initialised = False
        self._heard_at_s = _now_s()
        # Who goes on with the run of another process looks at once: it may have been erased since.
        self._looked_at_s = self._heard_at_s if header.writer == header.run_id else -_LOOK_EVERY_S
        self._objects: deque[tuple[StoredObject, bytes]] = deque()
        self.is_erased = False
        self.refused = 0

    def open(self) -> None:
        """Make sure that there is a lake."""
        if not self._initialised:
            self._storage.initialise()
            self._governance.learn(self._storage.policy())
            self._initialised = True

    def send(self, outbox: Outbox) -> None:
        """Send all sealed parcels, oldest first; one that fails stays, with those behind it."""
        self.open()
        absorbed = self._absorbed_in_silence()
        if self._was_erased():
            while (parcel := outbox.first()) is not None:
                outbox.sent(parcel)
            return
        while (parcel := outbox.first()) is not None and not _ending.is_over():
            if parcel.is_gone():
                self._refuse(f"rows of parcel {parcel.number} were taken out of the spool by others")
                outbox.sent(parcel)
                continue
            header = replace(self._header, number=parcel.number)
            before = self.refused
            for file, count in send_rows(
                self._storage, header, parcel.rows(), self._note_refused, self._governance, absorbed, self._keep
            ):
                self._files[file.table][file] = count
            self._heard_at_s = _now_s()
            if parcel.damage is not None:
                self._note_refused(kept_words(parcel.damage))
            if self.refused > before:
                outbox.refused(parcel)
            else:
                outbox.sent(parcel)

    def _absorbed_in_silence(self) -> AbsorbedNumbers | None:
        """What the cold tables may have of this writer, who was not heard of for long; None where it was."""
        if _now_s() - self._heard_at_s < LEASE.total_seconds():
            return None
        self._files.clear()
        return self._storage.absorbed_numbers(self._header.writer)

    def _was_erased(self) -> bool:
        """Whether somebody erased the run; asked now and then."""
        if not self.is_erased and _now_s() - self._looked_at_s >= _LOOK_EVERY_S:
            self._looked_at_s = _now_s()
            self.is_erased = self._storage.was_erased(self._header.run_id)
            if self.is_erased:
                # An event of the run would go the same way.
                run = self._header.run_id
                tell(f"run {run} was erased from {self._storage.url}: nothing of it is kept any more", RecordingWarning)
        return self.is_erased

    def _keep(self, content: StoredObject, data: bytes) -> None:
        self._objects.append((content, data))
        while sum(len(kept) for _, kept in self._objects) > _MOST_KEPT_BYTES:
            self._objects.popleft()

    def look_again(self) -> None:
        """Store small objects again that others were about to delete: rows that name them came later than they did."""
        while self._objects and not self.is_erased:
            content, data = self._objects[0]
            if self._storage.is_condemned_since(content):
                self._storage.put_object_bytes(data)
            self._objects.popleft()

    def _note_refused(self, sentence: str) -> None:
        self.refused += 1
        self._refuse(sentence)

    def merge(self) -> None:
        """Replace the run's files of each table by one; the parts go when the whole is there."""
        self.look_again()
        if self.is_erased or _now_s() - self._heard_at_s >= LEASE.total_seconds():
            return
        absorbed = self._storage.absorbed_numbers(self._header.writer)
        for table, every in self._files.items():
            files = _worth_merging({file: n for file, n in every.items() if not absorbed.have(table, file.first)})
            if len(files) < 2:
                continue
            first, *_, last = files
            count = sum(files.values())
            groups = _coalesced(self._rows(files))
            place: dict[str, Any] = {
                "project": self._governance.without_secrets(self._header.project),
                "day": self._header.partition_day,
                "writer": self._header.writer,
                "first": first.first,
                "last": last.last,
            }
            try:
                merged = self._storage.append(
                    table,
                    _last_states(groups) if table == "runs" else groups,
                    in_memory=count <= _LARGEST_IN_MEMORY_ROWS,
                    **place,
                )
            except Exception:
                # Half a file would hide its parts, in a store where a write that fails can leave one.
                with contextlib.suppress(Exception):
                    self._storage.remove(self._storage.place(table, **place))
                raise
            self._files[table] = {file: rows for file, rows in every.items() if file not in files} | {merged: count}
            for file in files:
                self._storage.remove(file)

    def _rows(self, files: Iterable[HotFile]) -> Iterator[pa.Table]:
        for file in files:
            yield from self._storage.read_groups(file)


def _now_s() -> float:
    """A clock that goes on while the machine sleeps, and that nobody sets, where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


def _worth_merging(files: dict[HotFile, int]) -> dict[HotFile, int]:
    """The files but for large ones at the beginning, which earlier segments have merged already."""
    rest = dict(files)
    for file, count in files.items():
        others = sum(rest.values()) - count
        if count < _LARGE_ROWS or count < _MUCH_LARGER * others:
            break
        del rest[file]
    return rest


def _coalesced(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in few large tables instead of many small ones."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for table in tables:
        if waiting and sum(part.num_rows for part in waiting) + table.num_rows > ROWS_PER_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(table)
    if waiting:
        yield pa.concat_tables(waiting)


def _last_states(tables: Iterable[pa.Table]) -> pa.Table:
    """The last state of each segment."""
    import pyarrow as pa

    rows = pa.concat_tables(tables)
    last = {segment: index for index, segment in enumerate(rows.column("segment").to_pylist())}
    return rows.take(column_of(sorted(last.values()), pa.int64()))
