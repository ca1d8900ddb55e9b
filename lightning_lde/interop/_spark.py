"""A table as a data frame of Spark."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lightning_lde.interop._rules import ROWS, Dialect
from lightning_lde.interop._source import Source, literal_pattern, source_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from lightning_lde.query import Lake

_S3 = re.compile("^s3://")
_DIALECT = Dialect(quote="`", micros="unix_micros(heartbeat_at)", is_template=True)


def to_spark(session: SparkSession, lake: Lake, table: str, *, stored: bool = False) -> DataFrame:
    """A table as Spark reads it; addresses in a bucket are given as ``s3a://``, for which the session is set up.

    Args:
        session: The session.
        lake: The lake, at an address that means the same to all executors.
        table: A table of docs/format.md.
        stored: Whether to take the rows as they stand in the files: every state of a run, points that were given up.

    Returns:
        A frame of the table as it is at this moment.

    Raises:
        LakeNotFoundError: If there is no lake at the address.
        ConfigurationError: If there is no such table.
    """
    source = source_of(lake, table, _DIALECT, stored=stored)
    if source.rows is not None:
        return _frame(session, source.rows)
    frames = {ROWS: _scan(session, source), **{name: _frame(session, rows) for name, rows in source.beside.items()}}
    frame = frames[ROWS]
    for name, query in source.queries.items():
        frames[name] = frame = session.sql(query, **frames)
    return frame


def _scan(session: SparkSession, source: Source) -> DataFrame:
    # A table's folders look like partitions to Spark, but files that are named one by one do not.
    places = [literal_pattern(_S3.sub("s3a://", address)) for address in source.addresses]
    return session.read.schema(_frame(session, source.files.schema.empty_table()).schema).parquet(*places)


def _frame(session: SparkSession, rows: pa.Table) -> DataFrame:
    frame: DataFrame = session.createDataFrame(rows)
    return frame
