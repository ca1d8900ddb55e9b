"""Data that lies in files: their names, sizes and bytes as one fingerprint, without the program's own readers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from lightning_lde.capture import _apart
from lightning_lde.capture._arrays import MAX_BYTES
from lightning_lde.capture._pace import Pace
from lightning_lde.capture._samples import Samples, blank, hash_of, labelled
from lightning_lde.schema import MOST_SAMPLES, canonical_json

HEAD_BYTES = 256 * 2**10
"""How much of a file is read where not everything is."""

_MAX_SAMPLED = 64
_MAX_WHOLE = 2000
_BLOCK_BYTES = 2**20
_MANIFEST_ROWS = 256
_MAX_WALKED = 500_000


class FilesFingerprint(NamedTuple):
    """What is known of a list of files."""

    fingerprint: str
    method: str
    size_bytes: int
    modified_at: datetime | None
    samples: Samples | None = None


class FilesRead(NamedTuple):
    """The same as it was found out: ``modified_ns`` in nanoseconds since 1970, 0 where it is not known."""

    fingerprint: str
    method: str
    size_bytes: int
    modified_ns: int
    samples: Samples | None = None


def are_files(paths: Sequence[Any], path_of: Callable[[Any], object], root: object = None) -> bool:
    """Whether the first, the middle and the last of a list are paths of files.

    Args:
        paths: The list, not empty.
        path_of: The path in one of its items.
        root: The folder that relative paths may belong to.
    """
    chosen = [path_of(paths[index]) for index in (0, len(paths) // 2, -1)]
    if not all(map(is_path, chosen)):
        return False
    base = _base_of([str(path) for path in chosen], root)
    return all(Path(base + str(path)).is_file() for path in chosen)


def is_path(value: object) -> bool:
    """Whether a value may be a path: a short text, or an object that stands for one."""
    return (isinstance(value, str) and 0 < len(value) < 4096 and "\0" not in value) or isinstance(value, Path)


def folder_of(root: object) -> Path | None:
    """The folder that a data set calls its root, None if there is none."""
    return Path(str(root)).expanduser() if is_path(root) else None


def _base_of(paths: list[str], root: object) -> str:
    """What stands before the paths of a list: a folder and a slash where they lie below the root, or nothing."""
    folder = folder_of(root)
    if folder is None or paths[0].startswith("/") or Path(paths[0]).is_file():
        return ""
    return f"{folder}/"


def fingerprint_files(
    items: Sequence[Any],
    *,
    path_of: Callable[[Any], object],
    label_of: Callable[[Any], object],
    root: object,
    pace: Pace,
) -> FilesFingerprint:
    """A hash over names, sizes and labels of files in their order, and over the bytes of all or some of them.

    Names are those below the root, times of modification do not count: a copy is the same data. Of up to 2,000 files
    with up to 64 MiB every byte counts, with an exact pace always; above, the first 256 KiB of at most 64 evenly
    spaced files.

    Args:
        items: One per file.
        path_of: The path in an item.
        label_of: What stands beside it, None or a whole number or a text.
        root: The folder that they lie in; None for the deepest one that holds them all.
        pace: How to go on.

    Raises:
        HurriedError: If the pace says so.
    """
    found = None
    if len(items) >= _apart.MANY and pace.is_gentle and not pace.by_sample:
        found = _apart.read_files_apart(items, root=root, pace=pace)
    if found is None:
        found = read_files(items, path_of=path_of, label_of=label_of, root=root, pace=pace)
    moment = datetime.fromtimestamp(found.modified_ns / 1e9, timezone.utc) if found.modified_ns else None
    return FilesFingerprint(found.fingerprint, found.method, found.size_bytes, moment, found.samples)


def read_files(
    items: Sequence[Any],
    *,
    path_of: Callable[[Any], object],
    label_of: Callable[[Any], object],
    root: object,
    pace: Pace,
) -> FilesRead:
    """What `fingerprint_files` says, found out by this thread."""
    names = [str(path_of(item)) for item in _slowly(items, pace)]
    base = _base_of(names[:1], root)
    paths = [base + name for name in names] if base else names
    prefix = _common_folder(paths, root, pace)
    digest, newest = hashlib.sha256(), 0
    sizes: list[int | None] = []
    # The last list may be empty.
    for first in range(0, len(paths) + 1, _MANIFEST_ROWS):
        batch = paths[first : first + _MANIFEST_ROWS]
        labels = [_label(label_of(item)) for item in items[first : first + _MANIFEST_ROWS]]
        found = _sizes_and_times(batch)
        sizes += [size for size, _ in found]
        newest = max(newest, *(modified for _, modified in found)) if found else newest
        names_of = [path[len(prefix) :] for path in batch]
        digest.update(_json([[*row] for row in zip(names_of, sizes[first:], labels, strict=True)]))
        pace.breathe()
    total = sum(size or 0 for size in sizes)
    whole = pace.exact or (total <= MAX_BYTES and len(paths) <= _MAX_WHOLE)
    chosen = range(len(paths)) if whole else _spread(len(paths))
    pace.expect(sum((sizes[index] or 0) if whole else min(sizes[index] or 0, HEAD_BYTES) for index in chosen))
    n = len(paths)
    by_file = blank(n) if pace.by_sample and n <= MOST_SAMPLES else None
    for index in chosen:
        own = None if by_file is None else hashlib.sha256()
        _update(digest if own is None else _Together(digest, own), paths[index], None if whole else HEAD_BYTES, pace)
        if by_file is not None:
            by_file[index] = hash_of(own)
    samples = None
    if by_file is not None:
        names = [path[len(prefix) :] for path in paths]
        samples = labelled(Samples(by_file, names), [_label(label_of(item)) for item in items])
    method = f"sha256 of {n} files" if whole else f"sha256 of {n} names and sizes, {len(chosen)} files read"
    return FilesRead(digest.hexdigest()[:32], method, total, newest, samples)


def files_below(folder: Path, pace: Pace) -> list[str] | None:
    """All files below a folder in the order of their names, None where there are too many to be one data set.

    A folder that the program works in, or one above it, is no data set: what lies there changes while it runs.

    Raises:
        HurriedError: If the pace says so.
    """
    resolved = folder.resolve()
    if any(place.is_relative_to(resolved) for place in (Path.cwd().resolve(), Path.home().resolve())):
        return None
    found: list[str] = []
    for path in _walk(str(folder)):
        found.append(path)
        if len(found) > _MAX_WALKED:
            return None
        pace.breathe()
    return found


def _walk(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        elif entry.is_file():
            yield entry.path


def _slowly(items: Sequence[Any], pace: Pace) -> Iterator[Any]:
    for number, item in enumerate(items):
        if number % _MANIFEST_ROWS == 0:
            pace.breathe()
        yield item


def _common_folder(paths: list[str], root: object, pace: Pace) -> str:
    """What the paths begin with and what is not part of a file's name in the data set: a folder and a slash."""
    folder = folder_of(root)
    prefix = f"{paths[0].rpartition('/')[0]}/" if folder is None else f"{folder}/"
    for path in _slowly(paths, pace):
        while prefix != "/" and not path.startswith(prefix):
            prefix = f"{prefix[:-1].rpartition('/')[0]}/"
    return prefix if paths[0].startswith(prefix) else ""


