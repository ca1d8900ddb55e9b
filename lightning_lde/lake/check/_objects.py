"""Objects and chunks that rows name: whether they are there, and what the rows and recipes say that they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake.check._contents import one_line
from lightning_lde.lake.check._findings import Finding, Found, Kind, Severity
from lightning_lde.lake.check._mending import DAMAGED, Mending
from lightning_lde.lake.check._rows import FileFacts, Named
from lightning_lde.lake.objects import CHUNKS, Places, Recipe, chunk_path
from lightning_lde.lake.objects._get import read_recipe
from lightning_lde.lake.stores import StoredFile

MOVES = f"moves it to {DAMAGED}, so that equal content can be stored anew"

_THREADS = 8


class Use(NamedTuple):
    """A row that names an object.

    Attributes:
        file: The file of rows.
        named: What it names.
    """

    file: str
    named: Named


class Objects:
    """The objects of a lake.

    Args:
        places: Where they lie.
        mending: Repairs.
        cold: Lists what lies in cold roots.
        is_elsewhere: Whether the bytes of a file, by run, path and object, need not be anywhere that was listed.
    """

    def __init__(
        self,
        places: Places,
        mending: Mending,
        cold: Callable[[], Iterable[StoredFile]],
        is_elsewhere: Callable[[str, str, str], bool] = lambda *_: False,
    ) -> None:
        self._is_elsewhere = is_elsewhere
        self._places = places
        self._mending = mending
        self._cold = cold
        self._recipes: dict[str, Recipe | str | None] = {}
        self.stored: dict[str, StoredFile] = {}
        self.elsewhere: dict[str, StoredFile] = {}

    def look(self) -> None:
        """See which there are; to be called after the rows were read, which name what was there before them."""
        self.stored = {one.path: one for prefix in (_layout.OBJECTS, CHUNKS) for one in self._places.store.list(prefix)}
        self.elsewhere = {one.path: one for one in self._cold() if one.path not in self.stored}
        self._again: dict[str, str] = {}
        for path in [*self.stored, *self.elsewhere]:
            # An object that was stored again goes by its first path.
            first, dash, _ = path.partition("-")
            if dash and path.startswith(_layout.OBJECTS):
                self._again.setdefault(first, path)

    def missing(self, facts: Iterable[tuple[str, FileFacts]]) -> dict[str, list[Use]]:
        """What is named and not there, by the path that it should have, with the rows that name it.

        A file that was stored twice is there if one of the two is whole.

        Args:
            facts: What is known of the files that count.
        """
        uses: dict[str, list[Use]] = {}
        for path, known in facts:
            for named in known.objects:
                uses.setdefault(named.object_id, []).append(Use(path, named))
        self._read_recipes({use.named.recipe for each in uses.values() for use in each if use.named.recipe})
        found: dict[str, list[Use]] = {}
        for each in uses.values():
            if all(self._is_elsewhere(*use.named.what, use.named.object_id) for use in each):
                continue
            lacks = [self._lacks(use.named) for use in each]
            if all(lacks):
                for use, paths in zip(each, lacks, strict=True):
                    for path in paths:
                        found.setdefault(path, []).append(use)
        return found

    def _read_recipes(self, names: set[str]) -> None:
        new = sorted(name for name in names if not isinstance(self._recipes.get(name), Recipe))
        with ThreadPoolExecutor(_THREADS) as pool:
            self._recipes |= dict(zip(new, pool.map(self._recipe, new), strict=True))

    def _recipe(self, name: str) -> Recipe | str | None:
        """A recipe, what is wrong with it, or None where it is not there or cannot be read for now."""
        try:
            return read_recipe(self._places, name)
        except FileNotFoundError:
            return None
        except StoreError as error:
            return one_line(error)

    def _lacks(self, named: Named) -> list[str]:
        """The paths of what is not there of a file."""
        if named.recipe is None:
            path = _layout.object_path(named.object_id)
            return [] if self._has(path) or path in self._again else [path]
        recipe = self._recipes.get(named.recipe)
        names = [named.recipe, *(recipe.names if isinstance(recipe, Recipe) else ())]
        return [path for path in map(chunk_path, names) if not self._has(path)]

    def _has(self, path: str) -> bool:
        return path in self.stored or path in self.elsewhere

    def findings(self, facts: list[tuple[str, FileFacts]], is_busy: Callable[[str], bool]) -> Iterator[Found]:
        """What is missing, or is not what the rows say.

        Args:
            facts: What is known of the files that count.
            is_busy: Whether who wrote a file of rows may still be storing what it names.
        """
        for target, uses in sorted(self.missing(facts).items()):
            if not all(is_busy(use.file) for use in uses):
                yield Found(Finding(Severity.ERROR, Kind.MISSING, target, f"{_who(uses)}, and it is not there"))
        yield from self._of_sizes(facts)
        yield from self._of_recipes(facts)
        for target in sorted(self.stored):
            if not is_named_well(target) and not target.endswith(".tmp"):
                said = "no object of a lake has such a name; nobody reads it"
                yield Found(Finding(Severity.INFO, Kind.FOREIGN, target, said))

    def _of_sizes(self, facts: Iterable[tuple[str, FileFacts]]) -> Iterator[Found]:
        wrong: dict[str, Use] = {}
        for path, known in facts:
            for one in known.objects:
                stored = self.stored.get(_layout.object_path(one.object_id)) if one.recipe is None else None
                if stored is not None and one.size_bytes is not None and one.size_bytes != stored.size_bytes:
                    wrong[stored.path] = Use(path, one)
        for target, use in sorted(wrong.items()):
            said = f"it has {self.stored[target].size_bytes:,} bytes, expected {use.named.size_bytes:,}: {_who([use])}"
            finding = Finding(Severity.ERROR, Kind.SIZE, target, said, MOVES)
            yield Found(finding, partial(self._mending.move_aside, target))

    def _of_recipes(self, facts: Iterable[tuple[str, FileFacts]]) -> Iterator[Found]:
        """Recipes that cannot be read, or put together another file than the row says."""
        wrong: dict[str, tuple[str, str]] = {}
        for path, known in facts:
            for one in known.objects:
                recipe = self._recipes.get(one.recipe or "")
                if isinstance(recipe, str):
                    wrong[chunk_path(str(one.recipe))] = (Kind.HASH, recipe)
                elif recipe is not None and recipe.sha256 != one.object_id:
                    said = f"it is the recipe of a file with the hash {recipe.sha256}: {_who([Use(path, one)])}"
                    wrong[path] = (Kind.HASH, said)
                elif recipe is not None and one.size_bytes not in {None, recipe.size_bytes}:
                    said = f"its recipe says {recipe.size_bytes:,} bytes, a row {one.size_bytes:,}"
                    wrong[path] = (Kind.SIZE, f"{said}: {_who([Use(path, one)])}")
        for target, (kind, said) in sorted(wrong.items()):
            is_chunk = target.startswith(CHUNKS)
            finding = Finding(Severity.ERROR, kind, target, said, MOVES if is_chunk else "")
            yield Found(finding, partial(self._mending.move_aside, target) if is_chunk else None)


def _who(uses: list[Use]) -> str:
    """Who names an object."""
    file, one = uses[0]
    what, path = one.what
    words = f"{path} of the run {what}" if one.size_bytes is not None else f"{what}.{path}"
    more = f" and {len(uses) - 1:,} more" if len(uses) > 1 else ""
    return f"named by {words}{more}, in {file}"


def is_named_well(path: str) -> bool:
    """Whether the name is one of an object or a chunk."""
    parts = path.split("/")
    if len(parts) != 3 or parts[1] != parts[2][:2]:
        return False
    name, dash, generation = parts[2].partition("-")
    is_hash = len(name) == 64 and all(char in "0123456789abcdef" for char in name)
    return is_hash and (not dash or generation.isdigit())
