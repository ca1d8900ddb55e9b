"""Looks into one Parquet file of a table: its footer, its columns, and where asked for all of its pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_lde.lake.check._findings import Kind
from lightning_lde.lake.cold._rows import SORTED_BY
from lightning_lde.lake.stores import Store
from lightning_lde.schema import TABLES, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq


class Problem(NamedTuple):
    """What is wrong with a file.

    Attributes:
        kind: A word of ``Kind``.
        message: A sentence.
    """

    kind: str
    message: str


@dataclass
class Looked:
    """What one look into a file brought.

    Attributes:
        rows: Its rows, as its footer says.
        bounds: Least and greatest value of the column that the table is sorted by first; None where it is not known.
        columns: The values of the columns that were asked for, those of all row groups.
        problems: What is wrong.
        is_sorted: Whether rows are in that column's order, as far as was looked; points of metrics need not be.
    """

    rows: int = 0
    bounds: tuple[str, str] | None = None
    columns: dict[str, list[Any]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    is_sorted: bool = True


def fragment_of(store: Store, path: str, size_bytes: int) -> ds.ParquetFileFragment:
    """A file that is read where it lies; its size is known, so no request asks for it."""
    filesystem, root = store.arrow_filesystem()
    return _format().make_fragment(f"{root}/{path}", filesystem=filesystem, file_size=size_bytes)


def fragment_of_bytes(content: bytes) -> ds.ParquetFileFragment:
    """The same of a file's content."""
    import pyarrow as pa

    return _format().make_fragment(pa.BufferReader(content))


def _format() -> ds.ParquetFileFormat:
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.ParquetFileFormat(default_fragment_scan_options=options)


def look_into(
    fragment: ds.ParquetFileFragment, table: str, columns: Sequence[str], *, distinct: Sequence[str] = (), deep: bool
) -> Looked:
    """Look into a file.

    Args:
        fragment: The file.
        table: The table whose rows it should hold.
        columns: Columns whose values are asked for, row by row.
        distinct: Columns of which only the different values are asked for.
        deep: Whether all pages are decoded.

    Raises:
        OSError: If it cannot be read, or, as ``pyarrow.ArrowException``, not be understood.
    """
    metadata, schema = fragment.metadata, fragment.physical_schema
    key = SORTED_BY[table][0] if table in SORTED_BY else ""
    found = Looked(metadata.num_rows, _bounds(metadata, key))
    found.problems += _of_footer(metadata, schema, table)
    names = [name for name in columns if name in schema.names]
    found.columns = {name: [] for name in (*names, *distinct) if name in schema.names}
    found.is_sorted, before = True, None
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if deep:
            rows = fragment.subset(row_group_ids=[number]).to_table(use_threads=False)
            found.problems += _of_rows(group, rows)
            if table != "metrics" and key in rows.column_names:
                found.is_sorted = found.is_sorted and _is_sorted(rows.column(key), before)
                before = rows.column(key)[-1].as_py() if rows.num_rows else before
            _take(found, rows, names, distinct)
            continue
        known = {name: value for name in distinct if (value := _only_value(group, name)) is not None}
        for name, value in known.items():
            found.columns[name].append(value)
        wanted = [name for name in found.columns if name not in known]
        if wanted:
            rows = fragment.subset(row_group_ids=[number]).to_table(columns=wanted, use_threads=False)
            _take(found, rows, names, [name for name in distinct if name in wanted])
    for name in distinct:
        if name in found.columns:
            found.columns[name] = list(dict.fromkeys(found.columns[name]))
    return found


def _take(found: Looked, rows: pa.Table, names: Sequence[str], distinct: Sequence[str]) -> None:
    for name in names:
        found.columns[name] += rows.column(name).to_pylist()
    for name in distinct:
        if name in rows.column_names:
            found.columns[name] += rows.column(name).unique().to_pylist()


