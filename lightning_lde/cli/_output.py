"""Prints a table as text, CSV, JSON or Parquet."""

from __future__ import annotations

import io
import json
import math
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "csv", "json", "parquet")

_PIPE_WIDTH = 10_000


def print_table(table: pa.Table, form: str) -> None:
    """Write a table to standard output.

    Args:
        table: Any Arrow table.
        form: A word of ``FORMATS``; JSON is a list of objects, CSV has a header, Parquet is binary.
    """
    writers = {"csv": _csv, "json": _json, "parquet": _parquet, "table": _text}
    writers[form](table)


def print_lines(lines: list[tuple[str, str]]) -> None:
    """Write name and value in two columns."""
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        click.echo(f"  {name:<{width}}  {value}".rstrip())


def text(value: Any) -> str:
    """A cell for people: short numbers, UTC times to the second, an empty word for null.

    Example:
        >>> text(0.123456789), text(None), text([1, 2])
        ('0.123457', '', '[1, 2]')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value).replace("\n", " ")


def _text(table: pa.Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for field in table.schema:
        number = str(field.type) in {"double", "float", "int64", "int32", "uint64"} or "decimal" in str(field.type)
        shown.add_column(field.name, justify="right" if number else "left", overflow="fold")
    for row in table.to_pylist():
        shown.add_row(*(_escaped(text(value)) for value in row.values()))
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
    writer.writerows([_plain(value) for value in row.values()] for row in table.to_pylist())
    click.echo(out.getvalue(), nl=False)


def _json(table: pa.Table) -> None:
    rows = [{name: _jsonable(value) for name, value in row.items()} for row in table.to_pylist()]
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False, default=str))


def _parquet(table: pa.Table) -> None:
    import pyarrow.parquet as pq

    if sys.stdout.isatty():
        raise click.UsageError("Parquet is binary: send it to a file, for example `… --format parquet > runs.parquet`")
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    click.echo(buffer.getvalue(), nl=False)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value, default=str) if isinstance(value, (list, dict)) else value


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    return value
