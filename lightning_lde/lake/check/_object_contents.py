"""Reads all objects and chunks: whether their content has the hash that is their name."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lightning_lde.errors import StoreError
from lightning_lde.lake.check._findings import Finding, Found, Kind, Severity
from lightning_lde.lake.check._mending import Mending
from lightning_lde.lake.check._objects import MOVES, Objects, is_named_well
from lightning_lde.lake.check._tables import Tell
from lightning_lde.lake.objects import CHUNKS
from lightning_lde.lake.objects._codec import decode
from lightning_lde.lake.stores import Store, StoredFile

_THREADS = 8
_PIECE = 1 << 20


def content_findings(
    store: Store, objects: Objects, mending: Mending, known: Container[str], tell: Tell
) -> Iterator[Found]:
    """Objects and chunks whose content has another hash than their name; also those that no row names.

    Who stores a file relies on what is there by its name.

    Args:
        store: Where the lake is.
        objects: Its objects.
        mending: Repairs.
        known: Those of which something else is wrong already.
        tell: Told how far it is.
    """
    wanted = [one for path, one in sorted(objects.stored.items()) if is_named_well(path) and path not in known]
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, (stored, said) in enumerate(zip(wanted, pool.map(partial(_said, store), wanted), strict=True)):
            tell("objects", number + 1, len(wanted))
            if said:
                finding = Finding(Severity.ERROR, Kind.HASH, stored.path, said, MOVES)
                yield Found(finding, partial(mending.move_aside, stored.path))


def _said(store: Store, stored: StoredFile) -> str:
    """What is wrong with the content of an object; empty where nothing is, and where it is gone."""
    name = stored.path.rpartition("/")[2]
    try:
        if stored.path.startswith(CHUNKS):
            return _of_chunk(store.get(stored.path), name)
        digest = hashlib.sha256()
        for piece in _pieces(store, stored):
            digest.update(piece)
    except FileNotFoundError:
        return ""
    return "" if digest.hexdigest() == name[:64] else f"its content has the hash {digest.hexdigest()}"


def _of_chunk(file: bytes, name: str) -> str:
    try:
        decode(file, name)
    except StoreError:
        return "it does not hold the content that its name says"
    return ""


def _pieces(store: Store, stored: StoredFile) -> Iterator[bytes]:
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
