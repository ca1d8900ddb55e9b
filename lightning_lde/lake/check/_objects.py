"""Objects that rows name: whether they are there, whole, and what their names say that they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lightning_lde.lake import _layout
from lightning_lde.lake.check._findings import Finding, Found, Kind, Severity
from lightning_lde.lake.check._mending import DAMAGED, Mending
from lightning_lde.lake.check._rows import FileFacts, Named, is_object_id, object_path
from lightning_lde.lake.check._tables import Tell
from lightning_lde.lake.stores import Store, StoredFile

_THREADS = 16
_PIECE = 1 << 20
_MOVES = f"moves it to {DAMAGED}, so that equal content can be stored anew"


class Objects:
    """The objects of a lake.

    Args:
        store: Where it is.
        mending: Repairs.
    """

    def __init__(self, store: Store, mending: Mending) -> None:
        self._store = store
        self._mending = mending
        self.stored: dict[str, StoredFile] = {}

    def look(self) -> None:
        """See which there are; to be called after the rows were read, which name what was there before them."""
        self.stored = {one.path: one for one in self._store.list(_layout.OBJECTS)}

    def missing(self, facts: Iterable[tuple[str, FileFacts]]) -> dict[str, list[tuple[str, Named]]]:
        """Objects that are named and not there, by the path that they should have, with the files that name them."""
        found: dict[str, list[tuple[str, Named]]] = {}
        for path, known in facts:
            for named in known.objects:
                if named.recipe is None and object_path(named) not in self.stored:
                    found.setdefault(object_path(named), []).append((path, named))
        return found

    def findings(self, facts: list[tuple[str, FileFacts]]) -> Iterator[Found]:
        """What is missing, or has another size than the rows say.

        Args:
            facts: What is known of the files that count.
        """
        for target, named in sorted(self.missing(facts).items()):
            yield Found(Finding(Severity.ERROR, Kind.MISSING, target, f"{_who(named)}, and it is not there"))
        sizes: dict[str, tuple[str, Named]] = {}
        for path, known in facts:
            for one in known.objects:
                stored = self.stored.get(object_path(one)) if one.recipe is None else None
                if stored is not None and one.size_bytes is not None and one.size_bytes != stored.size_bytes:
                    sizes[stored.path] = (path, one)
        for target, each in sorted(sizes.items()):
            said = f"it has {self.stored[target].size_bytes:,} bytes, expected {each[1].size_bytes:,}: {_who([each])}"
            yield Found(Finding(Severity.ERROR, Kind.SIZE, target, said, _MOVES), self._aside(target))
        for target, stored in sorted(self.stored.items()):
            if not _is_named_well(target) and not target.endswith(".tmp"):
                said = "no object of a lake has such a name; nobody reads it"
                yield Found(Finding(Severity.INFO, Kind.FOREIGN, stored.path, said))

    def contents(self, known: Container[str], tell: Tell) -> Iterator[Found]:
        """Objects whose content has another hash than their name.

        Args:
            known: Those of which something else is wrong already.
            tell: Told how far it is.
        """
        wanted = [one for path, one in sorted(self.stored.items()) if _is_named_well(path) and path not in known]
        with ThreadPoolExecutor(_THREADS) as pool:
            for number, (stored, said) in enumerate(zip(wanted, pool.map(self._content, wanted), strict=True)):
                tell("objects", number + 1, len(wanted))
                if said:
                    finding = Finding(Severity.ERROR, Kind.HASH, stored.path, said, _MOVES)
                    yield Found(finding, self._aside(stored.path))

    def _content(self, stored: StoredFile) -> str:
        """What is wrong with the content of an object; empty where nothing is, and where it is gone."""
        digest = hashlib.sha256()
        try:
            for piece in pieces_of(self._store, stored):
                digest.update(piece)
        except FileNotFoundError:
            return ""
        wanted = stored.path.rpartition("/")[2]
        return "" if digest.hexdigest() == wanted else f"its content has the hash {digest.hexdigest()}"

    def _aside(self, path: str) -> Callable[[], bool]:
        return lambda: self._mending.move_aside(path)


def pieces_of(store: Store, stored: StoredFile) -> Iterator[bytes]:
    """The content of a file, piece by piece.

    Args:
        store: Where it is.
        stored: The file.

    Raises:
        FileNotFoundError: If it is gone.
    """
    local = store.local_path(stored.path)
    if local is not None:
        with Path(local).open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    elif stored.size_bytes <= 16 * _PIECE:
        yield store.get(stored.path)
    else:
        filesystem, root = store.arrow_filesystem()
        with filesystem.open_input_stream(f"{root}/{stored.path}") as stream:
            while piece := stream.read(_PIECE):
                yield piece


def _who(named: list[tuple[str, Named]]) -> str:
    """Who names an object."""
    file, one = named[0]
    what, path = one.what
    words = f"{path} of the run {what}" if one.size_bytes is not None else f"{what}.{path}"
    more = f" and {len(named) - 1:,} more" if len(named) > 1 else ""
    return f"named by {words}{more}, in {file}"


def _is_named_well(path: str) -> bool:
    parts = path.split("/")
    return len(parts) == 3 and is_object_id(parts[2]) and parts[1] == parts[2][:2]
