"""Parquet files of a lake as a source for DuckDB: by their paths on this machine's disk, or through pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lightning_lde.lake.stores import Store

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds

_THREADS = 16


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
    connection.register(name, arrow_dataset(store, paths, files_schema(store, paths)))
    return name


def files_schema(store: Store, paths: Sequence[str]) -> pa.Schema:
    """All columns that any of some files has.

    Args:
        store: Where the files are.
        paths: At least one, relative to the root.

    Raises:
        FileNotFoundError: If one is gone.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    filesystem, root = store.arrow_filesystem()
    # pyarrow itself asks one after the other, which far from the bucket takes a minute for a few hundred files.
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda path: ds.ParquetFileFormat().inspect(f"{root}/{path}", filesystem), paths))
    return pa.unify_schemas([schema.remove_metadata() for schema in found], promote_options="permissive")


def arrow_dataset(store: Store, paths: Sequence[str], schema: pa.Schema) -> ds.Dataset:
    """Files as one data set of pyarrow.

    Args:
        store: Where the files are.
        paths: At least one, relative to the root.
        schema: The columns, null where a file lacks them.
    """
    import pyarrow.dataset as ds

    filesystem, root = store.arrow_filesystem()
    places = [f"{root}/{path}" for path in paths]
    return ds.FileSystemDatasetFactory(filesystem, places, ds.ParquetFileFormat()).finish(schema)


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def quoted(column: str) -> str:
    """A column's name as SQL has it."""
    return '"' + column.replace('"', '""') + '"'
