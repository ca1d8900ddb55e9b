"""A table as a lazy frame of Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_lde.errors import MissingDependencyError
from lightning_lde.interop._rules import ROWS, Dialect
from lightning_lde.interop._source import Source, source_of

if TYPE_CHECKING:
    import polars

    from lightning_lde.query import Lake


def to_polars(lake: Lake, table: str, *, stored: bool = False) -> polars.LazyFrame:
    """A table as Polars reads it: nothing is read but what a query on the frame needs.

    Args:
        lake: The lake.
        table: A table of docs/format.md.
        stored: Whether to take the rows as they stand in the files: every state of a run, points that were given up.

    Returns:
        A frame of the table as it is at this moment.

    Raises:
        MissingDependencyError: If Polars is not installed.
        LakeNotFoundError: If there is no lake at the address.
        ConfigurationError: If there is no such table.

    Example:
        >>> import tempfile
        >>> from lightning_lde import Lake
        >>> to_polars(Lake(tempfile.mkdtemp()).create(), "runs").collect().height
        0
    """
    try:
        import polars as pl
    except ImportError as error:
        raise MissingDependencyError("this needs Polars: pip install lightning-lde[polars]") from error
    source = source_of(lake, table, Dialect(), stored=stored)
    if source.rows is not None:
        return pl.DataFrame(source.rows).lazy()
    context = pl.SQLContext({ROWS: _scan(lake, source)})
    frame = context.execute(f"select * from {ROWS}")
    for name, rows in source.beside.items():
        context.register(name, pl.DataFrame(rows).lazy())
    for name, query in source.queries.items():
        frame = context.execute(query)
        context.register(name, frame)
    return frame


def _scan(lake: Lake, source: Source) -> polars.LazyFrame:
    import polars as pl

    if not source.addresses[0].startswith(("/", "s3://")):
        return pl.scan_pyarrow_dataset(source.files)
    return pl.scan_parquet(
        source.addresses,
        schema=pl.DataFrame(source.files.schema.empty_table()).schema,
        missing_columns="insert",
        glob=False,
        hive_partitioning=False,
        storage_options=lake.storage.client_options() or None,
    )
