"""What one step of a compaction writes, cut into shares that two threads work through."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from lightning_lde.lake.cold._erased import Erased, without_erased
from lightning_lde.lake.cold._files import LARGEST_FILE, write_files
from lightning_lde.lake.cold._manifest import ColdFile
from lightning_lde.lake.cold._rows import sorted_rows
from lightning_lde.lake.stores import Store

WORTH_A_THREAD = 16 << 20
"""Bytes of a share that is large enough for a thread, and a file, of its own."""

_WORKERS = 2
_CUT = ("metrics",)


@dataclass(frozen=True, order=True)
class Source:
    """A file whose rows are to be written.

    Attributes:
        first: The least value of the column that comes first in the table's order, as far as it is known.
        path: Where it is, relative to the lake's root.
        size_bytes: Bytes of the file.
    """

    first: str
    path: str
    size_bytes: int


@dataclass(frozen=True)
class Share:
    """Files of one table that are read together, in the order of what is in them."""

    table: str
    sources: tuple[Source, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(source.size_bytes for source in self.sources)


def shares_of(table: str, sources: Iterable[Source]) -> list[Share]:
    """A table's files in one share, or in some of much the same size if there is much to write.

    Only points are cut: other tables are sorted as a whole, or what repeats in them would not be found.

    Args:
        table: The table's name.
        sources: At least one file.
    """
    files = tuple(sorted(sources))
    whole = Share(table, files)
    if table not in _CUT or whole.size_bytes < _WORKERS * WORTH_A_THREAD:
        return [whole]
    # As many for each thread.
    n = _WORKERS * math.ceil(whole.size_bytes / (_WORKERS * LARGEST_FILE))
    shares: list[list[Source]] = [[] for _ in range(n)]
    so_far = 0
    for file in files:
        shares[min(n - 1, so_far * n // whole.size_bytes)].append(file)
        so_far += file.size_bytes
    return [Share(table, tuple(share)) for share in shares if share]


def write_shares(store: Store, shares: Sequence[Share], erased: Erased, made: Callable[[ColdFile], None]) -> None:
    """Write cold files; nobody reads them before a manifest names them.

    Args:
        store: Where to.
        shares: What to read.
        erased: What must not come back.
        made: Called with each file that was written, also if a later one fails.
    """

    def write(share: Share) -> None:
        paths = [source.path for source in share.sources]
        with tempfile.TemporaryDirectory(prefix="lde-") as scratch:
            rows = without_erased(sorted_rows(store, share.table, paths, scratch), erased)
            for file in write_files(store, share.table, rows):
                made(file)

    if sum(share.size_bytes for share in shares) < WORTH_A_THREAD:
        for share in shares:
            write(share)
        return
    largest_first = sorted(shares, key=lambda share: share.size_bytes, reverse=True)
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            for done in as_completed([pool.submit(write, share) for share in largest_first]):
                done.result()
        except BaseException:
            # Nothing of it will count: what has not begun need not.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
