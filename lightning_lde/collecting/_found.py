"""What lies in a watched folder: files of samples, and the class that their place says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightning_lde.fewshot import IMAGE_ENDINGS

ARRAY, PACK = ".npy", ".parquet"
LABELS = ".labels.npy"
_ENDINGS = (*IMAGE_ENDINGS, ARRAY, PACK)
_SPLITS = {"train", "val", "test"}


@dataclass(frozen=True)
class FoundFile:
    """A file of samples.

    Attributes:
        path: Below the watched folder, as the file system has it.
        size_bytes: Its size.
        mtime_ns: When it was written last.
        label: The class that its folder names; None where it lies in the watched folder itself.
    """

    path: bytes
    size_bytes: int
    mtime_ns: int
    label: str | None

    @property
    def ending(self) -> str:
        """The ending of its name, in small letters."""
        return Path(os.fsdecode(self.path)).suffix.lower()

    @property
    def name(self) -> str:
        """Its path for people: what is no UTF-8 stands there as an escape."""
        return readable(self.path)


def readable(name: bytes) -> str:
    """A name of the file system as text that every encoding of Unicode takes."""
    return name.decode("utf-8", "backslashreplace")


def find_files(folder: bytes, tell: Callable[[str], None]) -> list[FoundFile]:
    """Files of samples below a folder, the oldest first; hidden ones are left out, links to folders not followed.

    The class of a file is the first folder on its way, or the second one where the first are ``train``, ``val`` and
    ``test``.

    Args:
        folder: The folder.
        tell: Called with a sentence about a folder that cannot be read.
    """
    found = sorted(_walk(folder, b"", tell), key=lambda one: (one.mtime_ns, one.path))
    tops = {one.path.split(b"/")[0] for one in found if b"/" in one.path}
    is_split = bool(tops) and {readable(top) for top in tops} <= _SPLITS
    if not is_split:
        return found
    return [FoundFile(one.path, one.size_bytes, one.mtime_ns, _label(one.path.split(b"/")[1:])) for one in found]


def _walk(root: bytes, below: bytes, tell: Callable[[str], None]) -> Iterator[FoundFile]:
    try:
        with os.scandir(root + b"/" + below) as entries:
            listed = [entry for entry in entries if not entry.name.startswith(b".")]
    except OSError as error:
        if not below:
            raise
        tell(f"{readable(below)}/ cannot be read ({error.strerror}); it is left out")
        return
    for entry in listed:
        path = below + b"/" + entry.name if below else entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, path, tell)
            elif _is_samples(entry.name) and entry.is_file():
                facts = entry.stat()
                yield FoundFile(path, facts.st_size, facts.st_mtime_ns, _label(path.split(b"/")))
        except FileNotFoundError:
            # It went between the listing and the look.
            continue


def _label(parts: list[bytes]) -> str | None:
    return readable(parts[0]) if len(parts) > 1 else None


def _is_samples(name: bytes) -> bool:
    lower = readable(name).lower()
    return lower.endswith(_ENDINGS) and not lower.endswith(LABELS)
