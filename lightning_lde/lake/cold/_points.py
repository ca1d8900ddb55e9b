"""The points of metrics as row groups: the one table that is too large to sort all of it.

Files come in the order of their runs, and some of them at a time are put in order together. A run lies in one group,
if it is not larger than that, which is what a reader needs to find its curves. Within a group lie the points of one
name together, so that who wants one metric of all runs can pass over most pages of a file. That runs of two groups may
overlap costs a reader one more group.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lightning_lde.lake._parquet import DICTIONARY_COLUMNS
from lightning_lde.lake.stores import Store
from lightning_lde.schema import arrow_schema

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa
    import pyarrow.dataset as ds

ROWS_AT_ONCE = 1 << 20
"""Rows that are put in order together, some 80 MB."""

_TABLE = "metrics"
_RUN = "run_id"
_CURVE = ("name", "run_id", "context", "dataloader_idx")
_READERS = 8
_AHEAD = 16
_BYTES_AHEAD = 256 << 20


def groups_of_points(store: Store, paths: Sequence[str], rows_per_group: int) -> Iterator[pa.Table]:
    """The rows of some files of the table ``metrics`` as row groups; words stay dictionary-encoded.

    Args:
        store: Where the files are.
        paths: The files in the order of their runs.
        rows_per_group: Rows of a group, at most.
    """
    parts = (part for fragment in _fragments(store, paths) for part in _parts(fragment))
    for together in _together(parts):
        yield from grouped(_as_one(together), rows_per_group)


def _fragments(store: Store, paths: Sequence[str]) -> Iterator[ds.ParquetFileFragment]:
    """Each file; from far away some are fetched ahead."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.fs as fs

    words = ds.ParquetReadOptions(dictionary_columns=set(DICTIONARY_COLUMNS[_TABLE]))
    kind = ds.ParquetFileFormat(read_options=words)
    if not paths or store.local_path(paths[0]) is not None:
        for path in paths:
            yield kind.make_fragment(store.local_path(path), fs.LocalFileSystem())
        return
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        for path in paths:
            while len(waiting) > _AHEAD or _bytes_of(waiting) > _BYTES_AHEAD:
                yield kind.make_fragment(pa.BufferReader(waiting.popleft().result()))
            waiting.append(pool.submit(store.get, path))
        while waiting:
            yield kind.make_fragment(pa.BufferReader(waiting.popleft().result()))


def _bytes_of(waiting: Iterable[Future[bytes]]) -> int:
    return sum(len(one.result()) for one in waiting if one.done() and not one.exception())


def _parts(fragment: ds.ParquetFileFragment) -> Iterator[pa.Table]:
    """A file's rows: of a large one some row groups at a time."""
    import pyarrow as pa

    groups: list[int] = []
    rows = 0
    for group in fragment.row_groups:
        if groups and rows + group.num_rows > ROWS_AT_ONCE:
            yield _read(fragment, groups, pa.system_memory_pool())
            groups, rows = [], 0
        groups.append(group.id)
        rows += group.num_rows
    yield _read(fragment, groups, pa.system_memory_pool())


def _read(fragment: ds.ParquetFileFragment, groups: list[int], pool: pa.MemoryPool) -> pa.Table:
    part = fragment.subset(row_group_ids=groups)
    # The system's allocator hands memory of this size out again as it is; Arrow's gets it anew, and cleared.
    return _completed(part.to_table(use_threads=False, batch_size=ROWS_AT_ONCE, memory_pool=pool))


