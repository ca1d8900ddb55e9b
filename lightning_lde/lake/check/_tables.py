"""Looks into all files of the tables, and again where files went elsewhere meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from lightning_lde.errors import StoreError
from lightning_lde.lake.check._contents import Contents, Looker, one_line
from lightning_lde.lake.check._findings import Kind
from lightning_lde.lake.check._parquet_file import Looked, Problem, fragment_of, look_into
from lightning_lde.lake.check._rows import ASKED, DISTINCT, FileFacts, facts_of
from lightning_lde.lake.cold._manifest import ColdFile
from lightning_lde.lake.stores import Store

if TYPE_CHECKING:
    import pyarrow.dataset as ds

Tell = Callable[[str, int, int], None]
"""Is told what is looked at, how many are done, and of how many."""

_ROUNDS = 10
_THREADS = 16
_LARGE = 8 << 20
_MOST_IN_MEMORY = 2
"""Large files that are held at once; each has up to some 130 MB."""


class TableFile(NamedTuple):
    """A file that counts.

    Attributes:
        path: Where it lies.
        table: Its table.
        size_bytes: Its size, as the listing shows it.
        cold: What the manifest says of it, None of a hot file.
    """

    path: str
    table: str
    size_bytes: int
    cold: ColdFile | None = None


class Tables:
    """What is known of the files of all tables.

    Args:
        store: Where the lake is.
        deep: Whether all pages are decoded.
        tell: Told how far it is.
    """

    def __init__(self, store: Store, *, deep: bool, tell: Tell) -> None:
        self._store = store
        self._deep = deep
        self._tell = tell
        self._looker = Looker(store)
        self._facts: dict[str, FileFacts] = {}
        self._in_memory = threading.Semaphore(_MOST_IN_MEMORY)
        self.contents = self._looker.look()

    def look(self) -> None:
        """Look into what was not looked into yet, until nothing has gone elsewhere meanwhile.

        Raises:
            StoreError: If files go faster than they can be looked at.
        """
        for _ in range(_ROUNDS):
            new = [file for file in files_of(self.contents) if file.path not in self._facts]
            if self._look_into(new):
                return
            self.contents = self._looker.look()
        raise StoreError(f"files of the lake at {self._store.url} went while they were looked at, again and again")

    def look_again(self) -> None:
        """See what has come and gone since."""
        self.contents = self._looker.look()
        self.look()

    def facts(self) -> Iterator[tuple[str, FileFacts]]:
        """What is known of the files that count."""
        for file in files_of(self.contents):
            if file.path in self._facts:
                yield file.path, self._facts[file.path]

    def _look_into(self, files: list[TableFile]) -> bool:
        """Whether all of them were still there."""
        is_whole = True
        with ThreadPoolExecutor(_THREADS) as pool:
            for number, (file, facts) in enumerate(zip(files, pool.map(self._file, files), strict=True)):
                self._tell("files", number + 1, len(files))
                if facts is None:
                    is_whole = False
                else:
                    self._facts[file.path] = facts
        return is_whole

    def _file(self, file: TableFile) -> FileFacts | None:
        """What a file holds, None where it is gone."""
        is_large = file.size_bytes > _LARGE
        try:
            if is_large and not self._deep:
                return facts_of(file.table, self._at_a_glance(file), file.size_bytes)
            with self._in_memory if is_large else contextlib.nullcontext():
                content = self._store.get(file.path)
                looked = look_at_all(content, file.table) if self._deep else at_a_glance(content, file.table)
        except FileNotFoundError:
            return None
        if file.cold is not None:
            if self._deep and file.cold.sha256 not in {None, hashlib.sha256(content).hexdigest()}:
                looked.problems.append(Problem(Kind.HASH, "its content has not the hash that the manifest says"))
            looked.problems += against_manifest(file.cold, looked)
        return facts_of(file.table, looked, file.size_bytes)

    def _at_a_glance(self, file: TableFile) -> Looked:
        """A look at what is needed of a large file."""
        filesystem, root = self._store.arrow_filesystem()
        with filesystem.open_input_file(f"{root}/{file.path}") as source:
            looked = looked_into(fragment_of(source), file.table)
        if looked.problems:
            # The storage may have failed, which a store says as it is.
            looked = at_a_glance(self._store.get(file.path), file.table)
        if file.cold is not None:
            looked.problems += against_manifest(file.cold, looked)
        return looked


def at_a_glance(content: bytes, table: str) -> Looked:
    """Look at what is needed of a file: its footer, and the columns that are asked for.

    Args:
        content: The file.
        table: Its table.
    """
    return looked_into(fragment_of(content), table)


def look_at_all(content: bytes, table: str) -> Looked:
    """Look at all pages of a file.

    Args:
        content: The file.
        table: Its table.
    """
    return looked_into(fragment_of(content), table, content)


def against_manifest(said: ColdFile, looked: Looked) -> Iterator[Problem]:
    """What a cold file holds that the manifest says otherwise.

    Args:
        said: What the manifest says.
        looked: What a look brought.
    """
    if any(problem.kind == Kind.UNREADABLE for problem in looked.problems):
        return
    if looked.rows != said.rows:
        yield Problem(Kind.ROWS, f"it has {looked.rows} rows, the manifest says {said.rows}")
    if not looked.is_sorted:
        yield Problem(Kind.ORDER, "its rows are not in the order of the table")
    if looked.bounds is not None and looked.bounds != (said.first, said.last):
        yield Problem(
            Kind.BOUNDS, f"it holds {' to '.join(looked.bounds)}, the manifest says {said.first} to {said.last}"
        )


def looked_into(fragment: ds.ParquetFileFragment, table: str, content: bytes | None = None) -> Looked:
    """What a look brings; where it breaks off that is its problem.

    Args:
        fragment: The file.
        table: Its table.
        content: All of the file, where all pages are to be decoded.

    Raises:
        FileNotFoundError: If it is gone.
    """
    import pyarrow as pa

    asked, distinct = ASKED.get(table, ()), DISTINCT.get(table, ())
    try:
        return look_into(fragment, table, asked, distinct=distinct, content=content)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, ValueError, MemoryError, OverflowError) as error:
        return Looked(problems=[Problem(Kind.UNREADABLE, f"it cannot be read: {one_line(error)}")])


def files_of(contents: Contents) -> Iterable[TableFile]:
    """The files of all tables that count; cold ones that are not there are left out."""
    again = {file.path for file in contents.absorbed_again}
    for file in contents.current:
        if file.path not in again:
            yield TableFile(file.path, file.table, contents.hot[file.path].size_bytes)
    for cold in contents.cold_files:
        if cold.path in contents.cold:
            yield TableFile(cold.path, cold.table, contents.cold[cold.path].size_bytes, cold)
