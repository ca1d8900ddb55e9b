"""Writes rows as files of a cold table."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from lightning_lde.lake._parquet import write_parquet
from lightning_lde.lake.cold._manifest import COLD, ColdFile
from lightning_lde.lake.cold._rows import SORTED_BY, TOLD_APART_BY
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
        buffer, bounds, keys = io.BytesIO(), _Bounds(SORTED_BY[table][0]), _Keys(table)
        write_parquet(buffer, table, bounds.watch(keys.watch(waiting.of_one_file(buffer))))
        path = f"{COLD}{table}/{new_run_id()}.parquet"
        content = buffer.getvalue()
        store.put(path, content)
        digest = hashlib.sha256(content).hexdigest()
        found = (bounds.rows, len(content), bounds.first, bounds.last)
        yield ColdFile(path, table, *found, sha256=digest, is_distinct=keys.are_distinct)


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


class _Keys:
    """Looks whether rows that are in their order can be told apart by the columns that say what they are about.

    Attributes:
        are_distinct: Whether they can, as far as they were seen.
    """

    def __init__(self, table: str) -> None:
        self._columns = SORTED_BY[table][: TOLD_APART_BY.get(table, 0)]
        self._before: list[Any] | None = None
        self.are_distinct = bool(self._columns)

    def watch(self, groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same groups."""
        for group in groups:
            if self.are_distinct and group.num_rows:
                self.are_distinct = self._differ(group)
            yield group

    def _differ(self, group: pa.Table) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not set(self._columns) <= set(group.column_names):
            return False
        columns = [group.column(name) for name in self._columns]
        if any(column.null_count for column in columns):
            return False
        first, last = ([column[at].as_py() for column in columns] for at in (0, -1))
        before, self._before = self._before, last
        same = pa.scalar(True)
        for column in columns:
            same = pc.and_(same, pc.equal(column.slice(1), column.slice(0, len(column) - 1)))
        return first != before and not pc.any(same, min_count=0).as_py()