def _completed(rows: pa.Table) -> pa.Table:
    """The table's own columns first, null where the file lacks them, then those that newer writers added."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for field in arrow_schema(_TABLE):
        found = rows.column(field.name) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        words = pa.dictionary(pa.int32(), pa.string()) if field.name in DICTIONARY_COLUMNS[_TABLE] else field.type
        columns[field.name] = found.cast(words)
    columns |= {name: rows.column(name) for name in sorted(set(rows.column_names) - set(columns))}
    return pa.table(columns)


def _together(parts: Iterable[pa.Table]) -> Iterator[list[pa.Table]]:
    """As many of them as are put in order at once, all with the same columns."""
    waiting: list[pa.Table] = []
    rows = 0
    for part in parts:
        if waiting and (rows + part.num_rows > ROWS_AT_ONCE or part.schema != waiting[0].schema):
            yield waiting
            waiting, rows = [], 0
        waiting.append(part)
        rows += part.num_rows
    if waiting:
        yield waiting


def _as_one(parts: Sequence[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(parts).unify_dictionaries().combine_chunks()


def grouped(rows: pa.Table, most: int) -> Iterator[pa.Table]:
    """Row groups of whole runs, in each of them the curves name by name, and each curve as it was.

    Args:
        rows: Rows of ``metrics`` in the order in which they were logged, in one chunk.
        most: Rows of a group, at most; a run that has more of them goes into several groups.
    """
    import numpy as np

    ranks = {name: _ranks(rows.column(name)) for name in _CURVE}
    columns = _Columns(rows)
    runs, order = ranks[_RUN], None
    if not _is_sorted(runs):
        order = np.argsort(runs.astype(np.int16) if runs.max() < 1 << 15 else runs, kind="stable")
        runs = runs[order]
    for start, end in pairwise(_bounds(runs, most)):
        of_group = slice(start, end) if order is None else order[start:end]
        place = _places([_at(ranks[name], of_group) for name in _CURVE])
        if not _is_sorted(place):
            by_place = np.argsort(place, kind="stable")
            of_group = by_place + start if order is None else order[start:end][by_place]
        yield rows.slice(start, end - start) if isinstance(of_group, slice) else columns.at(of_group)


def _is_sorted(values: npt.NDArray[Any]) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def _ranks(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """The place of each value among the different ones in their order; null is the first."""
    import numpy as np
    import pyarrow as pa

    if column.null_count == len(column):
        return np.zeros(len(column), np.int32)
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    words = np.array(array.dictionary.to_pylist(), object)
    ranks: npt.NDArray[Any] = np.zeros(len(words) + 1, np.int32)
    ranks[np.argsort(words, kind="stable")] = np.arange(1, len(words) + 1)
    # The last one, which is zero, is that of null.
    indices = array.indices.fill_null(len(words)) if array.null_count else array.indices
    found: npt.NDArray[Any] = ranks.take(indices.to_numpy(zero_copy_only=False))
    return found


def _bounds(runs: npt.NDArray[Any], most: int) -> Iterator[int]:
    """Where groups begin, and the last one ends: between runs, if it can be."""
    import numpy as np

    start = 0
    while start < len(runs):
        yield start
        end = start + most
        if end < len(runs):
            # The first row of the run that does not fit.
            first = int(np.searchsorted(runs, runs[end]))
            end = first if first > start else end
        start = end
    yield len(runs)


def _places(ranks: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The place of each row in the order of several columns, the first of them first."""
    import numpy as np

    bounds = [(int(column.min()), int(column.max())) for column in ranks]
    n_places = math.prod(last - first + 1 for first, last in bounds)
    # Of 16 bits a stable sort counts instead of comparing, and what is small is quick to fill.
    kind = np.int16 if n_places < 1 << 15 else np.int64
    place: npt.NDArray[Any] = np.zeros(len(ranks[0]), kind)
    for column, (first, last) in zip(ranks, bounds, strict=True):
        if last > first:
            place *= last - first + 1
            place += (column - first).astype(kind)
    return place


def _at(values: npt.NDArray[Any], where: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
    # The method is three times as quick as brackets are.
    found: npt.NDArray[Any] = values[where] if isinstance(where, slice) else values.take(where)
    return found


class _Columns:
    """Rows to be taken in some order: columns of one value need none, and such as are equal are taken once."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._is_one = [_is_one_value(column) for column in rows.columns]
        columns = rows.columns
        # Steps and global steps are often one.
        self._is_as_before = [False] + [
            not is_one and column.type == before.type and column.equals(before)
            for is_one, before, column in zip(self._is_one[1:], columns, columns[1:], strict=False)
        ]

    def at(self, order: npt.NDArray[Any]) -> pa.Table:
        """Some of the rows, in an order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        indices, pool = pa.array(order), pa.system_memory_pool()
        found: list[pa.ChunkedArray] = []
        for column, is_one, is_as_before in zip(self._rows.columns, self._is_one, self._is_as_before, strict=True):
            if is_one:
                found.append(column.slice(0, len(order)))
            elif is_as_before:
                found.append(found[-1])
            else:
                found.append(pc.take(column, indices, boundscheck=False, memory_pool=pool))
        return pa.table(found, schema=self._rows.schema)


def _is_one_value(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        return bool(column.null_count == len(column))
    if pa.types.is_dictionary(column.type):
        return all(len(chunk.dictionary) == 1 for chunk in column.chunks) and column.num_chunks == 1
    if not pa.types.is_integer(column.type):
        return False
    found = pc.min_max(column)
    return bool(found["min"] == found["max"])
