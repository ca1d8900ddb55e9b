"""Makes the next manifest: of several jobs at once one succeeds, and a lost answer is no failure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lightning_lde.errors import StoreError
from lightning_lde.lake.cold._manifest import Manifest, read_manifest
from lightning_lde.lake.stores import Store
from lightning_lde.schema import new_run_id, utc_now

_THREADS = 16


def commit(store: Store, before: Manifest, wanted: Manifest, made: Sequence[str]) -> Manifest:
    """Make the manifest that follows another one.

    Args:
        store: Where the lake is.
        before: The newest, as far as is known.
        wanted: What the next one shall say.
        made: Files that nobody needs where it does not come into being.

    Returns:
        The manifest that counts now.

    Raises:
        StoreError: If it cannot be made, or somebody else made one of that number.
    """
    following = replace(wanted, number=before.number + 1, created_at=utc_now(), writer=new_run_id())
    try:
        is_ours = store.create(following.path, following.to_bytes())
    except StoreError:
        # The answer may be lost, and the manifest made.
        is_ours = _is_there(store, following)
        if not is_ours:
            raise
    if not is_ours and not _is_there(store, following):
        delete_all(store, made)
        raise StoreError(f"another maintenance of the lake at {store.url} was quicker; nothing was changed")
    return following


def delete_all(store: Store, paths: Iterable[str]) -> int:
    """Delete files, several at once; how many they were."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(1 for _ in pool.map(store.delete, paths))


def _is_there(store: Store, manifest: Manifest) -> bool:
    try:
        return read_manifest(store, manifest.number).writer == manifest.writer
    except FileNotFoundError:
        return False
