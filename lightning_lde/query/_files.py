"""The files of a lake's tables, for programs that read Parquet by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lightning_lde.errors import ConfigurationError, StoreError
from lightning_lde.lake import LakeStorage, Snapshot, arrow_dataset, files_schema
from lightning_lde.schema import TABLES, arrow_schema

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_T = TypeVar("_T")


def at_one_moment(storage: LakeStorage, look: Callable[[Snapshot], _T]) -> _T:
    """What a function finds in the files of a snapshot; where one is gone it looks at the next snapshot.

    Args:
        storage: The lake.
        look: The function.

    Raises:
        LakeNotFoundError: If there is no lake at the address.
        StoreError: If files were replaced at each attempt to read them.
    """
    storage.require()
    for pause_s in (*_PAUSES_S, None):
        try:
            return look(storage.snapshot())
        except FileNotFoundError as error:
            # A run that ended just now replaced its segments by one file.
            if pause_s is None:
                raise StoreError(
                    f"files of the lake at {storage.url} were replaced at each attempt to read them, the last time: "
                    f"{error}"
                ) from error
            time.sleep(pause_s)
    raise AssertionError


def files(storage: LakeStorage, table: str) -> list[str]:
    """Addresses of a table's files; see `Lake.files`."""
    _check(table)
    storage.require()
    return [storage.address_of(path) for path in storage.snapshot().paths(table)]


def dataset(storage: LakeStorage, table: str) -> ds.Dataset:
    """A table's files as a data set of pyarrow; see `Lake.dataset`."""
    return at_one_moment(storage, lambda snapshot: dataset_at(storage, snapshot, table))


def dataset_at(storage: LakeStorage, snapshot: Snapshot, table: str) -> ds.Dataset:
    """The rows of a table in the files of a snapshot, as they are stored.

    Args:
        storage: The lake.
        snapshot: Its files.
        table: The table's name.

    Raises:
        FileNotFoundError: If a file is gone.
        ConfigurationError: If there is no such table.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    _check(table)
    known, paths = arrow_schema(table), snapshot.paths(table)
    if not paths:
        return ds.dataset(known.empty_table())
    # The table's own columns, then those that newer writers added.
    schema = pa.unify_schemas([known, files_schema(storage.store, paths)], promote_options="permissive")
    return arrow_dataset(storage.store, paths, schema)


def _check(table: str) -> None:
    if table not in TABLES:
        raise ConfigurationError(f"no table {table!r}: there are {', '.join(TABLES)}")