def _of_footer(metadata: pq.FileMetaData, schema: pa.Schema, table: str) -> Iterator[Problem]:
    said = (metadata.metadata or {}).get(b"lde.table", table.encode())
    if said != table.encode():
        yield Problem(Kind.COLUMNS, f"it says that it holds rows of {said.decode(errors='replace')}, not of {table}")
    if metadata.num_rows < 1:
        yield Problem(Kind.EMPTY, "it has no rows")
    groups = sum(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
    if groups != metadata.num_rows:
        yield Problem(Kind.UNREADABLE, f"its row groups have {groups} rows, the file {metadata.num_rows}")
    if table in TABLES:
        yield from _of_columns(schema, table)


def _of_columns(schema: pa.Schema, table: str) -> Iterator[Problem]:
    """Columns that the table does not have belong to newer writers; those have all that it has besides."""
    expected = arrow_schema(table)
    missing = [name for name in expected.names if name not in schema.names]
    strange = [name for name in schema.names if name not in expected.names]
    if required := [name for name in missing if name in _required(table)]:
        yield Problem(Kind.COLUMNS, f"it lacks the column {', '.join(required)} of {table}")
    elif missing and strange:
        yield Problem(Kind.COLUMNS, f"it lacks {', '.join(missing)} of {table} and has {', '.join(strange)} instead")
    for field_ in schema:
        if field_.name not in expected.names:
            continue
        wanted = expected.field(field_.name).type
        if not _is_same(field_.type, wanted):
            yield Problem(Kind.COLUMNS, f"its column {field_.name} is {field_.type}, expected {wanted}")
        elif not field_.nullable:
            yield Problem(Kind.COLUMNS, f"its column {field_.name} says that it can hold no nulls")


def _required(table: str) -> set[str]:
    """Columns without which a row says nothing; all else may be missing in files of older writers."""
    import dataclasses

    return {
        one.name
        for one in dataclasses.fields(TABLES[table])
        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
    }


def _is_same(found: pa.DataType, wanted: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_list(wanted) and (pa.types.is_list(found) or pa.types.is_large_list(found)):
        return bool(found.value_type == wanted.value_type)
    return bool(found == wanted)


def _of_rows(group: pq.RowGroupMetaData, rows: pa.Table) -> Iterator[Problem]:
    """What readers believe without reading it: how many rows there are, and what lies between which bounds."""
    import pyarrow.compute as pc

    if rows.num_rows != group.num_rows:
        yield Problem(Kind.UNREADABLE, f"a row group has {rows.num_rows} rows, its footer says {group.num_rows}")
    for number in range(group.num_columns):
        column = group.column(number)
        statistics = column.statistics
        name = column.path_in_schema
        if statistics is None or name not in rows.column_names:
            continue
        values = rows.column(name)
        if statistics.has_null_count and statistics.null_count != values.null_count:
            yield Problem(Kind.BOUNDS, f"its footer says another number of nulls in {name} than there are")
        if not statistics.has_min_max or rows.num_rows == values.null_count:
            continue
        bounds = pc.min_max(values).as_py()
        if (statistics.min, statistics.max) != (bounds["min"], bounds["max"]):
            yield Problem(Kind.BOUNDS, f"the values of {name} are not between those that its footer says")


def _bounds(metadata: pq.FileMetaData, key: str) -> tuple[str, str] | None:
    bounds: list[str] = []
    for number in range(metadata.num_row_groups):
        statistics = _statistics(metadata.row_group(number), key)
        if statistics is None or not statistics.has_min_max or not isinstance(statistics.min, str):
            return None
        bounds += (statistics.min, statistics.max)
    return (min(bounds), max(bounds)) if bounds else None


def _is_sorted(values: pa.ChunkedArray, before: str | None) -> bool:
    import pyarrow.compute as pc

    values = values.drop_null().combine_chunks()
    if not len(values):
        return True
    is_after = before is None or before <= values[0].as_py()
    return is_after and bool(pc.all(pc.less_equal(values[:-1], values[1:])).as_py() is not False)


def _statistics(group: pq.RowGroupMetaData, name: str) -> Any:
    columns = (group.column(number) for number in range(group.num_columns))
    return next((column.statistics for column in columns if column.path_in_schema == name), None)


def _only_value(group: pq.RowGroupMetaData, name: str) -> Any:
    """The value that all rows of a group have in a column, where the footer says so."""
    statistics = _statistics(group, name)
    if statistics is None or not statistics.has_min_max or statistics.null_count != 0:
        return None
    return statistics.min if statistics.min == statistics.max else None
