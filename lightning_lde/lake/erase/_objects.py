"""Objects of what is erased: those that nothing else refers to are deleted at once, beside writers at work."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from lightning_lde.lake import _layout
from lightning_lde.lake.erase._digest import Digest, digest_of_names
from lightning_lde.lake.erase._files import Files, read_groups
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.objects import CHUNKS, WHOLE, delete_unreferenced, first_path, is_in_use, look
from lightning_lde.lake.objects._references import paths_of_recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.lake._storage import LakeStorage

_NAME = re.compile(r"\b[0-9a-f]{64}(?:-[1-9][0-9]*)?\b")
_FILES_OF_RUNS = frozenset({"artifacts", "placements"})
_MAY_NAME = _FILES_OF_RUNS | {"runs", "datasets", "code", "events"}


class Ref(NamedTuple):
    """An object as a row names it.

    Attributes:
        object_id: Its id.
        recipe: The name of its recipe, or ``whole``.
    """

    object_id: str
    recipe: str


def refs_of_rows(table: str, rows: pa.Table) -> set[Ref]:
    """The objects that some rows name.

    Args:
        table: The table's name.
        rows: Its rows.
    """
    if table in _FILES_OF_RUNS:
        recipes = rows.column("recipe").to_pylist() if "recipe" in rows.column_names else [None] * len(rows)
        pairs = zip(rows.column("object_id").to_pylist(), recipes, strict=True)
        return {Ref(object_id, recipe or WHOLE) for object_id, recipe in pairs if object_id}
    if table not in _MAY_NAME:
        return set()
    return {Ref(name, WHOLE) for row in rows.to_pylist() for name in _names(row.values())}


def _names(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield from _NAME.findall(value)


def paths_of(storage: LakeStorage, refs: Iterable[Ref]) -> set[str]:
    """The files that objects consist of, without those that were stored again under another name.

    Args:
        storage: The lake.
        refs: The objects.
    """
    found: set[str] = set()
    for object_id, recipe in refs:
        if recipe == WHOLE:
            found.add(_layout.object_path(object_id))
        else:
            found.update(paths_of_recipe(storage.objects.places, recipe))
    return found


def remove(storage: LakeStorage, paths: Iterable[str]) -> tuple[Digest, int]:
    """Delete files of objects that no row refers to any more.

    Writers that are about to refer to one of them see the list of what is condemned, and store it again.

    Args:
        storage: The lake.
        paths: Files that erased rows referred to.

    Returns:
        How many files were deleted, with a hash of their names, and their bytes.
    """
    candidates = set(paths) - storage.references().paths
    places = storage.objects.places
    # What was stored again has to stand on the list too: otherwise a writer may rely on it.
    every = {one for path in candidates for one in (path, *_again(storage, path))}
    sizes = {path: sum(copies) for path in every if (copies := places.copies(path))}
    deleted = delete_unreferenced(storage, sizes) if sizes else set()
    names = (path.rpartition("/")[2] for path in sorted(deleted))
    return digest_of_names(names), sum(sizes[path] for path in deleted)


def would_go(storage: LakeStorage, files: Files, target: Target, also: Iterable[str] = ()) -> tuple[int, int]:
    """How many files of objects nothing would refer to any more, and their bytes.

    Args:
        storage: The lake.
        files: Its files of rows.
        target: What is to be erased.
        also: Files that are to go besides.
    """
    import pyarrow.compute as pc

    going: set[Ref] = set()
    staying: set[Ref] = set()
    for file in (one for one in files.counting if one.table in _MAY_NAME):
        for rows in read_groups(storage.store, file, texts_only=True):
            goes = target.goes(file.table, rows)
            going |= refs_of_rows(file.table, rows.filter(goes))
            staying |= refs_of_rows(file.table, rows.filter(pc.invert(goes)))
    paths = paths_of(storage, going) | set(also)
    paths -= paths_of(storage, {ref for ref in staying if ref.object_id not in target.objects})
    sizes = [sum(copies) for path in paths if (copies := storage.objects.places.copies(path))]
    return len(sizes), sum(sizes)


def _again(storage: LakeStorage, path: str) -> list[str]:
    """The same object, stored again under the names of later generations."""
    is_object = path.startswith(_layout.OBJECTS)
    return storage.objects.places.all_generations(path.rpartition("/")[2]) if is_object else []


def forget_condemned(storage: LakeStorage, paths: Iterable[str]) -> int:
    """Delete the lists of what is condemned that name one of some files: their collector begins anew.

    A list by which somebody may be deleting stays for a day, for writers know by it what not to rely on, unless all of
    it is about these files: then it was made by this erasure, before it died.

    Args:
        storage: The lake.
        paths: Files that are gone.
    """
    gone = set(paths)
    lists = look(storage.store).lists.items()
    theirs = [path for path, one in lists if one.paths & gone and not (is_in_use(one) and _has_others(one.paths, gone))]
    for path in theirs:
        storage.store.delete(path)
    return len(theirs)


def _has_others(paths: Iterable[str], gone: set[str]) -> bool:
    return any(first_path(path) not in gone for path in paths)


def all_paths(storage: LakeStorage) -> list[str]:
    """Every file below ``objects/`` and ``chunks/``, referred to or not.

    Raises:
        StoreError: If they cannot be listed.
    """
    return sorted(storage.objects.places.listed(_layout.OBJECTS, CHUNKS))
