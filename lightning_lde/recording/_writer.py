"""Brings parcels to the lake, keeps account of the files it made there, and merges them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_lde.lake import HotFile, LakeStorage
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import SpoolHeader
from lightning_lde.recording._sync import send_tables

if TYPE_CHECKING:
    import pyarrow as pa

_LARGEST_MERGE_ROWS = 4_000_000


class LakeWriter:
    """The one that writes a run into a lake. Used by one thread.

    Args:
        storage: The lake.
        header: Where the rows belong.
    """

    def __init__(self, storage: LakeStorage, header: SpoolHeader) -> None:
        self._storage = storage
        self._header = header
        self._files: dict[str, list[HotFile]] = defaultdict(list)
        self._initialised = False

    def open(self) -> None:
        """Make sure that there is a lake."""
        if not self._initialised:
            self._storage.initialise()
            self._initialised = True

    def send(self, outbox: Outbox) -> None:
        """Send all sealed parcels, oldest first; one that fails stays, with those behind it."""
        self.open()
        while (parcel := outbox.first()) is not None:
            header = replace(self._header, number=parcel.number)
            for file in send_tables(self._storage, header, parcel.tables()):
                self._files[file.table].append(file)
            outbox.sent(parcel)

    def merge(self) -> None:
        """Replace the run's files of each table by one; the parts go when the whole is there."""
        import pyarrow as pa

        for table, files in self._files.items():
            if len(files) < 2:
                continue
            parts = [self._storage.read(file) for file in files]
            if sum(part.num_rows for part in parts) > _LARGEST_MERGE_ROWS:
                continue
            rows = pa.concat_tables(parts, promote_options="permissive")
            merged = self._storage.append(
                table,
                _last_states(rows) if table == "runs" else rows,
                project=self._header.project,
                day=self._header.partition_day,
                writer=self._header.writer,
                first=files[0].first,
                last=files[-1].last,
            )
            self._files[table] = [merged]
            for file in files:
                self._storage.remove(file)


def _last_states(rows: pa.Table) -> pa.Table:
    """The last state of each segment."""
    last = {segment: index for index, segment in enumerate(rows.column("segment").to_pylist())}
    return rows.take(sorted(last.values()))
