"""Prints a table as text, CSV, JSON or Parquet."""

from __future__ import annotations

import io
import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "csv", "json", "parquet")

_PIPE_WIDTH = 10_000
_OTHER_CODES = re.compile("[\x7f-\x9f]")


def print_table(table: pa.Table, form: str) -> None:
    """Write a table to standard output.

    Args:
        table: Any Arrow table.
        form: A word of ``FORMATS``; JSON is a list of objects, CSV has a header, Parquet is binary.
    """
    writers = {"csv": _csv, "json": _json, "parquet": _parquet, "table": _text}
    writers[form](table)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Write a value as JSON; what JSON lacks becomes null (NaN, infinities) or text (times, bytes).

    Args:
        value: The value.
        indent: Columns by which what is inside stands in; None for one line.
    """
    written = json.dumps(jsonable(value), indent=indent, ensure_ascii=False, allow_nan=False)
    # A terminal obeys these too, and JSON takes them as they are.
    click.echo(_OTHER_CODES.sub(lambda found: f"\\u{ord(found[0]):04x}", written))


def print_lines(lines: list[tuple[str, str]]) -> None:
    """Write name and value in two columns."""
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        click.echo(f"  {name:<{width}}  {value}".rstrip())


def print_sentences(sentences: Iterable[str], *, err: bool = False) -> None:
    """Write sentences for people, a line each, without what a terminal would obey: names stand in them."""
    for sentence in sentences:
        click.echo(text(sentence), err=err)


def text(value: Any) -> str:
    """A cell for people: short numbers, UTC times to the second, an empty word for null.

    Example:
        >>> text(0.123456789), text(None), text([1, 2])
        ('0.123457', '', '[1, 2]')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e5 else f"{value:.12g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    # A name could hold codes that a terminal obeys.
    return "".join(char if char.isprintable() else " " for char in str(value))


def _text(table: pa.Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for field in table.schema:
        number = str(field.type) in {"double", "float", "int64", "int32", "uint64"} or "decimal" in str(field.type)
        shown.add_column(field.name, justify="right" if number else "left", overflow="fold")
    for row in _rows(table):
        shown.add_row(*(_escaped(text(value)) for value in row))
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(shown)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
    rows = "row" if table.num_rows == 1 else "rows"
    click.echo(f"({table.num_rows} {rows})")


def _escaped(value: str) -> str:
    from rich.markup import escape

    return escape(value)


def _csv(table: pa.Table) -> None:
    import csv

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows([_plain(value) for value in row] for row in _rows(table))
    click.echo(out.getvalue(), nl=False)


def _json(table: pa.Table) -> None:
    names = _distinct(table.column_names)
    print_json([dict(zip(names, row, strict=True)) for row in _rows(table)])


def _parquet(table: pa.Table) -> None:
    import pyarrow.parquet as pq

    if sys.stdout.isatty():
        raise click.UsageError("Parquet is binary: send it to a file, for example `… --format parquet > runs.parquet`")
    buffer = io.BytesIO()
    pq.write_table(table.rename_columns(_distinct(table.column_names)), buffer, compression="zstd")
    click.echo(buffer.getvalue(), nl=False)


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    # Not by name: two columns may have the same one.
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _distinct(names: list[str]) -> list[str]:
    """Names with a number behind those that came before, as DuckDB's exports have them.

    Example:
        >>> _distinct(["a", "a", "a_1"])
        ['a', 'a_1', 'a_1_1']
    """
    found: list[str] = []
    for name in names:
        free = (f"{name}_{number}" for number in itertools.count(1))
        found.append(name if name not in found else next(other for other in free if other not in found))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(jsonable(value), ensure_ascii=False)
    return value.isoformat() if isinstance(value, datetime) else value


def jsonable(value: Any) -> Any:
    """A value as JSON has it: what JSON lacks becomes null (NaN, infinities) or text (times, bytes)."""
    if isinstance(value, dict):
        return {str(name): jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
