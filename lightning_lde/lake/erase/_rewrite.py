"""Writes the rows that stay into new cold files; what they replace does not count from the next manifest on."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from lightning_lde.lake import _layout
from lightning_lde.lake._layout import HotFile
from lightning_lde.lake.cold._files import write_files
from lightning_lde.lake.cold._manifest import ColdFile
from lightning_lde.lake.cold._rows import in_groups, sorted_rows
from lightning_lde.lake.erase._digest import Digest, digest_of_rows
from lightning_lde.lake.erase._files import Affected, Files, read_groups
from lightning_lde.lake.erase._objects import Ref, refs_of_rows
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.stores import Store

if TYPE_CHECKING:
    import pyarrow as pa

_File = TypeVar("_File", HotFile, ColdFile)


@dataclass
class Rewritten:
    """What was written, and what was left out.

    Attributes:
        tables: The files of the cold tables, of those that change.
        made: Paths of the new files.
        gone: Of each table the rows that were left out.
        refs: Objects that these rows named.
    """

    tables: dict[str, tuple[ColdFile, ...]] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    gone: dict[str, Digest] = field(default_factory=dict)
    refs: set[Ref] = field(default_factory=set)


def rewrite(store: Store, files: Files, found: Affected, target: Target) -> Rewritten:
    """Write new files for all that are affected.

    Args:
        store: Where the lake is.
        files: All files.
        found: Those that are affected.
        target: What is to be erased.
    """
    done = Rewritten()
    cold, hot = _by_table(found.cold), _by_table(found.hot)
    for table in sorted({*cold, *hot}):
        replaced = {one.path for one in cold.get(table, ())}
        kept = [one for one in files.manifest.tables.get(table, ()) if one.path not in replaced]
        for old in cold.get(table, ()):
            _count(done, table, read_groups(store, old), target)
            kept += _written(store, table, _rest(target, table, read_groups(store, old)), done)
        current = _layout.current_files(hot.get(table, ()))
        for file in current:
            _count(done, table, read_groups(store, file), target)
        if current:
            kept += _merged(store, table, current, target, done)
        done.tables[table] = tuple(sorted(kept, key=lambda one: (one.first or "", one.path)))
    return done


def _merged(store: Store, table: str, files: Iterable[HotFile], target: Target, done: Rewritten) -> list[ColdFile]:
    paths = [file.path for file in sorted(files, key=lambda file: (file.writer, file.path))]
    with tempfile.TemporaryDirectory(prefix="lde-") as scratch:
        return _written(store, table, _rest(target, table, sorted_rows(store, table, paths, scratch)), done)


def _written(store: Store, table: str, groups: Iterable[pa.Table], done: Rewritten) -> list[ColdFile]:
    made = []
    for file in write_files(store, table, in_groups(groups)):
        made.append(file)
        done.made.append(file.path)
    return made


def _rest(target: Target, table: str, groups: Iterable[pa.Table]) -> Iterator[pa.Table]:
    for group in groups:
        rest = target.kept(table, group)
        if rest.num_rows:
            yield rest


def _count(done: Rewritten, table: str, groups: Iterable[pa.Table], target: Target) -> None:
    for group in groups:
        gone = group.filter(target.goes(table, group))
        if gone.num_rows:
            done.gone[table] = done.gone.get(table, Digest()) + digest_of_rows(gone)
            done.refs |= refs_of_rows(table, gone)


def _by_table(files: Iterable[_File]) -> dict[str, list[_File]]:
    found = defaultdict(list)
    for file in files:
        found[file.table].append(file)
    return found
