"""A table as a data frame of Daft, on this machine or on a cluster of Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning_lde.errors import MissingDependencyError
from lightning_lde.interop._rules import ROWS, Dialect
from lightning_lde.interop._source import Source, literal_pattern, source_of

if TYPE_CHECKING:
    import daft

    from lightning_lde.query import Lake

_OF_DAFT = ("key_id", "access_key", "session_token", "endpoint_url", "region_name")
_OF_DELTA = ("access_key_id", "secret_access_key", "session_token", "endpoint_url", "region")
_WORDS = dict(zip(_OF_DAFT, _OF_DELTA, strict=True))


def to_daft(lake: Lake, table: str, *, stored: bool = False) -> daft.DataFrame:
    """A table as Daft reads it, when the frame is collected; after ``daft.set_runner_ray()`` by a cluster.

    Args:
        lake: The lake.
        table: A table of docs/format.md.
        stored: Whether to take the rows as they stand in the files: every state of a run, points that were given up.

    Returns:
        A frame of the table as it is at this moment.

    Raises:
        MissingDependencyError: If Daft is not installed.
        LakeNotFoundError: If there is no lake at the address.
        ConfigurationError: If there is no such table.
    """
    try:
        import daft
    except ImportError as error:
        raise MissingDependencyError("this needs Daft: pip install lightning-lde[daft]") from error
    source = source_of(lake, table, Dialect(), stored=stored)
    if source.rows is not None:
        return daft.from_arrow(source.rows)
    frames = {ROWS: _scan(lake, source), **{name: daft.from_arrow(rows) for name, rows in source.beside.items()}}
    frame = frames[ROWS]
    for name, query in source.queries.items():
        frames[name] = frame = daft.sql(query, register_globals=False, **frames)
    return frame


def _scan(lake: Lake, source: Source) -> daft.DataFrame:
    import daft

    columns = {field.name: daft.DataType.from_arrow_type(field.type) for field in source.files.schema}
    patterns = [literal_pattern(address) for address in source.addresses]
    return daft.read_parquet(patterns, infer_schema=False, schema=columns, io_config=_io_config(lake))


def _io_config(lake: Lake) -> Any:
    from daft.io import IOConfig, S3Config

    words = lake.storage.client_options()
    if not lake.storage.absolute_url.startswith("s3"):
        return None
    given = {name: words[f"aws_{theirs}"] for name, theirs in _WORDS.items() if f"aws_{theirs}" in words}
    return IOConfig(
        s3=S3Config(
            **given,
            anonymous="aws_skip_signature" in words,
            use_ssl=words.get("aws_allow_http") != "true",
        )
    )
