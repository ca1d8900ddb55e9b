"""What the rows of a lake refer to: the files below ``objects/`` and ``chunks/`` that have to stay."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake.objects._get import read_recipe
from lightning_lde.lake.objects._places import Places, chunk_path
from lightning_lde.lake.objects._recipe import WHOLE
from lightning_lde.schema import Tier

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.lake._snapshot import Snapshot
    from lightning_lde.lake._storage import LakeStorage

_ARTIFACTS = "artifacts"
_COLUMNS = {
    _ARTIFACTS: ("run_id", "path", "object_id", "recipe"),
    "code": ("snapshot_object",),
    "datasets": ("manifest_object",),
}
"""The columns that name objects, by table; of other tables every text may."""

_NAMELESS = frozenset(
    {"dataset_configs", "embeddings", "environments", "episodes", "links", "metrics", "params"}
    | {"pipeline_configs", "pipelines", "placements", "results", "resumes"}
)
"""Tables that name none, or none that another one does not name."""

_NAME = re.compile(r"\b[0-9a-f]{64}(?:-[1-9][0-9]*)?\b")
_GENERATION = re.compile(r"-[0-9]+$")
_ATTEMPTS = 5
_THREADS = 8


@dataclass(frozen=True)
class Holding:
    """A row that a file of a run belongs to.

    Attributes:
        run_id: The run.
        path: The path under which the run keeps the file.
        object_id: The SHA-256 of its content.
        recipe: The name of its recipe, or `WHOLE`.
        paths: The files of the lake that it consists of; of a recipe that is gone only its own.
    """

    run_id: str
    path: str
    object_id: str
    recipe: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class References:
    """What rows refer to.

    Attributes:
        holdings: The files of runs.
        others: The paths of other objects: snapshots of code, manifests of data, random states.
        deleted: Files of runs that the lake's tiers had deleted: their rows are there, their bytes may go.
    """

    holdings: tuple[Holding, ...]
    others: frozenset[str]
    deleted: tuple[Holding, ...] = ()

    @property
    def paths(self) -> set[str]:
        """Every path that is referred to. An object that was stored again (``-1``) goes by its first path."""
        return {path for holding in self.holdings for path in holding.paths} | self.others


def first_path(path: str) -> str:
    """The path by which rows refer to a file: an object that was stored again has the same id."""
    return _GENERATION.sub("", path) if path.startswith(_layout.OBJECTS) else path


def references(storage: LakeStorage) -> References:
    """What the rows of a lake refer to at this moment: of all tables and all states, hot and cold.

    Args:
        storage: The lake.

    Raises:
        StoreError: If a file of rows or a recipe is damaged or cannot be read: nobody knows then what it refers to.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _read(storage, storage.snapshot())
        except _MovedError:
            # Rows went into other files meanwhile.
            continue
    raise StoreError(f"files of the lake at {storage.url} move faster than they can be read; try again later")


class _MovedError(Exception):
    """A file of the snapshot is gone."""


def _read(storage: LakeStorage, snapshot: Snapshot) -> References:
    rows: set[tuple[str, str, str, str]] = set()
    others: set[str] = set()
    for table in sorted({*snapshot.files, *snapshot.cold} - _NAMELESS):
        columns = _COLUMNS.get(table)
        for part in _tables(storage, snapshot.paths(table), columns):
            if table == _ARTIFACTS:
                rows.update(_artifact_rows(part))
            else:
                others.update(_names(part))
    paths = {name: _layout.object_path(name) for name in others if "-" not in name}
    # What a table of a newer version names may be either.
    chunks = {chunk_path(name) for name in others}
    gone = _deleted(storage, snapshot)
    holdings = _holdings(storage.objects.places, sorted(rows))
    kept = tuple(one for one in holdings if (one.run_id, one.path, one.object_id) not in gone)
    deleted = tuple(one for one in holdings if (one.run_id, one.path, one.object_id) in gone)
    return References(kept, frozenset({*paths.values(), *chunks}), deleted)


def _deleted(storage: LakeStorage, snapshot: Snapshot) -> set[tuple[str, str, str]]:
    """Run, path and object of files that the tiers had deleted, and that were not stored again."""
    newest: dict[tuple[str, str, str], tuple[datetime, str]] = {}
    for key, at, tier in _dated(storage, snapshot.paths("placements"), "tier"):
        newest[key] = max((at, tier), newest.get(key, (at, tier)))
    gone = {key: at for key, (at, tier) in newest.items() if tier == Tier.DELETED}
    if gone:
        for key, at, _ in _dated(storage, snapshot.paths(_ARTIFACTS), "path"):
            if key in gone and at > gone[key]:
                del gone[key]
    return set(gone)


def _dated(
    storage: LakeStorage, paths: Iterable[str], column: str
) -> Iterator[tuple[tuple[str, str, str], datetime, str]]:
    """Of rows about files which file, when, and one more column."""
    names = ("run_id", "path", "object_id", "recorded_at", column)
    for part in _tables(storage, paths, names):
        columns = [part.column(name).to_pylist() for name in names]
        for run_id, path, object_id, at, value in zip(*columns, strict=True):
            yield (run_id, path, object_id), at, value


def _tables(storage: LakeStorage, paths: Iterable[str], columns: Sequence[str] | None) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    for path in paths:
        try:
            content = storage.store.get(path)
        except FileNotFoundError as error:
            raise _MovedError from error
        with pq.ParquetFile(io.BytesIO(content)) as file:
            names = file.schema_arrow.names
            yield file.read([name for name in names if columns is None or name in columns], use_threads=False)


def _artifact_rows(part: pa.Table) -> set[tuple[str, str, str, str]]:
    columns = [part.column(name).to_pylist() for name in ("run_id", "path", "object_id")]
    recipes = part.column("recipe").to_pylist() if "recipe" in part.column_names else [None] * len(part)
    return {(*row, recipe or WHOLE) for *row, recipe in zip(*columns, recipes, strict=True)}


def _names(part: pa.Table) -> Iterator[str]:
    """Whatever has the form of an object's name, in any column."""
    import pyarrow as pa

    for column in part.itercolumns():
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for text in column.unique().to_pylist():
                yield from _NAME.findall(text or "")


def _holdings(places: Places, rows: Sequence[tuple[str, str, str, str]]) -> tuple[Holding, ...]:
    recipes = {recipe for *_, recipe in rows} - {WHOLE}
    with ThreadPoolExecutor(_THREADS) as pool:
        resolved = dict(zip(recipes, pool.map(lambda name: paths_of_recipe(places, name), recipes), strict=True))
    return tuple(
        Holding(
            run_id,
            path,
            object_id,
            recipe,
            (_layout.object_path(object_id),) if recipe == WHOLE else resolved[recipe],
        )
        for run_id, path, object_id, recipe in rows
    )


def paths_of_recipe(places: Places, name: str) -> tuple[str, ...]:
    """The files that a recipe needs, its own first; of a recipe that is gone that one alone.

    Args:
        places: Where they lie.
        name: The recipe's name.

    Raises:
        StoreError: If the recipe is damaged.
    """
    try:
        recipe = read_recipe(places, name)
    except FileNotFoundError:
        # Without it nobody can put the file together.
        return (chunk_path(name),)
    return tuple(chunk_path(one) for one in (name, *recipe.names))
