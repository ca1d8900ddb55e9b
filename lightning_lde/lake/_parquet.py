"""How rows are laid out in a Parquet file: encodings, compression, statistics."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

from lightning_lde.schema import FORMAT_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

DICTIONARY_COLUMNS = {"metrics": ("run_id", "name", "context", "source")}
"""Words of large tables that repeat from row to row."""

_LOOKED_FOR = {"metrics": ("run_id", "name", "step", "time")}
"""Columns of large tables whose bounds let readers pass over row groups; to find them takes time."""

_ROW_GROUP = 1 << 20

_PAGES = {"metrics": {"write_batch_size": 1 << 13, "data_page_size": 1 << 16}}
"""Values that are encoded in one go, and bytes of a page before compression.

Who looks for some rows passes over pages that have none of them, so they are small where there are many rows. With the
usual 1,024 values in one go writing takes a tenth longer; a page is not cut within them, so it is for small values
alone.
"""


def write_parquet(target: IO[bytes], table: str, groups: Iterable[pa.Table]) -> None:
    """Write tables of one schema as the row groups of one file.

    Args:
        target: An open binary file.
        table: The table's name.
        groups: At least one table.

    Raises:
        ValueError: If there is no table at all.
    """
    import pyarrow.parquet as pq

    rest = iter(groups)
    first = next(rest, None)
    if first is None:
        raise ValueError(f"a file of {table} needs rows")
    options = {**_encodings(first.schema), "write_statistics": _columns_for_statistics(table, first.schema)}
    # Without checksums zstd decodes many a flipped bit to other values.
    options["write_page_checksum"] = True
    options |= _PAGES.get(table, {})
    # Without Arrow's own schema in the file, dictionary-encoded words read back as the strings they are.
    with pq.ParquetWriter(target, first.schema, compression="zstd", store_schema=False, **options) as writer:
        for group in chain([first], rest):
            writer.write_table(group.unify_dictionaries(), row_group_size=_ROW_GROUP)
        writer.add_key_value_metadata({"lde.table": table, "lde.format_version": str(FORMAT_VERSION)})


def with_own_words(rows: pa.Table) -> pa.Table:
    """The same rows, whose dictionaries have no word that no row has: such a word would be written all the same."""
    import pyarrow as pa

    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            words = rows.column(place).cast(field.type.value_type).combine_chunks().dictionary_encode()
            rows = rows.set_column(place, field, words.cast(field.type))
    return rows


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Whole numbers and times as differences, floats byte by byte, everything else by dictionary."""
    import pyarrow as pa

    chosen: dict[str, str] = {}
    for field in schema:
        if pa.types.is_floating(field.type):
            chosen[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type):
            chosen[field.name] = "DELTA_BINARY_PACKED"
    others = [field.name for field in schema if field.name not in chosen and not pa.types.is_nested(field.type)]
    return {"column_encoding": chosen, "use_dictionary": others}


def _columns_for_statistics(table: str, schema: pa.Schema) -> list[str]:
    """All columns but floats: Parquet's bounds leave NaN out, and engines then lose such rows."""
    import pyarrow as pa

    return [
        field.name
        for field in schema
        if not pa.types.is_nested(field.type)
        and not pa.types.is_floating(field.type)
        and field.name in _LOOKED_FOR.get(table, (field.name,))
    ]
