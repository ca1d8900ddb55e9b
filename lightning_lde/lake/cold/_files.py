"""Writes rows as files of a cold table."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from lightning_lde.lake._parquet import write_parquet
from lightning_lde.lake.cold._manifest import COLD, ColdFile
from lightning_lde.lake.cold._rows import SORTED_BY
from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_FILE = 128 << 20
"""Bytes after which another file is begun."""


def write_files(store: Store, table: str, groups: Iterable[pa.Table]) -> Iterator[ColdFile]:
    """Write row groups as as many files as they need; nobody reads them before a manifest names them.

    Args:
        store: Where to.
        table: The table's name.
        groups: Rows in their order.
    """
    waiting = _Waiting(groups)
    while waiting.first is not None:
        buffer, bounds = io.BytesIO(), _Bounds(SORTED_BY[table][0])
        write_parquet(buffer, table, bounds.watch(waiting.of_one_file(buffer)))
        path = f"{COLD}{table}/{new_run_id()}.parquet"
        content = buffer.getvalue()
        store.put(path, content)
        digest = hashlib.sha256(content).hexdigest()
        yield ColdFile(path, table, bounds.rows, len(content), bounds.first, bounds.last, digest)


class _Waiting:
    """Row groups that are not written yet.

    Attributes:
        first: The next one, None behind the last.
    """

    def __init__(self, groups: Iterable[pa.Table]) -> None:
        self._rest = iter(groups)
        self.first = next(self._rest, None)

    def of_one_file(self, buffer: io.BytesIO) -> Iterator[pa.Table]:
        """Those that go into one file: until it is full, or the columns change."""
        schema = None if self.first is None else self.first.schema
        # The next one is asked for when the one before is written.
        while self.first is not None and self.first.schema == schema and buffer.tell() < LARGEST_FILE:
            yield self.first
            self.first = next(self._rest, None)


class _Bounds:
    """Counts rows, and keeps the least and the greatest value of a column."""

    def __init__(self, column: str) -> None:
        self._column = column
        self.rows = 0
        self.first: str | None = None
        self.last: str | None = None

    def watch(self, groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same groups."""
        import pyarrow.compute as pc

        for group in groups:
            self.rows += group.num_rows
            known = (one for one in (self.first, self.last) if one is not None)
            values = [*pc.unique(group.column(self._column)).drop_null().to_pylist(), *known]
            self.first, self.last = min(values, default=None), max(values, default=None)
            yield group
