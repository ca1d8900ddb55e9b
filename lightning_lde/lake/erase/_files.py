"""Which files of the tables hold what is to be erased."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake._parquet import DICTIONARY_COLUMNS
from lightning_lde.lake.cold._absorbed import listed
from lightning_lde.lake.cold._erased import is_erased, read_erased
from lightning_lde.lake.cold._manifest import ColdFile, Manifest
from lightning_lde.lake.cold._rows import SORTED_BY
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.stores import Store

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS = 8


@dataclass(frozen=True)
class Files:
    """The files of the tables at one moment.

    Attributes:
        manifest: The newest.
        hot: Files of the hot tier, also those that others cover; not those that are in the cold tables.
        absorbed: Hot files that lie there still and do not count any more.
        buried: Hot files of writers that were erased before.
        sizes: Bytes by path, of the hot tier.
    """

    manifest: Manifest
    hot: Sequence[HotFile]
    absorbed: Sequence[str] = ()
    buried: Sequence[str] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def cold(self) -> list[ColdFile]:
        """The files of all cold tables."""
        return [one for files in self.manifest.tables.values() for one in files]

    def size_of(self, file: HotFile | ColdFile) -> int:
        """The size of one of them in bytes."""
        return file.size_bytes if isinstance(file, ColdFile) else self.sizes[file.path]

    @property
    def every(self) -> list[HotFile | ColdFile]:
        """All files of both tiers, also those that others cover."""
        return [*self.cold, *self.hot]

    @property
    def counting(self) -> list[HotFile | ColdFile]:
        """The files of both tiers in which each row stands once."""
        return [*self.cold, *_layout.current_files(self.hot)]

    def paths(self, table: str) -> list[str]:
        """The files that count, of one table."""
        current = _layout.current_files(one for one in self.hot if one.table == table)
        return [*(one.path for one in self.manifest.tables.get(table, ())), *(one.path for one in current)]


def list_files(store: Store, manifest: Manifest) -> Files:
    """The files that there are.

    Args:
        store: Where the lake is.
        manifest: The newest.

    Raises:
        StoreError: If there is a table that this version does not know.
    """
    gone = {file.path for one in manifest.absorbed if not one.is_deleted for file in listed(store, one)}
    is_buried = is_erased(read_erased(store, manifest))
    hot: list[HotFile] = []
    absorbed, buried, sizes = [], [], {}
    for stored in store.list(_layout.HOT):
        file = _layout.parse_hot_path(stored.path)
        if file is None:
            continue
        sizes[file.path] = stored.size_bytes
        if file.table not in SORTED_BY:
            raise StoreError(
                f"the lake at {store.url} has a table {file.table!r}, which this version does not know and so cannot "
                "erase from: upgrade lightning-lde"
            )
        if is_buried(file.writer):
            buried.append(file.path)
        elif file.path in gone:
            absorbed.append(file.path)
        else:
            hot.append(file)
    return Files(manifest, hot, absorbed, buried, sizes)


@dataclass(frozen=True)
class Hit:
    """What of one file is to be erased.

    Attributes:
        going: How many rows.
        changing: How many of the others have to be changed.
        of_runs: How many rows belong to runs that go.
        others: How many rows belong to runs that stay.
        is_named: Whether a dictionary has a word that is to go.
    """

    going: int = 0
    changing: int = 0
    of_runs: int = 0
    others: int = 0
    is_named: bool = False

    def __bool__(self) -> bool:
        return bool(self.going or self.changing or self.is_named)


Known = dict[tuple[str, int], Hit]
"""What was found, by path and size."""


def scan(store: Store, files: Files, target: Target, known: Known | None = None) -> dict[str, Hit]:
    """Look through all files of the tables.

    Args:
        store: Where they are.
        files: The files.
        target: What is to be erased.
        known: What was found for this target before; what is found now is added. A file of a name and a size does not
            change.

    Returns:
        By path what was found; a file that is gone has none.
    """
    seen: Known = {} if known is None else known
    keys = {file.path: (file.path, files.size_of(file)) for file in files.every}
    new = [file for file in files.every if keys[file.path] not in seen]
    with ThreadPoolExecutor(_THREADS) as pool:
        for file, hit in zip(new, pool.map(lambda file: _scanned(store, file, target), new), strict=True):
            if hit is not None:
                seen[keys[file.path]] = hit
    return {path: seen[key] for path, key in keys.items() if key in seen}


def _scanned(store: Store, file: HotFile | ColdFile, target: Target) -> Hit | None:
    import pyarrow.compute as pc

    going = changing = of_runs = others = words = 0
    try:
        for rows in read_groups(store, file, texts_only=True):
            goes = target.goes(file.table, rows)
            going += pc.sum(goes).as_py() or 0
            changing += pc.sum(pc.and_not(target.changes(file.table, rows), goes)).as_py() or 0
            words += target.is_among_words(rows)
            if "run_id" in rows.column_names:
                theirs = target.is_of_run(rows)
                of_runs += pc.sum(theirs).as_py() or 0
                others += pc.sum(pc.and_not(pc.is_valid(rows.column("run_id")), theirs)).as_py() or 0
    except FileNotFoundError:
        return None
    return Hit(going, changing, of_runs, others, is_named=words > 0)


def read_groups(store: Store, file: HotFile | ColdFile, *, texts_only: bool = False) -> Iterator[pa.Table]:
    """The row groups of a file; repeated words stay dictionary-encoded.

    Args:
        store: Where it is.
        file: The file.
        texts_only: Whether columns without texts may be left out.

    Raises:
        FileNotFoundError: If it is gone.
        StoreError: If it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = store.local_path(file.path)
    source: Any = pa.BufferReader(store.get(file.path)) if place is None else place
    try:
        with pq.ParquetFile(source, read_dictionary=list(DICTIONARY_COLUMNS.get(file.table, ()))) as parquet:
            columns = _texts(parquet.schema_arrow) if texts_only else None
            for number in range(parquet.num_row_groups):
                yield parquet.read_row_group(number, columns=columns, use_threads=False)
    except pa.ArrowException as error:
        raise StoreError(f"{file.path} at {store.url} is damaged: {error}; `lde check` says more") from error


