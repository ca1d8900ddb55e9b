"""Writes the rows of one parcel into a lake, with the objects that they name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from lightning_lde.errors import RowsError
from lightning_lde.lake import AbsorbedNumbers, HotFile, LakeStorage, StoredObject
from lightning_lde.recording._blocks import blocks_to_tables
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._spool import Rows, SpoolHeader

if TYPE_CHECKING:
    import pyarrow as pa


def send_rows(
    storage: LakeStorage,
    header: SpoolHeader,
    portions: Iterable[Rows],
    refuse: Callable[[str], None],
    governance: Governance,
    absorbed: AbsorbedNumbers | None = None,
    keep: Callable[[StoredObject, bytes], None] = lambda *_: None,
) -> Iterator[tuple[HotFile, int]]:
    """Write the rows of one parcel, objects first and the state of the run last.

    Whoever sees a row sees what it names, and whoever sees a run finished sees everything else of it too. Rows of a
    table that can never be written are left out, and said.

    Args:
        storage: The lake.
        header: Where the rows belong.
        portions: The rows; they are gone through twice.
        refuse: Called with a sentence for each table whose rows cannot be written.
        governance: What all rows pass; it knows the policy of the lake.
        absorbed: What the cold tables have of the writer already; it is not written again. None for nothing.
        keep: Given each object that was stored, for who wants to look at them again when other rows name them.

    Yields:
        Each file that was made, and how many rows are in it.
    """
    import pyarrow as pa

    def append(
        table: str, rows: Callable[[], pa.Table | Iterable[pa.Table]], count: int
    ) -> Iterator[tuple[HotFile, int]]:
        if absorbed is not None and absorbed.have(table, header.number):
            return
        place = {
            "project": governance.without_secrets(header.project),
            "day": header.partition_day,
            "writer": header.writer,
        }
        try:
            yield storage.append(table, joined(rows), first=header.number, **place), count  # type: ignore[arg-type]
        except RowsError as error:
            # Trying again would not help, and would hold up all that comes after it.
            refuse(f"{error}; they were put aside"[:1000])

    def joined(rows: Callable[[], pa.Table | Iterable[pa.Table]]) -> pa.Table | Iterable[pa.Table]:
        try:
            return rows()
        except pa.ArrowInvalid as error:
            raise RowsError(f"rows of one table do not fit together: {error}") from error

    tables: dict[str, list[pa.Table]] = {}
    objects: list[tuple[StoredObject, bytes]] = []
    has_metrics = False
    for rows in portions:
        has_metrics = has_metrics or bool(rows.metrics)
        items = governance.apply(Rows(objects=rows.objects)).objects
        objects += [(storage.objects.put_bytes(item.data), item.data) for item in items]
        for table, part in rows.tables.items():
            try:
                governed = governance.table(table, part)
            except (KeyError, pa.ArrowException) as error:
                refuse(f"rows of {table} do not have the columns of that table: {error}; they were put aside"[:1000])
                continue
            if governed.num_rows:
                tables.setdefault(table, []).append(governed)
    if has_metrics:
        count = sum(block.values.size for rows in portions for block in rows.metrics)
        blocks = (block for rows in portions for block in governance.apply(Rows(metrics=rows.metrics)).metrics)
        yield from append("metrics", lambda: blocks_to_tables(header.run_id, blocks), count)
    for table in sorted(tables, key=lambda name: name == "runs"):
        count = sum(part.num_rows for part in tables[table])
        yield from append(table, functools.partial(pa.concat_tables, tables[table]), count)
    for content, data in objects:
        keep(content, data)
        # Others may be about to delete what no row named before.
        if storage.is_condemned_since(content):
            storage.put_object_bytes(data)


def kept_words(damage: str) -> str:
    """What is said of a damaged spool file."""
    return f"{damage}; what can be read of it was sent, and the file was put aside as *.refused"[:1000]
