"""Repairs that lose nothing: what is damaged is moved aside, and only what is proven to be elsewhere is removed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_lde.errors import StoreError
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake._parquet import write_parquet
from lightning_lde.lake._scan import parquet_source, quoted
from lightning_lde.lake.check._findings import Kind
from lightning_lde.lake.check._parquet_file import fragment_of
from lightning_lde.lake.check._tables import look_at_all
from lightning_lde.lake.stores import Store

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

DAMAGED = "damaged/"
"""Below it what was damaged lies under its old path; nobody reads it."""


class Mending:
    """Repairs of one lake.

    Args:
        store: Where the lake is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def aside(path: str) -> str:
        """Where a damaged file is moved to."""
        return f"{DAMAGED}{path}"

    def remove(self, path: str) -> bool:
        """Remove a file that nobody needs."""
        self._store.delete(path)
        return True

    def move_aside(self, path: str) -> bool:
        """Move a file to where nobody reads it."""
        try:
            content = self._store.get(path)
        except FileNotFoundError:
            return True
        self._keep(path, content)
        self._store.delete(path)
        return True

    def _keep(self, path: str, content: bytes) -> None:
        target = self.aside(path)
        self._store.put(target, content)
        if self._store.get(target) != content:
            raise StoreError(f"{target} at {self._store.url} does not hold what was written: nothing was removed")

    def salvage(self, file: HotFile) -> bool:
        """Move a damaged file aside, and put what can be read of it in its place.

        Args:
            file: The file.
        """
        try:
            content = self._store.get(file.path)
        except FileNotFoundError:
            return True
        looked = look_at_all(content, file.table)
        if not any(problem.kind == Kind.UNREADABLE for problem in looked.problems):
            # A whole one has come in its place.
            return True
        self._keep(file.path, content)
        groups = readable_groups(content)
        if not groups:
            self._store.delete(file.path)
            return True
        buffer = io.BytesIO()
        write_parquet(buffer, file.table, groups)
        self._store.put(file.path, buffer.getvalue())
        return True

    def remove_covered(self, file: HotFile, cover: HotFile) -> bool:
        """Remove a file that a merged one covers, if that one can be read and has its rows.

        Args:
            file: The file.
            cover: The merged one.
        """
        try:
            whole, part = self._store.get(cover.path), self._store.get(file.path)
        except FileNotFoundError:
            return False
        if look_at_all(whole, cover.table).problems:
            return False
        if any(missing_rows(file.table, rows, readable_groups(whole)) for rows in readable_groups(part)):
            return False
        self._store.delete(file.path)
        return True

    def remove_stray(self, path: str, table: str, counted: Sequence[str]) -> bool:
        """Remove a cold file that no manifest names, if each of its rows stands in a file that counts.

        Args:
            path: The file.
            table: Its table.
            counted: The files of the table that count.
        """
        try:
            groups = readable_groups(self._store.get(path))
        except FileNotFoundError:
            return True
        if any(missing_rows(table, rows, (self._store, counted)) for rows in groups):
            return False
        self._store.delete(path)
        return True


def missing_rows(table: str, rows: pa.Table, elsewhere: Sequence[pa.Table] | tuple[Store, Sequence[str]]) -> int:
    """How many of some rows do not stand elsewhere.

    Args:
        table: The table. Of the states of a segment only the last one has to.
        rows: The rows.
        elsewhere: Other rows, or a store and files in it.
    """
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.register("part", rows)
        source = _source(connection, elsewhere)
        if source is None:
            return len(rows)
        known = {row[0] for row in connection.execute(f"describe select * from {source}").fetchall()}
        if table == "runs":
            newer = "s.run_id = p.run_id and s.segment = p.segment and s.revision >= p.revision"
            query = f"select count(*) from part p where not exists (from {source} s where {newer})"
        else:
            columns = [name for name in rows.column_names if name in known]
            # A column that is not known there must be empty here.
            strange = [f"{quoted(name)} is not null" for name in rows.column_names if name not in known]
            if strange and connection.sql(f"select 1 from part where {' or '.join(strange)} limit 1").fetchone():
                return len(rows)
            names = ", ".join(map(quoted, columns))
            every = "" if isinstance(elsewhere, tuple) else "all "
            query = f"select count(*) from (select {names} from part except {every}select {names} from {source})"
        answer = connection.execute(query).fetchone()
        return 0 if answer is None else int(answer[0])


def _source(
    connection: duckdb.DuckDBPyConnection, elsewhere: Sequence[pa.Table] | tuple[Store, Sequence[str]]
) -> str | None:
    import pyarrow as pa

    if isinstance(elsewhere, tuple):
        store, paths = elsewhere
        return parquet_source(connection, "others", store, paths) if paths else None
    if not elsewhere:
        return None
    connection.register("others", pa.concat_tables(elsewhere, promote_options="default"))
    return "others"


def readable_groups(content: bytes) -> list[pa.Table]:
    """The row groups of a Parquet file of which each page can be decoded.

    Args:
        content: The file.
    """
    import pyarrow as pa

    found: list[pa.Table] = []
    try:
        fragment = fragment_of(content)
        n = fragment.metadata.num_row_groups
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return found
    for number in range(n):
        try:
            rows = fragment.subset(row_group_ids=[number]).to_table(use_threads=False)
        except (OSError, pa.ArrowException, UnicodeDecodeError, MemoryError):
            continue
        if rows.num_rows == fragment.metadata.row_group(number).num_rows and rows.num_rows:
            found.append(rows)
    return found
