"""Parquet files of a lake as a source for DuckDB: by their paths on this machine's disk, or through pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_lde.lake.stores import Store

if TYPE_CHECKING:
    import duckdb


def parquet_source(connection: duckdb.DuckDBPyConnection, name: str, store: Store, paths: Sequence[str]) -> str:
    """What stands behind ``from`` to read files as one table; columns are matched by name, and missing ones are null.

    Args:
        connection: Where the query runs.
        name: A name of its own, for what has to be registered.
        store: Where the files are.
        paths: At least one, relative to the root.
    """
    local = [place for path in paths if (place := store.local_path(path)) is not None]
    if len(local) == len(paths):
        files = ", ".join(map(literal, local))
        return f"read_parquet([{files}], union_by_name=true, hive_partitioning=false)"
    connection.register(name, _arrow_dataset(store, paths))
    return name


def _arrow_dataset(store: Store, paths: Sequence[str]) -> object:
    import pyarrow.dataset as ds

    filesystem, root = store.arrow_filesystem()
    factory = ds.FileSystemDatasetFactory(filesystem, [f"{root}/{path}" for path in paths], ds.ParquetFileFormat())
    return factory.finish(factory.inspect(promote_options="permissive"))


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def quoted(column: str) -> str:
    """A column's name as SQL has it."""
    return '"' + column.replace('"', '""') + '"'
