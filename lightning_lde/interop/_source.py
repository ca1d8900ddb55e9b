"""What an engine needs to show a table: the files, their columns, and how their rows become the table's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_lde.interop._rules import ASIDE, ATTEMPTS, SMALL, Dialect, attempts, rule
from lightning_lde.query import Lake, at_one_moment, dataset_at

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from lightning_lde.lake import Snapshot

_ASIDE_STAGES = ("validate", "test", "predict")


@dataclass(frozen=True)
class Source:
    """A table at one moment.

    Attributes:
        files: The rows in its files, with all columns that any file has.
        addresses: Where these files are.
        rows: The rows, where no file is needed for them.
        queries: In this order, of the files' rows; the last gives the table's; without any they are it.
        beside: Small tables that the queries need.
    """

    files: ds.Dataset
    addresses: Sequence[str] = ()
    rows: pa.Table | None = None
    queries: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, pa.Table] = field(default_factory=dict)


def literal_pattern(address: str) -> str:
    """A pattern that only one address fits, for engines that take addresses for patterns."""
    return re.sub(r"([][*?{}\\])", r"\\\1", address)


def source_of(lake: Lake, table: str, dialect: Dialect, *, stored: bool) -> Source:
    """A table as it is now.

    Args:
        lake: The lake.
        table: A table of docs/format.md.
        dialect: How the engine's SQL is written.
        stored: Whether the rows are wanted as they stand in the files.

    Raises:
        LakeNotFoundError: If there is no lake at the address.
        ConfigurationError: If there is no such table.
        StoreError: If the lake's files cannot be read.
    """
    import pyarrow.dataset as ds

    if table in SMALL and not stored:
        rows = lake.sql(f"select * from {table}")
        return Source(ds.dataset(rows), rows=rows)
    return at_one_moment(lake.storage, lambda snapshot: _at(lake, snapshot, table, dialect, stored))


def _at(lake: Lake, snapshot: Snapshot, table: str, dialect: Dialect, stored: bool) -> Source:
    files = dataset_at(lake.storage, snapshot, table)
    addresses = [lake.storage.address_of(path) for path in snapshot.paths(table)]
    if not addresses:
        return Source(files, rows=files.to_table())
    if stored:
        return Source(files, addresses)
    beside = _beside(lake, snapshot) if table == "metrics" else {}
    queries = rule(table, files.schema.names, dialect, has_attempts=bool(beside))
    return Source(files, addresses, queries=queries, beside=beside)


def _beside(lake: Lake, snapshot: Snapshot) -> dict[str, pa.Table]:
    import pyarrow.dataset as ds

    if not snapshot.paths("resumes"):
        return {}
    known = attempts(dataset_at(lake.storage, snapshot, "resumes").to_table())
    states = dataset_at(lake.storage, snapshot, "runs")
    aside = states.to_table(["run_id", "segment"], filter=ds.field("stage").isin(_ASIDE_STAGES))
    # Each once, or points would be there twice.
    return {ATTEMPTS: known, ASIDE: aside.group_by(["run_id", "segment"]).aggregate([])}
