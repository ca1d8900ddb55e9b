"""Goes through a lake, or a spool: every text of all tables, and all objects that can be read."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lightning_lde.audit._findings import Finding, Skipped, distinct
from lightning_lde.audit._objects import ARCHIVED, DAMAGED, Objects, opened
from lightning_lde.audit._texts import Texts
from lightning_lde.errors import ArchivedError, StoreError
from lightning_lde.lake import WHOLE, ColdFile, HotFile, LakeStorage
from lightning_lde.recording import Rows, blocks_to_tables, spooled

if TYPE_CHECKING:
    import pyarrow as pa

Tell = Callable[[int, int], None]
Skip = Callable[[Skipped], None]


def audit_lake(storage: LakeStorage, *, tell: Tell | None = None, skip: Skip | None = None) -> Iterator[Finding]:
    """Look through all tables and all objects that are text, a pickle, a checkpoint or a table.

    What the policy of the lake does not take is found too. A policy has no time: what is found may be older than it.

    Args:
        storage: The lake.
        tell: Called with how many files are done, and of how many.
        skip: Called with what could not be looked at.

    Yields:
        What was found, once per file and column.

    Raises:
        LakeNotFoundError: If there is no lake.
    """
    storage.require()
    snapshot = storage.snapshot()
    files: list[HotFile | ColdFile] = [file for table in sorted(snapshot.files) for file in snapshot.files[table]]
    files += [file for table in sorted(snapshot.cold) for file in snapshot.cold[table]]
    stored_objects = list(storage.store.list("objects/"))
    total, done = len(files) + len(stored_objects) + 1, 0
    texts = Texts(storage.policy())
    objects = Objects(texts, skip or _forget)
    names = _Partitions(texts)
    artifacts = _Artifacts()
    for file in files:
        if isinstance(file, HotFile):
            yield from names.new_findings(file)
        # Merged meanwhile; what was in it stands in a file that the next audit reads.
        with contextlib.suppress(FileNotFoundError):
            for rows in storage.read_groups(file):
                if file.table == "artifacts":
                    total += artifacts.note(rows)
                shown = names.shown(file) if isinstance(file, HotFile) else file.path
                yield from distinct(texts.in_rows(file.table, rows, shown))
        done += 1
        if tell:
            tell(done, total)
    for stored in stored_objects:
        owner = artifacts.owners.get(stored.path.rsplit("/", 1)[-1])
        with contextlib.suppress(FileNotFoundError), opened(storage.store, stored) as content:
            yield from distinct(objects.in_file(content, stored.size_bytes, owner, stored.path))
        done += 1
        if tell:
            tell(done, total)
    listed = {stored.path.rsplit("/", 1)[-1] for stored in stored_objects}
    for object_id, recipe in artifacts.apart(listed):
        place = f"{'objects' if recipe == WHOLE else 'chunks'}/{object_id}"
        try:
            with storage.open_object(object_id, recipe) as content:
                size_bytes = content.seek(0, io.SEEK_END)
                content.seek(0)
                yield from distinct(objects.in_file(content, size_bytes, artifacts.owners[object_id], place))
        except FileNotFoundError:
            # Erased, or deleted by the lake's tiers.
            pass
        except ArchivedError:
            (skip or _forget)(Skipped(place, ARCHIVED))
        except StoreError:
            (skip or _forget)(Skipped(place, DAMAGED))
        done += 1
        if tell:
            tell(done, total)
    marker = storage.store.get("lde.json").decode("utf-8", "replace")
    yield from distinct(texts.in_text(marker, "lde.json", None, "", "lde.json"))
    if tell:
        tell(total, total)


class _Artifacts:
    """Files of runs.

    Attributes:
        owners: Runs, by the ids of objects.
        recipes: The recipes of files that lie in chunks, by the ids of objects.
    """

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.recipes: dict[str, str] = {}

    def note(self, rows: pa.Table) -> int:
        """Take rows of the table; how many files in chunks were not known before."""
        before = len(self.recipes)
        columns = (rows.column(name).to_pylist() for name in ("object_id", "recipe", "run_id"))
        for object_id, recipe, run_id in zip(*columns, strict=True):
            self.owners[object_id] = run_id
            if recipe != WHOLE:
                self.recipes[object_id] = recipe
        return len(self.recipes) - before

    def apart(self, listed: Container[str]) -> list[tuple[str, str]]:
        """Ids and recipes of files that are in chunks, or not among the objects in the lake's own root."""
        whole = (one for one in self.owners if one not in self.recipes and one not in listed)
        return [*((one, WHOLE) for one in whole), *self.recipes.items()]


def audit_spool(root: Path, *, skip: Skip | None = None) -> Iterator[Finding]:
    """Look for secrets in what waits on this machine to be sent; it passes the policy of its lake when it is.

    Args:
        root: The folder of all spools.
        skip: Called with what could not be looked at.
    """
    texts = Texts()
    objects = Objects(texts, skip or _forget)
    for path, header, portion in spooled(root):
        for found in distinct(_in_portion(texts, objects, portion, header.run_id, str(path))):
            yield dataclasses.replace(found, run_id=found.run_id or header.run_id)


def _in_portion(texts: Texts, objects: Objects, portion: Rows, run_id: str, file: str) -> Iterator[Finding]:
    tables = list(portion.tables.items())
    tables += [("metrics", part) for part in blocks_to_tables(run_id, portion.metrics)]
    for table, part in tables:
        yield from texts.in_rows(table, part, file)
    for item in portion.objects:
        yield from objects.in_file(io.BytesIO(item.data), len(item.data), run_id, file)


class _Partitions:
    """The names of projects in the paths of files."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._found: dict[tuple[str, str], bool] = {}

    def new_findings(self, file: HotFile) -> Iterator[Finding]:
        """What stands in the name of a file's project, once for each table."""
        key = self._key(file)
        if key in self._found:
            return
        project = unquote(key[1].removeprefix("project="))
        self._found[key] = True
        found = list(self._texts.in_text(project, file.table, None, "project in the path", self.shown(file)))
        self._found[key] = bool(found)
        yield from distinct(iter(found))

    def shown(self, file: HotFile) -> str:
        """The path of a file, without the project where that should not be shown."""
        parts = file.path.split("/")
        return "/".join([*parts[:2], "project=…", *parts[3:]]) if self._found.get(self._key(file)) else file.path

    @staticmethod
    def _key(file: HotFile) -> tuple[str, str]:
        return file.table, file.path.split("/")[2]


def _forget(_: Skipped) -> None:
    """Nobody wants to know."""
