"""Keeps files that wait to be stored, whatever becomes of the originals: under a second name, or as a copy."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lightning_lde.recording._run_files import RunFile
from lightning_lde.recording._sender import Sender
from lightning_lde.recording._spool import KEPT_SUFFIX, PART_SUFFIX

ROOM_FOR = 3
"""So many files of its size must have room on the disk beside a file that is kept: training comes first."""


class Keeper:
    """Keeps files until they are stored.

    Training deletes checkpoints that others have beaten, and replaces the last one. A hard link costs microseconds and
    holds the content until it is removed: in the run's spool where that is on the same file system, else beside the
    file, hidden. Where there are no hard links, a thread makes a copy in the spool. What is written into a file in
    place is written into its link too; whoever stores it sees that by size and time.

    Args:
        spool: Gives the run's spool folder and the file system that it lies on, None where there is none.
    """

    def __init__(self, spool: Callable[[], tuple[Path, int] | None]) -> None:
        self._spool = spool
        self._copies = Sender("lde-keep")
        self._lock = threading.Lock()
        self._copied: set[RunFile] = set()

    def keep(self, file: RunFile) -> RunFile:
        """The same file, kept if it can be; a copy comes later.

        Args:
            file: As it is now.
        """
        try:
            found = Path(file.source).stat()
            if not stat.S_ISREG(found.st_mode) or not _has_room(Path(file.source).parent, found.st_size):
                return file
            # A link of a name that is itself a link would name whatever that one names later.
            real = Path(file.source).resolve(strict=True)
        except (OSError, RuntimeError):
            return file
        name = uuid.uuid4().hex
        spool = self._spool()
        places = [spool[0] / f"{name}{KEPT_SUFFIX}"] if spool is not None and spool[1] == found.st_dev else []
        for place in [*places, Path(file.source).parent / f".lde-{name}{KEPT_SUFFIX}"]:
            with contextlib.suppress(OSError):
                os.link(real, place)
                return replace(file, kept=str(place))
        return file if spool is None else self._copy_later(file, spool[0] / f"{name}{KEPT_SUFFIX}")

    def let_go(self, file: RunFile) -> None:
        """Have no copy made of a file that is stored by now."""
        with self._lock:
            self._copied.discard(file)

    def _copy_later(self, file: RunFile, place: Path) -> RunFile:
        kept = replace(file, kept=str(place))

        def copy() -> None:
            part = place.with_suffix(PART_SUFFIX)
            with contextlib.suppress(OSError):
                if kept in self._copied and _has_room(place.parent, file.size_bytes or 0):
                    shutil.copyfile(file.source, part)
                    part.chmod(0o600)
                    os.utime(part, ns=(file.modified_ns or 0, file.modified_ns or 0))
                    # Not where it was written over, or stored, meanwhile.
                    if file.as_it_is_now() == file:
                        with self._lock:
                            if kept in self._copied:
                                part.rename(place)
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            self.let_go(kept)

        with self._lock:
            self._copied.add(kept)
        self._copies.add(copy)
        return kept


def _has_room(folder: Path, size_bytes: int) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >= ROOM_FOR * size_bytes
