"""Which files a run wants stored, and how far each is on its way; each is noted in the spool until it is there."""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_lde.lake import StoredObject
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._note_files import let_go, write_note
from lightning_lde.recording._run_files import RunFile
from lightning_lde.recording._spool import SpoolHeader


class _State(enum.IntEnum):
    """How far a file is on its way."""

    WAITS = 0
    STORED = 1
    """Its row, or what is to be said of it, was recorded."""
    ON_DISK = 2
    """The row is in the spool."""
    SENT = 3
    """The row is in the lake."""


@dataclass
class _Waiting:
    """A file that is not in the lake, or of which nobody has seen yet that it stays there.

    Attributes:
        state: How far it is.
        note: Where it is noted on the disk, None while it is not.
        content: What lies in the lake, None where nothing does.
        parcel: The number of the parcel with its row.
    """

    state: _State = _State.WAITS
    note: Path | None = None
    content: StoredObject | None = None
    parcel: int = -1


class Notes:
    """Notes in the spool, one for each file that is not safely in the lake, with its row, yet.

    One thread writes them and one removes them; any thread says what shall be noted and what is stored.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[RunFile, _Waiting] = {}

    def add(self, file: RunFile) -> None:
        """Have a file noted."""
        with self._lock:
            self._waiting.setdefault(file, _Waiting())

    def is_stored(self, file: RunFile, content: StoredObject | None) -> None:
        """Note that a file is stored; its row was recorded before.

        Args:
            file: The file.
            content: What lies in the lake, None where it can never be stored.
        """
        with self._lock:
            if waiting := self._waiting.get(file):
                waiting.state, waiting.content = _State.STORED, content

    def waits_again(self, file: RunFile) -> None:
        """Note that a file has to be stored once more."""
        with self._lock:
            if waiting := self._waiting.get(file):
                waiting.state = _State.WAITS

    def forget(self, file: RunFile) -> None:
        """Have nothing more to do with a file, whose note somebody else has taken."""
        with self._lock:
            self._waiting.pop(file, None)

    def note_of(self, file: RunFile) -> Path | None:
        """Where a file is noted, None where it is not."""
        with self._lock:
            waiting = self._waiting.get(file)
        return None if waiting is None else waiting.note

    def is_given_again(self, file: RunFile) -> bool:
        """Whether a later version of a file waits too."""
        with self._lock:
            same = [other for other in self._waiting if other.source == file.source]
        return file in same[:-1]

    @property
    def unstored(self) -> list[RunFile]:
        """The files that are not in the lake yet."""
        with self._lock:
            return [file for file, waiting in self._waiting.items() if waiting.state is _State.WAITS]

    def stored(self) -> list[RunFile]:
        """What was stored until now, and is not known to be on the disk."""
        with self._lock:
            return [file for file, waiting in self._waiting.items() if waiting.state is _State.STORED]

    def are_on_disk(self, files: Iterable[RunFile], parcel: int) -> None:
        """Note that the rows of files are part of a parcel, or of an earlier one."""
        with self._lock:
            for file in files:
                if (waiting := self._waiting.get(file)) and waiting.state is _State.STORED:
                    waiting.state, waiting.parcel = _State.ON_DISK, parcel

    def take_sent(self, last_parcel: int) -> list[tuple[RunFile, StoredObject | None]]:
        """The files whose rows came into the lake since this was asked last, and what lies there of each.

        Args:
            last_parcel: The number of the newest parcel that was sent.
        """
        sent = []
        with self._lock:
            for file, waiting in self._waiting.items():
                if waiting.state is _State.ON_DISK and waiting.parcel <= last_parcel:
                    waiting.state = _State.SENT
                    sent.append((file, waiting.content))
        return sent

    def remove(self, file: RunFile) -> None:
        """Let go of a file that is in the lake, its note and what kept it."""
        with self._lock:
            waiting = self._waiting.pop(file, None)
        if waiting is not None:
            let_go(waiting.note, file)

    def write(self, folder: Path | None, header: SpoolHeader, governance: Governance) -> None:
        """Write the notes that are not written.

        Args:
            folder: The folder of the spool, None where there is no disk.
            header: Where the run's rows belong.
            governance: Knows secrets.
        """
        if folder is None:
            return
        with self._lock:
            missing = [file for file, waiting in self._waiting.items() if waiting.note is None]
        for file in missing:
            with contextlib.suppress(OSError):
                note = write_note(folder, header, replace(file, path=governance.text(file.path)), governance)
                with self._lock:
                    waiting = self._waiting.get(file)
                    if waiting is not None:
                        waiting.note = note
