"""What lies in a lake at one moment, by listings: hot files, manifests and what they name, cold files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake.cold._erased import Erased, is_erased, read_erased
from lightning_lde.lake.cold._manifest import (
    COLD,
    Absorbed,
    ColdFile,
    Manifest,
    parse_manifest_path,
    read_manifest,
)
from lightning_lde.lake.stores import Store, StoredFile

if TYPE_CHECKING:
    import pyarrow as pa

_ATTEMPTS = 10
_THREADS = 16


class ListError(Exception):
    """A list of absorbed files that cannot be read."""


@dataclass(frozen=True)
class Contents:
    """What lies there.

    Attributes:
        hot: All files of the hot tier, by path.
        foreign: Files below ``hot/`` that have no name of a hot file.
        current: The hot files that count.
        covered: Hot files that others cover, each with one that does.
        absorbed_again: Hot files that are there although their rows are in the cold tables and they were deleted.
        manifests: Those that can be read, by number.
        damaged: Those that cannot, with the reason.
        cold: All files below ``cold/``, by path.
        lists: The lists that the newest manifest names, by path; what is wrong with one that cannot be read.
        erased: Hashes of what was erased; what is wrong with their file where it cannot be read.
    """

    hot: Mapping[str, StoredFile]
    foreign: tuple[str, ...]
    current: tuple[HotFile, ...]
    covered: Mapping[HotFile, HotFile]
    absorbed_again: tuple[HotFile, ...]
    manifests: Mapping[int, Manifest]
    damaged: Mapping[int, str]
    cold: Mapping[str, StoredFile]
    lists: Mapping[str, pa.Table | ListError] = field(default_factory=dict)
    erased: Erased | ListError = frozenset()

    @property
    def manifest(self) -> Manifest:
        """The newest that can be read; number zero where there is none."""
        return self.manifests[max(self.manifests)] if self.manifests else Manifest()

    @property
    def newest_number(self) -> int:
        """The number of the newest, whether it can be read or not."""
        return max([0, *self.manifests, *self.damaged])

    def is_erased(self, name: str) -> bool:
        """Whether a run, a writer or another thing of that id was erased."""
        return not isinstance(self.erased, ListError) and is_erased(self.erased)(name)

    @property
    def cold_files(self) -> Iterator[ColdFile]:
        """The files of the cold tables that count."""
        for files in self.manifest.tables.values():
            yield from files


class Looker:
    """Looks at what lies in a lake, again and again; lists do not change and are read once.

    Args:
        store: Where the lake is.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lists: dict[str, pa.Table | ListError] = {}
        self._erased: dict[str | None, Erased] = {}

    def look(self) -> Contents:
        """What lies there now.

        Hot files are listed first, then the manifests are read and at last the cold files are listed, as rows go from
        hot files into cold ones and those are there before a manifest names them.

        Raises:
            StoreError: If the storage fails, or changes at each attempt.
        """
        for _ in range(_ATTEMPTS):
            hot = {stored.path: stored for stored in self._store.list(_layout.HOT)}
            manifests, damaged = self._manifests()
            newest = manifests[max(manifests)] if manifests else Manifest()
            lists = self._read_lists(newest)
            erased = self._read_erased(newest)
            cold = {stored.path: stored for stored in self._store.list(COLD)}
            latest = max((number for path in cold if (number := parse_manifest_path(path)) is not None), default=0)
            # A compaction was at work in between: what was read is of two different moments.
            if latest == max([0, *manifests, *damaged]):
                return _contents(hot, manifests, damaged, lists, erased, cold)
        raise StoreError(f"the lake at {self._store.url} was compacted during each attempt to look at it: try again")

    def _manifests(self) -> tuple[dict[int, Manifest], dict[int, str]]:
        paths = [stored.path for stored in self._store.list(f"{COLD}manifests/")]
        numbers = [number for path in paths if (number := parse_manifest_path(path)) is not None]
        good: dict[int, Manifest] = {}
        damaged: dict[int, str] = {}

        def read(number: int) -> None:
            try:
                good[number] = read_manifest(self._store, number)
            except FileNotFoundError:
                # Newer ones came, and it was removed.
                return
            except StoreError as error:
                damaged[number] = _reason(error)

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(read, numbers))
        return good, damaged

    def _read_lists(self, manifest: Manifest) -> dict[str, pa.Table | ListError]:
        new = [one for one in manifest.absorbed if isinstance(self._lists.get(one.path, ListError()), ListError)]
        with ThreadPoolExecutor(_THREADS) as pool:
            self._lists |= dict(zip((one.path for one in new), pool.map(self._list, new), strict=True))
        return {one.path: self._lists[one.path] for one in manifest.absorbed}

    def _read_erased(self, manifest: Manifest) -> Erased | ListError:
        import pyarrow as pa

        if manifest.erased not in self._erased:
            try:
                self._erased[manifest.erased] = read_erased(self._store, manifest)
            except FileNotFoundError:
                return ListError("it is not there")
            except (pa.ArrowException, KeyError) as error:
                return ListError(f"it cannot be read: {one_line(error)}")
        return self._erased[manifest.erased]

    def _list(self, one: Absorbed) -> pa.Table | ListError:
        try:
            return read_list(self._store, one.path)
        except FileNotFoundError:
            return ListError("it is not there")
        except ListError as error:
            return error


