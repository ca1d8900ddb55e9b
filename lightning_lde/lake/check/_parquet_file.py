"""Looks into one Parquet file of a table: its footer, its columns, and where asked for all of its pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_lde.lake.check._findings import Kind
from lightning_lde.lake.check._footer import columns_of, untrue
from lightning_lde.lake.cold._rows import SORTED_BY
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


def fragment_of(source: bytes | pa.NativeFile) -> ds.ParquetFileFragment:
    """A file as Arrow reads it.

    Args:
        source: Its content, or the open file.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    file_format = ds.ParquetFileFormat(default_fragment_scan_options=options)
    return file_format.make_fragment(pa.BufferReader(source) if isinstance(source, bytes) else source)


def look_into(
    fragment: ds.ParquetFileFragment,
    table: str,
    columns: Sequence[str],
    *,
    distinct: Sequence[str] = (),
    content: bytes | None = None,
) -> Looked:
    """Look into a file.

    Args:
        fragment: The file.
        table: The table whose rows it should hold.
        columns: Columns whose values are asked for, row by row.
        distinct: Columns of which only the different values are asked for.
        content: All of the file, where all pages are to be decoded.

    Raises:
        OSError: If it cannot be read.
        pyarrow.ArrowException: If it cannot be understood; it may be a ``ValueError`` too.
    """
    metadata, schema = fragment.metadata, fragment.physical_schema
    found = Looked(metadata.num_rows, problems=list(_of_footer(metadata, schema, table)))
    if any(problem.kind == Kind.COLUMNS for problem in found.problems):
        return found
    key = SORTED_BY[table][0] if table in SORTED_BY else ""
    sets = [name for name in dict.fromkeys((*distinct, key)) if name in schema.names and name not in columns]
    names = [name for name in columns if name in schema.names]
    found.columns = {name: [] for name in (*names, *sets)}
    before: str | None = None
    footer = columns_of(content) if content is not None else []
    for number in range(metadata.num_row_groups):
        group = fragment.subset(row_group_ids=[number])
        rows = group.to_table(columns=None if content is not None else [*names, *sets], use_threads=False)
        _take(found, rows, names, sets)
        if content is not None:
            said = metadata.row_group(number).num_rows
            if rows.num_rows != said:
                found.problems.append(
                    Problem(Kind.UNREADABLE, f"a row group has {rows.num_rows} rows, its footer says {said}")
                )
            found.problems += (Problem(Kind.BOUNDS, words) for words in untrue(footer[number], rows))
            if table != "metrics" and key in rows.column_names and rows.num_rows:
                found.is_sorted = found.is_sorted and _is_sorted(rows.column(key), before)
                before = rows.column(key)[-1].as_py()
    for name in sets:
        found.columns[name] = list(dict.fromkeys(found.columns[name]))
    if known := [value for value in found.columns.get(key, ()) if value is not None]:
        found.bounds = min(known), max(known)
    return found


def _take(found: Looked, rows: pa.Table, names: Sequence[str], sets: Sequence[str]) -> None:
    for name in names:
        found.columns[name] += rows.column(name).to_pylist()
    for name in sets:
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


def _is_sorted(values: pa.ChunkedArray, before: str | None) -> bool:
    import pyarrow.compute as pc

    values = values.drop_null().combine_chunks()
    if not len(values):
        return True
    is_after = before is None or before <= values[0].as_py()
    return is_after and bool(pc.all(pc.less_equal(values[:-1], values[1:])).as_py() is not False)
