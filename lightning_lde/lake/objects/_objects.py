"""The objects of one lake: stores files and reads them again."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, cast

from lightning_lde.errors import StoreError
from lightning_lde.lake import _layout
from lightning_lde.lake.objects._condemned import Look, look, newer
from lightning_lde.lake.objects._get import ChunkedFile, beside, check_hash, copy_to, in_order, read_recipe
from lightning_lde.lake.objects._places import Elsewhere, Places
from lightning_lde.lake.objects._put import StoredObject, Writer
from lightning_lde.lake.objects._recipe import WHOLE
from lightning_lde.lake.objects._workers import workers
from lightning_lde.lake.stores import Store

_MOST_KNOWN = 1 << 18
_BUFFER_BYTES = 1 << 20


class Objects:
    """Files by their content.

    Args:
        store: The lake's store.
        elsewhere: Says where else files may lie.

    Attributes:
        places: Where they lie.
    """

    def __init__(self, store: Store, elsewhere: Callable[[], Iterable[Elsewhere]] = tuple) -> None:
        self.places = Places(store, elsewhere)
        self._known: dict[str, int] = {}
        self._look = Look()

    def put_artifact(self, source: Path) -> StoredObject:
        """Store a file in chunks, of which each is stored once; a small one as it is."""
        return self._writer().put(source)

    def put_whole(self, source: Path) -> StoredObject:
        """Store a file in one piece."""
        return self._writer().put_whole(source)

    def put_bytes(self, data: bytes) -> StoredObject:
        """Store bytes in one piece."""
        return self._writer().put_bytes(data)

    def _writer(self) -> Writer:
        self._look = look(self.places.store, self._look)
        if len(self._known) > _MOST_KNOWN:
            self._known = {}
        return Writer(self.places, self._known, self._look)

    def is_condemned_since(self, stored: StoredObject) -> bool:
        """Whether what was stored may be deleted, or is gone; to be asked after its row is in the lake.

        A collector lists what it wants to delete, then looks for rows once more. So either it sees the row, or this
        sees its list, or, if it has finished and its list is gone, the missing file.
        """
        now = look(self.places.store, stored.look)
        lists = list(newer(now, stored.look))
        if any(path in one.paths for one in lists for path in stored.paths):
            return True
        with workers() as at_work:
            sizes = [at_work.submit(0, functools.partial(self.places.size, path)) for path in stored.paths]
            return any(size.result() is None for size in sizes)

    def get(self, object_id: str, recipe: str | None = None) -> bytes:
        """The content of an object, verified as a whole."""
        if recipe in (None, WHOLE):
            return self._get_whole(object_id)
        read = read_recipe(self.places, str(recipe))
        data = b"".join(in_order(self.places, read))
        check_hash(hashlib.sha256(data).hexdigest(), object_id)
        return data

    def open(self, object_id: str, recipe: str | None = None) -> BinaryIO:
        """An object as a file that can be read anywhere; each of its chunks is verified when it is read."""
        if recipe in (None, WHOLE):
            return io.BytesIO(self._get_whole(object_id))
        chunked = ChunkedFile(self.places, read_recipe(self.places, str(recipe)))
        return cast("BinaryIO", io.BufferedReader(chunked, _BUFFER_BYTES))

    def copy(
        self, object_id: str, recipe: str | None, target: Path, tell: Callable[[int], None] = lambda _: None
    ) -> None:
        """Write an object into a local file, which is there when it is verified."""
        if recipe in (None, WHOLE):
            with beside(target) as temporary:
                tell(temporary.write_bytes(self._get_whole(object_id)))
                temporary.replace(target)
            return
        read = read_recipe(self.places, str(recipe))
        check_hash(read.sha256, object_id)
        copy_to(self.places, read, target, tell)

    def _get_whole(self, object_id: str) -> bytes:
        try:
            return self._verified(object_id, _layout.object_path(object_id))
        except (FileNotFoundError, StoreError):
            for path in self.places.generations(object_id):
                return self._verified(object_id, path)
            raise

    def _verified(self, object_id: str, path: str) -> bytes:
        data = self.places.fetch(path)
        found = hashlib.sha256(data).hexdigest()
        if found != object_id:
            where = self.places.store.url
            raise StoreError(f"object {object_id} at {where} is damaged: its content has the hash {found}")
        return data
