"""Lists of hot files whose rows the cold tables have: readers leave them out, and nobody sends them again."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lightning_lde.lake._layout import HotFile
from lightning_lde.lake.cold._erased import hash_of, read_erased
from lightning_lde.lake.cold._manifest import COLD, Absorbed, Manifest
from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id

if TYPE_CHECKING:
    import pyarrow as pa

LISTS = f"{COLD}absorbed/"


def list_absorbed(store: Store, files: Iterable[HotFile], at: datetime) -> Absorbed:
    """Write a list of files; it counts when a manifest names it.

    Args:
        store: Where the lake is.
        files: The files.
        at: Since when their rows are in the cold tables.
    """
    import pyarrow as pa

    ordered = sorted(files, key=lambda file: (file.writer, file.table, file.first, file.last))
    columns = {
        "writer": [file.writer for file in ordered],
        "table": [file.table for file in ordered],
        "first": [file.first for file in ordered],
        "last": [file.last for file in ordered],
        "path": [file.path for file in ordered],
    }
    return Absorbed(_write(store, pa.table(columns)), at, len(ordered), ordered[0].writer, ordered[-1].writer)


def one_list(store: Store, lists: Sequence[Absorbed]) -> Absorbed:
    """Several lists as one, in a file of its own; those who name the old ones find them until they are removed."""
    import pyarrow as pa

    rows = pa.concat_tables(_read(store, one.path) for one in lists)
    ordered = rows.sort_by([(name, "ascending") for name in ("writer", "table", "first", "last")])
    return Absorbed(
        path=_write(store, ordered),
        at=max(one.at for one in lists),
        files=rows.num_rows,
        first=min(one.first for one in lists),
        last=max(one.last for one in lists),
        is_deleted=all(one.is_deleted for one in lists),
    )


def listed(store: Store, absorbed: Absorbed) -> list[HotFile]:
    """The files of a list."""
    rows = _read(store, absorbed.path).select(["path", "table", "writer", "first", "last"])
    return [HotFile(*row) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]


def still_there(store: Store, manifest: Manifest) -> frozenset[str]:
    """Paths of files that may be in the hot tier still and do not count any more.

    Raises:
        FileNotFoundError: If a list is gone, as where the manifest is not the newest any more.
    """
    lists = [one for one in manifest.absorbed if not one.is_deleted]
    return frozenset(path for one in lists for path in _read(store, one.path).column("path").to_pylist())


class AbsorbedNumbers:
    """What the cold tables have of one writer.

    Args:
        store: Where the lake is.
        manifest: The newest.
        writer: The writer.

    Attributes:
        erased: Hashes of runs and writers that were erased.
    """

    def __init__(self, store: Store, manifest: Manifest, writer: str) -> None:
        self.erased = read_erased(store, manifest)
        self._writer = writer
        self._spans: dict[str, list[tuple[int, int]]] = {}
        # Ids tell when writers began: most lists are of older ones.
        for one in (each for each in manifest.absorbed if each.first <= writer <= each.last):
            rows = _read(store, one.path, writer)
            for table, first, last in zip(*(rows.column(name).to_pylist() for name in _SPAN), strict=True):
                self._spans.setdefault(table, []).append((first, last))

    def have(self, table: str, number: int) -> bool:
        """Whether they have the rows that the writer sent to a table with a number."""
        return any(first <= number <= last for first, last in self._spans.get(table, ()))

    def is_erased(self, run_id: str) -> bool:
        """Whether the writer's rows of a run are to be given up: one of the two was erased."""
        return bool(self.erased & {hash_of(run_id), hash_of(self._writer)})


_SPAN = ("table", "first", "last")


def write_list(store: Store, path: str, rows: pa.Table) -> None:
    """Write the rows of a list as a file of that path."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    # Of one writer's files the beginnings of names are the same, and the writers are in order.
    encodings = {"path": "DELTA_BYTE_ARRAY", "first": "DELTA_BINARY_PACKED", "last": "DELTA_BINARY_PACKED"}
    pq.write_table(
        rows, buffer, compression="zstd", use_dictionary=["writer", "table"], column_encoding=encodings,
        row_group_size=1 << 16, write_page_checksum=True,
    )  # fmt: skip
    store.put(path, buffer.getvalue())


def _write(store: Store, rows: pa.Table) -> str:
    path = f"{LISTS}{new_run_id()}.parquet"
    write_list(store, path, rows)
    return path


def _read(store: Store, path: str, writer: str | None = None) -> pa.Table:
    import pyarrow.parquet as pq

    filters = None if writer is None else [("writer", "=", writer)]
    return pq.read_table(io.BytesIO(store.get(path)), filters=filters)
