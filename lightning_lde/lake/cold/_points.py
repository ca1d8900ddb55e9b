"""The points of metrics in order, run by run and curve by curve: the one table that is too large to sort all of it.

Files come in the order of their runs, and each is put in order by itself. Runs of one file lie together, which is what
a reader needs to find a curve; that runs of two files may overlap costs it one more row group.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lightning_lde.lake._parquet import DICTIONARY_COLUMNS
from lightning_lde.lake.stores import Store
from lightning_lde.schema import arrow_schema

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_AT_ONCE = 1 << 22
"""Rows that are put in order together, some 300 MB."""

_TABLE = "metrics"
_CURVE = ("run_id", "name", "context", "dataloader_idx")
_WORKERS = 2
_AHEAD = 4


def sorted_points(store: Store, paths: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of some files of the table ``metrics``; words stay dictionary-encoded.

    Args:
        store: Where the files are.
        paths: The files in the order of their runs.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        for portions in _in_turn(pool, lambda path: _first_portion(store, path), paths):
            yield from portions


def _in_turn(
    pool: ThreadPoolExecutor, read: Callable[[str], Iterable[pa.Table]], paths: Iterable[str]
) -> Iterator[Iterable[pa.Table]]:
    """What is read of each path, in their order, a few of them ahead."""
    waiting: deque[Future[Iterable[pa.Table]]] = deque()
    for path in paths:
        waiting.append(pool.submit(read, path))
        if len(waiting) > _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _first_portion(store: Store, path: str) -> Iterable[pa.Table]:
    """A file's rows in order: a small one is read at once, a large one portion by portion when it is asked for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = store.local_path(path)
    source: Any = pa.BufferReader(store.get(path)) if place is None else place
    file = pq.ParquetFile(source, read_dictionary=list(DICTIONARY_COLUMNS[_TABLE]))
    if file.metadata.num_rows <= ROWS_AT_ONCE:
        with file:
            return [in_order(_completed(file.read(use_threads=False)))]
    return _portions(file)


def _portions(file: pq.ParquetFile) -> Iterator[pa.Table]:
    with file:
        groups: list[int] = []
        rows = 0
        for number in range(file.num_row_groups):
            more = file.metadata.row_group(number).num_rows
            if groups and rows + more > ROWS_AT_ONCE:
                yield in_order(_completed(file.read_row_groups(groups, use_threads=False)))
                groups, rows = [], 0
            groups.append(number)
            rows += more
        yield in_order(_completed(file.read_row_groups(groups, use_threads=False)))


def _completed(rows: pa.Table) -> pa.Table:
    """The table's own columns first, null where the file lacks them, then those that newer writers added."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for field in arrow_schema(_TABLE):
        found = rows.column(field.name) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        words = pa.dictionary(pa.int32(), pa.string()) if field.name in DICTIONARY_COLUMNS[_TABLE] else field.type
        columns[field.name] = found.cast(words)
    columns |= {name: rows.column(name) for name in sorted(set(rows.column_names) - set(columns))}
    return pa.table(columns).unify_dictionaries().combine_chunks()


def in_order(rows: pa.Table) -> pa.Table:
    """Rows curve by curve, each curve as it was.

    Args:
        rows: Rows of ``metrics``, words dictionary-encoded, in the order in which they were logged.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [_encoded(rows.column(name)) for name in _CURVE]
    n_places = math.prod(len(column.dictionary) + 1 for column in columns)
    # Of 16 bits a stable sort counts instead of comparing, and what is small is quick to fill.
    kind = np.int16 if n_places < 1 << 15 else np.int64
    place: npt.NDArray[Any] = np.zeros(rows.num_rows, kind)
    for column in columns:
        if column.null_count < len(column):
            place *= len(column.dictionary) + 1
            place += _ranks(column, kind)
    if (place[1:] >= place[:-1]).all():
        return rows
    order = pa.array(np.argsort(place, kind="stable"))
    # The system's allocator hands memory of this size out again as it is, Arrow's gets it anew, and cleared.
    return pc.take(rows, order, boundscheck=False, memory_pool=pa.system_memory_pool())


def _encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    return array if pa.types.is_dictionary(array.type) else array.dictionary_encode()


def _ranks(column: pa.DictionaryArray, kind: type) -> npt.NDArray[Any]:
    """The place of each value among the different ones in their order; null is the first."""
    import numpy as np

    words = np.array(column.dictionary.to_pylist(), object)
    ranks: npt.NDArray[Any] = np.zeros(len(words) + 1, kind)
    ranks[np.argsort(words, kind="stable")] = np.arange(1, len(words) + 1)
    # The last one, which is zero, is that of null.
    indices = column.indices.fill_null(len(words)) if column.null_count else column.indices
    found: npt.NDArray[Any] = ranks.take(indices.to_numpy(zero_copy_only=False))
    return found
