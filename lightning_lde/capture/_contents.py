"""The content of a data set that no library knows: what lies in its attributes, read without its own methods."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lightning_lde.capture import _arrays
from lightning_lde.capture._access import get
from lightning_lde.capture._columns import arrow_table, fingerprint_table, is_frame
from lightning_lde.capture._files import are_files, files_below, fingerprint_files, folder_of, is_path
from lightning_lde.capture._looks import Look
from lightning_lde.capture._pace import HurriedError, Pace
from lightning_lde.capture._samples import Samples, blank, combined, hash_bytes, hash_values
from lightning_lde.schema import MOST_SAMPLES, canonical_json

_MAX_DEPTH = 6
_MAX_KEYS = 1000
_ITEMS_AT_ONCE = 256
_MAX_ITEMS = 100_000
_MAX_SAMPLED_ITEMS = 4096
_FOLDER_NAMES = {"root", "data_root", "data_dir", "folder", "dir", "directory", "path", "data_path", "root_dir"}


class Content(NamedTuple):
    """What is known of a piece of data."""

    fingerprint: str
    method: str
    size_bytes: int | None = None
    modified_at: datetime | None = None
    samples: Samples | None = None


class _UnknownError(Exception):
    """A value whose content cannot be known."""


def contents_of(look: Look, pace: Pace) -> dict[str, Content]:
    """The content of each attribute that holds data: arrays, tables, lists, files; caches are left out.

    Args:
        look: The data set.
        pace: How to go on.

    Raises:
        HurriedError: If the pace says so.
    """
    found = {}
    for name, value in sorted(look.own.items()):
        if name.startswith("__") or "cache" in name.lower() or name in dict(look.parts):
            continue
        if name in look.sizes and (not look.sizes[name] or len(value) != look.sizes[name]):
            continue
        content = _attempt(value, look.own.get("root"), pace)
        if content is not None:
            found[name] = content
    if not any(content.modified_at for content in found.values()) and not _has_samples(look, found):
        found |= _folder(look, pace)
    return found


def samples_among(contents: Mapping[str, Content], n: int | None) -> Samples | None:
    """The samples that attributes hold: of those with one value for each, or the files of a folder.

    Args:
        contents: What the attributes hold, by their names.
        n: How many samples there are.
    """
    known = [content.samples for _, content in sorted(contents.items()) if content.samples is not None]
    of_files = [samples for samples in known if samples.paths is not None]
    return combined([samples for samples in known if len(samples) == n] or of_files[:1])


def _has_samples(look: Look, found: Mapping[str, Content]) -> bool:
    """Whether an array of numbers or a table has a row for each sample; lists of names say what is elsewhere."""
    values = [look.own[name] for name in found]
    rows = [value for value in values if _arrays.is_array(value) or is_frame(value) or arrow_table(value) is not None]
    return any(len(value.shape) > 1 and len(value) == look.n for value in rows)


def _attempt(value: Any, root: object, pace: Pace) -> Content | None:
    try:
        return _content_of(value, root, pace)
    except HurriedError:
        raise
    except Exception:
        return None


def _folder(look: Look, pace: Pace) -> dict[str, Content]:
    for name, value in sorted(look.own.items()):
        folder = folder_of(value) if name.strip("_").lower() in _FOLDER_NAMES else None
        if folder and folder.is_dir() and (paths := files_below(folder, pace)):
            return {name: Content(*fingerprint_files(paths, path_of=str, label_of=_none, root=folder, pace=pace))}
    return {}


def _content_of(value: Any, root: object, pace: Pace) -> Content | None:
    if _arrays.is_array(value):
        return _arrays_content([value], pace) if value.shape else None
    table = arrow_table(value)
    if table is not None or is_frame(value):
        found = fingerprint_table(value if table is None else table, pace)
        samples = None if found.hashes is None else Samples(found.hashes)
        return Content(found.fingerprint, found.method, found.size_bytes, samples=samples)
    if isinstance(value, (list, tuple)):
        return _list(value, root, pace)
    if isinstance(value, Mapping):
        return _mapping(value, root, pace)
    # Open files of h5py, zipfile and others say their name.
    path = value if is_path(value) else get(value, "filename")
    if not is_path(path) or not Path(str(path)).is_file():
        return None
    return Content(*fingerprint_files([path], path_of=_itself, label_of=_none, root=None, pace=pace))


def _list(values: Sequence[Any], root: object, pace: Pace) -> Content | None:
    if not values:
        return None
    for path_of, label_of in ((_itself, _none), (_first, _second)):
        if are_files(values, path_of, root):
            found = fingerprint_files(values, path_of=path_of, label_of=label_of, root=root, pace=pace)
            return Content(*found)
    if all(_arrays.is_array(value) for value in values) and len(values) <= _MAX_KEYS:
        content = _arrays_content(list(values), pace)
        return content._replace(samples=_samples_of_arrays(values)) if pace.by_sample else content
    whole = pace.exact or len(values) <= _MAX_ITEMS
    n = len(values)
    step = n if whole else _MAX_SAMPLED_ITEMS
    chosen: Sequence[int] = range(n) if whole else [index * (n - 1) // (step - 1) for index in range(step)]
    digest = hashlib.sha256(canonical_json([n]).encode())
    by_item = blank(n) if pace.by_sample and n <= MOST_SAMPLES else None
    for first in range(0, len(chosen), _ITEMS_AT_ONCE):
        items = [_plain(values[index], 0) for index in chosen[first : first + _ITEMS_AT_ONCE]]
        if by_item is None:
            digest.update(canonical_json(items).encode())
        else:
            texts = [canonical_json(item).encode() for item in items]
            digest.update(b"[" + b",".join(texts) + b"]")
            by_item[first : first + len(items)] = hash_values(texts)
        pace.breathe()
    method = "sha256 of items" if whole else f"sha256 of {len(chosen)} evenly spaced items"
    return Content(digest.hexdigest()[:32], method, samples=None if by_item is None else Samples(by_item))


def _arrays_content(arrays: list[Any], pace: Pace) -> Content:
    found = _arrays.fingerprint(arrays, pace)
    samples = None if found.hashes is None else Samples(found.hashes)
    return Content(found.fingerprint, found.method, sum(map(_arrays.size_bytes, arrays)), samples=samples)


def _samples_of_arrays(values: Sequence[Any]) -> Samples:
    hashes = blank(len(values))
    for number, value in enumerate(values):
        hashes[number] = hash_bytes(_arrays.raw_bytes(value))
    return Samples(hashes)


def _mapping(value: Mapping[Any, Any], root: object, pace: Pace) -> Content | None:
    if len(value) > _MAX_KEYS:
        return _list(sorted(map(list, value.items()), key=lambda item: str(item[0])), root, pace)
    parts = {str(key): _content_of(item, root, pace) or _scalar_content(item) for key, item in value.items()}
    if not value or not any(part is not None and part.method != "value" for part in parts.values()):
        return None
    text = canonical_json([[name, part and part.fingerprint] for name, part in sorted(parts.items())])
    methods = {part.method for part in parts.values() if part is not None and part.method != "value"}
    return Content(hashlib.sha256(text.encode()).hexdigest()[:32], ", ".join(sorted(methods)))


def _scalar_content(value: Any) -> Content | None:
    try:
        return Content(canonical_json(_plain(value, 0)), "value")
    except _UnknownError:
        return None


def _plain(value: Any, depth: int) -> Any:
    """A value of a list as data that JSON can hold.

    Raises:
        _UnknownError: If it holds an object of another kind.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if _arrays.is_array(value):
        whole = hashlib.sha256(_arrays.raw_bytes(value)).hexdigest()
        return ["array", _arrays.dtype_name(value), list(value.shape), whole]
    if depth < _MAX_DEPTH and isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    raise _UnknownError


def _itself(item: Any) -> object:
    return item


def _first(item: Any) -> object:
    return item[0] if isinstance(item, (list, tuple)) and item else None


def _second(item: Any) -> object:
    return item[1] if len(item) > 1 else None


def _none(item: Any) -> object:
    return None
