"""What was erased: hashes of the ids of runs and writers, and nothing else of them, so that nobody brings rows back.

The newest manifest names the file with the hashes. Readers leave the files of erased writers out, writers and senders
give up what they have of an erased run, and compaction removes what came all the same.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from lightning_lde.lake._parquet import with_own_words
from lightning_lde.lake.cold._manifest import COLD, Manifest
from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id

if TYPE_CHECKING:
    import pyarrow as pa

TOMBSTONES = f"{COLD}erased/"

Erased = frozenset[str]
"""Hashes as `hash_of` makes them."""


@functools.lru_cache(maxsize=1 << 16)
def hash_of(name: str) -> str:
    """The SHA-256 of an id. Ids of runs and writers have 74 bits of chance, so nobody finds one by trying.

    Args:
        name: The id of a run or a writer.
    """
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def read_erased(store: Store, manifest: Manifest) -> Erased:
    """The hashes that a manifest knows.

    Raises:
        FileNotFoundError: If the file is gone, as where the manifest is not the newest any more.
    """
    if manifest.erased is None:
        return frozenset()
    import pyarrow.parquet as pq

    return frozenset(pq.read_table(io.BytesIO(store.get(manifest.erased))).column("sha256").to_pylist())


def write_erased(store: Store, hashes: Iterable[str]) -> str:
    """Write hashes to a file of their own; they count when a manifest names it.

    Returns:
        The file's path.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    column = pa.array(sorted(set(hashes)), pa.string())
    pq.write_table(pa.table({"sha256": column}), buffer, compression="zstd", write_page_checksum=True)
    path = f"{TOMBSTONES}{new_run_id()}.parquet"
    store.put(path, buffer.getvalue())
    return path


def is_erased(erased: Erased) -> Callable[[str], bool]:
    """Whether an id is one of those; costs nothing where there are none."""
    if not erased:
        return lambda _: False
    return lambda name: hash_of(name) in erased


def without_erased(groups: Iterable[pa.Table], erased: Erased) -> Iterator[pa.Table]:
    """Rows without those of erased runs, which a process that nobody knew of may have sent.

    Args:
        groups: Rows of one table.
        erased: What was erased.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for group in groups:
        if not erased or "run_id" not in group.column_names:
            yield group
            continue
        runs = group.column("run_id")
        gone = [run for run in pc.unique(runs.cast(pa.string())).to_pylist() if run and hash_of(run) in erased]
        if not gone:
            yield group
            continue
        kept = group.filter(pc.invert(pc.is_in(runs.cast(pa.string()), pa.array(gone, pa.string()))))
        if kept.num_rows:
            yield with_own_words(kept)
