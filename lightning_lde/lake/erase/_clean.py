"""Removes at once what no manifest names any more: former versions, lists, Delta logs, and words in notes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from lightning_lde.lake._actions import ACTIONS
from lightning_lde.lake._layout import HotFile, parse_hot_path
from lightning_lde.lake.cold._absorbed import list_absorbed, listed
from lightning_lde.lake.cold._commit import delete_all
from lightning_lde.lake.cold._erased import hash_of
from lightning_lde.lake.cold._manifest import COLD, MANIFESTS, Absorbed, Manifest
from lightning_lde.lake.erase._target import Target
from lightning_lde.lake.erase._texts import ERASED, UUID
from lightning_lde.lake.stores import Store

if TYPE_CHECKING:
    from lightning_lde.lake.stores import StoredFile

DAMAGED = "damaged/"


def lists_without(store: Store, manifest: Manifest, erased: frozenset[str], target: Target) -> tuple[Absorbed, ...]:
    """Lists of absorbed files that name no erased writer, and no path with a text that is to go.

    Who sends a file again is refused as before: other writers keep their numbers, erased ones have their hash.

    Args:
        store: Where the lake is.
        manifest: The newest; hot files that it says are absorbed are deleted by now.
        erased: Hashes of what was erased.
        target: What is erased.
    """
    kept: list[Absorbed] = []
    pattern = "|".join(filter(None, (target.needles.pattern("path"), target.hidden.pattern("path"))))
    for one in manifest.absorbed:
        files = listed(store, one)
        rest = [file for file in files if hash_of(file.writer) not in erased]
        named = [file for file in rest if pattern and re.search(pattern, file.path)]
        gone = replace(one, is_deleted=True)
        if len(rest) == len(files) and not named:
            kept.append(gone)
        elif rest:
            hidden = {file.path for file in named}
            plain = [HotFile("", *_facts(file)) if file.path in hidden else file for file in rest]
            kept.append(replace(list_absorbed(store, plain, one.at), is_deleted=True))
    return tuple(kept)


def _facts(file: HotFile) -> tuple[str, str, int, int]:
    return file.table, file.writer, file.first, file.last


def former_files(store: Store, manifest: Manifest) -> Iterator[StoredFile]:
    """Files below ``cold/`` that the newest manifest does not name: older manifests, data, lists, Delta logs.

    Args:
        store: Where the lake is.
        manifest: The newest; it was made by who holds the lock, so that nobody else's work is among them.
    """
    named = {one.path for files in manifest.tables.values() for one in files}
    named |= {one.path for one in manifest.absorbed} | {manifest.path}
    named |= {manifest.erased} if manifest.erased is not None else set()
    for stored in store.list(COLD):
        is_lock = stored.path.count("/") == 1
        if stored.path not in named and not is_lock and not _is_newer(stored.path, manifest):
            yield stored


def _is_newer(path: str, manifest: Manifest) -> bool:
    found = re.fullmatch(rf"{MANIFESTS}(\d{{12}})\.json", path)
    return found is not None and int(found[1]) > manifest.number


def remove_former(store: Store, manifest: Manifest) -> tuple[int, int]:
    """Delete them, manifests first: one that names a missing file would mislead.

    Returns:
        How many files, and their bytes.
    """
    files = sorted(former_files(store, manifest), key=lambda stored: not stored.path.startswith(MANIFESTS))
    first = [stored.path for stored in files if stored.path.startswith(MANIFESTS)]
    rest = [stored.path for stored in files if not stored.path.startswith(MANIFESTS)]
    n = delete_all(store, first) + delete_all(store, rest)
    return n, sum(stored.size_bytes for stored in files)


def remove_damaged(store: Store, erased: frozenset[str], target: Target, objects: Collection[str]) -> tuple[int, int]:
    """Delete what was damaged and moved aside, where it may hold what is erased: nobody can read it to say.

    Args:
        store: Where the lake is.
        erased: Hashes of what was erased.
        target: What is erased.
        objects: Paths of objects that are erased.

    Returns:
        How many files, and their bytes.
    """
    n = size_bytes = 0
    for stored in list(store.list(DAMAGED)):
        place = stored.path.removeprefix(DAMAGED)
        hot = parse_hot_path(place)
        may_stay = hot is not None and hash_of(hot.writer) not in erased and not (target.needles or target.hidden)
        is_other = place.startswith(("objects/", "chunks/")) and place not in objects and not target.needles
        if not (may_stay or is_other):
            store.delete(stored.path)
            n, size_bytes = n + 1, size_bytes + stored.size_bytes
    return n, size_bytes


def clean_notes(store: Store, target: Target) -> int:
    """Replace what is erased in the notes of maintenance; how many were changed.

    Args:
        store: Where the lake is.
        target: What is erased.
    """
    changed = 0
    for stored in list(store.list(ACTIONS)):
        text = store.get(stored.path).decode("utf-8", "replace")
        clean = _without(text, target)
        if clean != text:
            store.put(stored.path, clean.encode())
            changed += 1
    return changed


def _without(text: str, target: Target) -> str:
    for pattern in (target.needles.pattern("variables"), target.hidden.pattern("variables")):
        if pattern:
            text = re.sub(pattern, ERASED, text)
    return re.sub(UUID, lambda found: ERASED if found[0] in target.runs else found[0], text)


def where_left(store: Store, needle: bytes, skip: Iterable[str]) -> list[str]:
    """Small files of a lake that hold a text all the same, such as its policy.

    Args:
        store: Where the lake is.
        needle: The text's bytes.
        skip: Files that may hold it.
    """
    skipped = set(skip)
    forms = {needle, json.dumps(needle.decode("utf-8", "replace"), ensure_ascii=False)[1:-1].encode()}
    left = []
    for stored in store.list(""):
        if stored.path.endswith(".json") and stored.path not in skipped and not stored.path.startswith("objects/"):
            content = store.get(stored.path)
            left += [stored.path] if any(form in content for form in forms) else []
    return left