def _texts(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    return [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_dictionary(one.type)]


@dataclass(frozen=True)
class Affected:
    """Files that are to be written anew without what is erased.

    Attributes:
        cold: Files of the cold tables.
        hot: Files of the hot tier, also those that they cover.
        writers: Writers of the hot tier that wrote for erased runs only; nothing of theirs counts any more.
        others: Other writers, whose files change.
    """

    cold: Sequence[ColdFile] = ()
    hot: Sequence[HotFile] = ()
    writers: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.cold or self.hot)


def affected(files: Files, hits: Mapping[str, Hit], target: Target) -> Affected:
    """The files to write anew, by what was found in them.

    Args:
        files: All files.
        hits: What was found.
        target: What is to be erased.
    """
    cold = [one for one in files.cold if hits.get(one.path)]
    of_writer: dict[str, list[HotFile]] = defaultdict(list)
    for one in files.hot:
        of_writer[one.writer].append(one)
    erased, others, taken = set(), set(), []
    pattern = target.needles.pattern("path")
    for writer, its in of_writer.items():
        found = {one.path: hits.get(one.path, Hit()) for one in its}
        # A project's name stands in the path, and would stay there although no row has it any more.
        named = {one.table for one in its if pattern and re.search(pattern, one.path)}
        touched = named | {one.table for one in its if found[one.path]}
        is_of_erased = any(hit.of_runs for hit in found.values()) and not any(hit.others for hit in found.values())
        if writer in target.runs or is_of_erased:
            erased.add(writer)
            taken += its
        elif touched:
            others.add(writer)
            taken += [one for one in its if one.table in touched]
    return Affected(cold, taken, frozenset(erased), frozenset(others))
