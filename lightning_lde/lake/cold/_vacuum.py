"""Removes manifests that are old, and files that no manifest names: of former versions, and of jobs that died."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from lightning_lde.errors import StoreError
from lightning_lde.lake.cold._absorbed import LISTS
from lightning_lde.lake.cold._manifest import COLD, MANIFESTS, Manifest, manifest_numbers, manifest_path, read_manifest
from lightning_lde.lake.stores import Store
from lightning_lde.schema import utc_now

KEPT_FOR = timedelta(hours=24)
"""How long files of former versions stay, for readers that have begun with them."""


def vacuum(store: Store, newest: Manifest, kept_for: timedelta = KEPT_FOR) -> int:
    """Remove what no reader needs any more; how many files that were.

    Args:
        store: Where the lake is.
        newest: The manifest that counts.
        kept_for: How long what does not count any more stays.
    """
    before = utc_now() - kept_for
    kept, old = [newest], []
    following = newest
    for number in reversed(manifest_numbers(store)):
        if number >= newest.number:
            continue
        # A manifest counted until the next one came.
        if following.created_at <= before:
            old.append(number)
            continue
        with contextlib.suppress(FileNotFoundError, StoreError):
            following = read_manifest(store, number)
            kept.append(following)
    named = {path for manifest in kept for path in named_by(manifest)}
    unnamed = [path for path in _data_files(store) if path not in named and _made_at(path) <= before]
    # Manifests first: one that names a missing file would mislead.
    for path in [*(manifest_path(number) for number in old), *unnamed]:
        store.delete(path)
    return len(old) + len(unnamed)


def named_by(manifest: Manifest) -> Iterator[str]:
    """The files that a manifest names."""
    for files in manifest.tables.values():
        yield from (file.path for file in files)
    yield from (one.path for one in manifest.absorbed)
    if manifest.erased is not None:
        yield manifest.erased


def _data_files(store: Store) -> Iterator[str]:
    for stored in store.list(COLD):
        folder, _, name = stored.path.rpartition("/")
        is_ours = name.endswith(".parquet") and folder.count("/") == 1
        if is_ours and (folder + "/" == LISTS or not stored.path.startswith(MANIFESTS)):
            yield stored.path


def _made_at(path: str) -> datetime:
    """When a file was made, which its name says; now where it does not."""
    with contextlib.suppress(ValueError):
        found = uuid.UUID(path.rpartition("/")[2].removesuffix(".parquet"))
        if found.version == 7:
            return datetime.fromtimestamp((found.int >> 80) / 1000, timezone.utc)
    return utc_now()
