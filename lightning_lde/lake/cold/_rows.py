"""The rows of a cold table: sorted, and without what hot files repeat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lightning_lde.lake._scan import literal, parquet_source, quoted
from lightning_lde.lake.cold._points import groups_of_points
from lightning_lde.lake.stores import Store
from lightning_lde.schema import CONTENT_TABLES, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_GROUP = 1 << 18
"""Rows of a row group: a curve of one run is read with the group, or two, that it lies in."""

SORTED_BY = {
    "runs": ("run_id", "segment", "revision"),
    "params": ("config_id", "key"),
    "metrics": ("run_id", "name", "context", "dataloader_idx", "segment", "step", "time"),
    "episodes": ("run_id", "segment", "method", "inner_steps", "episode_index"),
    "embeddings": ("dataset_id", "dataset_config_id", "probe_id", "task_seed", "task_index"),
    "artifacts": ("run_id", "segment", "path"),
    "links": ("source_id", "relation", "target_id"),
    "events": ("run_id", "segment", "time"),
    "resumes": ("run_id", "segment"),
    "placements": ("run_id", "path", "recorded_at"),
    **{table: (key, "recorded_at") for table, key in CONTENT_TABLES.items()},
}
"""The order of rows; files say the least and the greatest value of the first column.

Points are in this order group by group only: in each of them the name comes before the run.
"""

TOLD_APART_BY = {
    "runs": 1,
    "params": 2,
    "artifacts": 3,
    "links": 3,
    **dict.fromkeys(CONTENT_TABLES, 1),
}
"""Tables of which readers show some rows as one: so many columns of the order tell for certain that they do not."""

_REPEATED = ("params",)
"""Tables of which every run writes the same rows again, and they have no time: in a full order repeats lie together."""

_BATCH = 1 << 16


def sorted_rows(store: Store, table: str, paths: Sequence[str], scratch: str) -> Iterator[pa.Table]:
    """The rows of some files in the order of the table, a row group at a time.

    Args:
        store: Where the files are.
        table: The table's name.
        paths: The files, relative to the lake's root, in the order of what is in them.
        scratch: A folder for what does not fit into memory.
    """
    if table == "metrics":
        return groups_of_points(store, paths, ROWS_PER_GROUP)
    return _sorted_by_query(store, table, paths, scratch)


def in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of the size of a row group; where the columns change a group ends."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    n = 0
    for table in tables:
        if waiting and waiting[0].schema != table.schema:
            yield pa.concat_tables(waiting)
            waiting, n = [], 0
        rest = table
        while n + rest.num_rows >= ROWS_PER_GROUP:
            yield pa.concat_tables([*waiting, rest.slice(0, ROWS_PER_GROUP - n)])
            rest = rest.slice(ROWS_PER_GROUP - n)
            waiting, n = [], 0
        if rest.num_rows:
            waiting.append(rest)
            n += rest.num_rows
    if waiting:
        yield pa.concat_tables(waiting)


def _sorted_by_query(store: Store, table: str, paths: Sequence[str], scratch: str) -> Iterator[pa.Table]:
    import duckdb
    import pyarrow as pa

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"set temp_directory = {literal(scratch)}")
        source = parquet_source(connection, "files", store, paths)
        columns = [row[0] for row in connection.execute(f"describe select * from {source}").fetchall()]
        order = ", ".join(quoted(name) for name in _order(table, columns))
        rows = connection.sql(f"select * from ({_kept(table, source, columns)}) order by {order}")
        batches = rows.to_arrow_reader(_BATCH)
        schema = _schema(table, batches.schema)
        portions = (pa.Table.from_batches([batch]).select(schema.names).cast(schema) for batch in batches)
        yield from in_groups(without_repeats(portions) if table in _REPEATED else portions)


def _order(table: str, columns: Sequence[str]) -> list[str]:
    first = [name for name in SORTED_BY[table] if name in columns]
    return [*first, *(name for name in columns if name not in first)] if table in _REPEATED else first


def without_repeats(portions: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Rows without those that are wholly like the one before them; null is like null, and NaN like NaN.

    Args:
        portions: Rows in an order of all of their columns, in which equal ones follow each other.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    last: pa.Table | None = None
    for portion in portions:
        if not portion.num_rows:
            continue
        is_repeat = _are_as_before(portion.combine_chunks())
        seam = (
            [False] if last is None else _are_as_before(pa.concat_tables([last, portion.slice(0, 1)]).combine_chunks())
        )
        last = portion.slice(portion.num_rows - 1)
        repeats = pa.chunked_array([pa.array(seam, pa.bool_()), is_repeat])
        yield portion.filter(pc.invert(repeats)) if pc.any(repeats).as_py() else portion


def _are_as_before(rows: pa.Table) -> pa.BooleanArray:
    """Of each row but the first whether it is wholly like the one before it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    same: Any = pa.array([True] * (rows.num_rows - 1), pa.bool_())
    for column in rows.columns:
        array = column.chunk(0)
        former, later = array.slice(0, len(array) - 1), array.slice(1)
        equal = pc.fill_null(pc.equal(former, later), False)
        if pa.types.is_floating(array.type):
            equal = pc.or_(equal, pc.fill_null(pc.and_(pc.is_nan(former), pc.is_nan(later)), False))
        if array.null_count:
            equal = pc.or_(equal, pc.and_(pc.is_null(former), pc.is_null(later)))
        same = pc.and_(same, equal)
    return same


def _schema(table: str, found: pa.Schema) -> pa.Schema:
    """The table's own columns first, then those that newer writers added, each with the type it has."""
    import pyarrow as pa

    known = [field for field in arrow_schema(table) if field.name in found.names]
    names = {field.name for field in known}
    return pa.schema([*known, *(field for field in found if field.name not in names)])


def _kept(table: str, source: str, columns: Sequence[str]) -> str:
    """A query for the rows that count; what readers would leave out anyway is left out here.

    Every run writes the rows of what it met. Of rows that differ only in when they were written the first and the last
    stay, so that nothing changes about which of several facts is the newest.
    """
    if table == "runs":
        # Earlier states of a segment are heartbeats.
        last = "partition by run_id, segment order by revision desc"
        return f"select * from {source} qualify row_number() over ({last}) = 1"
    if table in CONTENT_TABLES or table == "links":
        same = ", ".join(quoted(name) for name in columns if name != "recorded_at")
        first = f"row_number() over (partition by {same} order by recorded_at) = 1"
        last = f"row_number() over (partition by {same} order by recorded_at desc) = 1"
        return f"select * from {source} qualify {first}" + ("" if table == "links" else f" or {last}")
    return f"select * from {source}"
