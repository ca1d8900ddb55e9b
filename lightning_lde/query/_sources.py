"""Rows of a snapshot's files as SQL."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_lde.lake import LakeStorage, Snapshot, parquet_source, quoted
from lightning_lde.schema import arrow_schema

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class Sources:
    """The files of a snapshot, for the views of one connection.

    Args:
        connection: Where the views will be.
        storage: The lake.
        snapshot: The files to read.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, storage: LakeStorage, snapshot: Snapshot) -> None:
        self._connection = connection
        self._storage = storage
        self._snapshot = snapshot
        self._names: dict[tuple[str, ...], str] = {}

    def has(self, table: str) -> bool:
        """Whether there are rows of a table."""
        return bool(self._snapshot.paths(table))

    def all(self, table: str) -> str:
        """All rows of a table, as they are stored."""
        return self._rows(table, self._snapshot.paths(table))

    def apart(self, table: str) -> tuple[str | None, str | None]:
        """The rows that are certain to be shown each, and all others; None where there are none."""
        alone, together = self._snapshot.apart(table)
        return (
            self._rows(table, alone) if alone else None,
            self._rows(table, together) if together or not alone else None,
        )

    def columns(self, rows: str) -> list[str]:
        """Names of the columns of some rows: those of the schema, and what newer writers added."""
        return [row[0] for row in self._connection.execute(f"describe {rows}").fetchall()]

    def _rows(self, table: str, paths: Sequence[str]) -> str:
        if not paths:
            return _no_rows(table)
        name = self._names.setdefault(tuple(paths), f"files_{len(self._names)}")
        source = parquet_source(self._connection, name, self._storage.store, paths)
        # A column of the schema that no file has is null.
        return f"{_no_rows(table)} union all by name select * from {source}"


@functools.cache
def _no_rows(table: str) -> str:
    columns = (f"null::{sql_type(field.type)} as {quoted(field.name)}" for field in arrow_schema(table))
    return f"select {', '.join(columns)} where false"


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's word for the type of a column."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    words = {
        pa.string(): "varchar",
        pa.int64(): "bigint",
        pa.float64(): "double",
        pa.float32(): "float",
        pa.bool_(): "boolean",
        pa.timestamp("us", tz="UTC"): "timestamptz",
    }
    return words[kind]