def read_list(store: Store, path: str) -> pa.Table:
    """A list of absorbed files.

    Raises:
        FileNotFoundError: If it is not there.
        ListError: If it cannot be understood.
        StoreError: If the storage fails.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = store.get(path)
    try:
        file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        return file.read(columns=["writer", "table", "first", "last", "path"], use_threads=False).select(
            ["writer", "table", "first", "last", "path"]
        )
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ListError(f"it cannot be read: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """What an error says, in one line of some length."""
    words = " ".join(str(error).split())
    return words if len(words) <= 200 else f"{words[:199]}…"


def _reason(error: StoreError) -> str:
    """Why a manifest cannot be read; a storage that fails is no damage.

    Raises:
        StoreError: If the storage failed.
    """
    if not isinstance(error.__cause__, (ValueError, KeyError, TypeError, AttributeError)):
        raise error
    return one_line(error.__cause__)


def _contents(
    hot: dict[str, StoredFile],
    manifests: dict[int, Manifest],
    damaged: dict[int, str],
    lists: dict[str, pa.Table | ListError],
    erased: Erased | ListError,
    cold: dict[str, StoredFile],
) -> Contents:
    newest = manifests[max(manifests)] if manifests else Manifest()
    parsed = {path: _layout.parse_hot_path(path) for path in hot}
    files = [file for file in parsed.values() if file is not None]
    waiting, deleted = _absorbed_paths(newest, lists, hot)
    is_gone = is_erased(frozenset() if isinstance(erased, ListError) else erased)
    counted = [file for file in files if file.path not in waiting and not is_gone(file.writer)]
    current = _layout.current_files(counted)
    kept = {file.path for file in current}
    return Contents(
        hot=hot,
        foreign=tuple(path for path, file in parsed.items() if file is None),
        current=tuple(current),
        covered=_covers([file for file in counted if file.path not in kept], current),
        absorbed_again=tuple(file for file in current if file.path in deleted),
        manifests=manifests,
        damaged=damaged,
        cold=cold,
        lists=lists,
        erased=erased,
    )


def _absorbed_paths(
    manifest: Manifest, lists: Mapping[str, pa.Table | ListError], hot: Mapping[str, StoredFile]
) -> tuple[set[str], set[str]]:
    """Hot files that are there and in a list: those that wait to be deleted, and those that were deleted before."""
    waiting: set[str] = set()
    deleted: set[str] = set()
    for one in manifest.absorbed:
        rows = lists[one.path]
        if not isinstance(rows, ListError):
            there = (path for path in rows.column("path").to_pylist() if path in hot)
            (deleted if one.is_deleted else waiting).update(there)
    return waiting, deleted - waiting


def _covers(covered: list[HotFile], current: list[HotFile]) -> dict[HotFile, HotFile]:
    by_writer: dict[tuple[str, str], list[HotFile]] = {}
    for file in current:
        by_writer.setdefault((file.table, file.writer), []).append(file)
    return {file: next(one for one in by_writer[file.table, file.writer] if one.covers(file)) for file in covered}