def _sizes_and_times(paths: list[str]) -> list[tuple[int | None, int]]:
    """Of each file its size in bytes, None where it cannot be read, and when it was changed, in ns since 1970.

    Arrow asks for all at once without Python's lock. Asked for one by one the lock would change hands a hundred
    thousand times, and a training that runs beside would wait for it as often.
    """
    import pyarrow.fs as pa_fs

    try:
        found = pa_fs.LocalFileSystem().get_file_info(paths)
    except Exception:
        # A name that is no text, a folder that may not be looked into.
        return [_size_and_time(path) for path in paths]
    # What is no file has no size there.
    known = [(one.size, one.mtime_ns) for one in found]
    return [one if one[0] is not None else _size_and_time(path) for one, path in zip(known, paths, strict=True)]


def _size_and_time(path: str) -> tuple[int | None, int]:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None, 0
    return found.st_size, found.st_mtime_ns


def _json(rows: list[list[object]]) -> bytes:
    """Canonical JSON of lists of texts, whole numbers and None, the short way where all texts are such."""
    try:
        return json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return canonical_json(rows).encode()


def _label(label: object) -> object:
    return label if label is None or isinstance(label, (bool, int, str)) else None


def _spread(n_files: int) -> list[int]:
    count = min(n_files, _MAX_SAMPLED)
    return sorted({index * (n_files - 1) // max(1, count - 1) for index in range(count)})


class _Together:
    """Two hashes that read the same bytes: of all files, and of one file alone."""

    def __init__(self, *digests: Any) -> None:
        self._digests = digests

    def update(self, data: bytes) -> None:
        for digest in self._digests:
            digest.update(data)


def _update(digest: Any, path: str, limit: int | None, pace: Pace) -> None:
    try:
        with Path(path).open("rb", buffering=0) as file:
            left = limit
            while block := file.read(_BLOCK_BYTES if left is None else min(left, _BLOCK_BYTES)):
                digest.update(block)
                left = None if left is None else left - len(block)
                pace.read(len(block))
    except OSError:
        digest.update(b"unreadable")
