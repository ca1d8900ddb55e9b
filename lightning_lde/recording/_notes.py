"""Notes in the spool that keep files from being forgotten while the lake has not taken them."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import re
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lightning_lde.capture import REDACTED
from lightning_lde.lake import StoredObject
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._known import Remembered, slow_hash
from lightning_lde.recording._run_files import RunFile
from lightning_lde.recording._spool import DONE_SUFFIX, NOTE_SUFFIX, SpoolHeader, done_files, kept_files
from lightning_lde.schema import new_run_id


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


class Note(NamedTuple):
    """What is kept of a file that the lake has not taken.

    Attributes:
        header: Where its row belongs.
        file: The file.
        remembered: The secrets that the process knew which wanted it stored.
    """

    header: SpoolHeader
    file: RunFile
    remembered: Remembered


def write_note(folder: Path, header: SpoolHeader, file: RunFile, governance: Governance) -> Path:
    """Write the note of one file; whoever reads it sees all of it.

    Args:
        folder: The folder of the spool.
        header: Where the run's rows belong.
        file: The file.
        governance: Knows secrets.

    Raises:
        OSError: If the disk does not take it.
    """
    remembered = governance.remembered
    # Names of files may hold secrets too: the file is found again by what is left of its path, and by a hash.
    hidden = str(Path(*map(governance.without_secrets, Path(file.source).parts)))
    note = {
        # Its row gets a writer of its own: the same name in the lake however often it is sent.
        "header": asdict(replace(header, writer=new_run_id(), number=0)),
        # What keeps it lies beside this note or beside the file.
        "file": asdict(replace(file, source=hidden, kept=None if file.kept is None else Path(file.kept).name)),
        "remembered": asdict(remembered),
        "source_hash": None if hidden == file.source else slow_hash(file.source, remembered.salt),
    }
    text = json.dumps(note)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}{NOTE_SUFFIX}"
    newborn = path.with_suffix(".new")
    newborn.write_text(text)
    return newborn.replace(path)


def read_note(path: Path) -> Note:
    """The note of one file.

    Raises:
        OSError: If the note cannot be read.
        ValueError: If it is damaged.
    """
    try:
        note = json.loads(path.read_text())
        header, remembered = SpoolHeader.from_dict(note["header"]), Remembered(**note.get("remembered", {}))
        file, source_hash = RunFile(**note["file"]), note.get("source_hash")
        if source_hash is not None:
            file = _found_again(file, source_hash, remembered.salt)
        return Note(header, _with_what_keeps_it(file, path.parent), remembered)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a readable note of a file") from error


def let_go(note: Path | None, file: RunFile) -> None:
    """Remove a note and what kept its file; who dies in between leaves what says that only the latter is to be done.

    Args:
        note: The note, None where there is none.
        file: Its file.
    """
    if note is not None and file.kept is not None:
        with contextlib.suppress(FileNotFoundError):
            note = note.rename(note.with_suffix(DONE_SUFFIX))
    if file.kept is not None:
        Path(file.kept).unlink(missing_ok=True)
    if note is not None:
        note.unlink(missing_ok=True)


def finish_letting_go(folder: Path) -> None:
    """Remove what is left in a spool of files that are in the lake. The folder must be locked.

    Args:
        folder: The folder.
    """
    for done in done_files(folder):
        with contextlib.suppress(OSError, ValueError):
            let_go(done, read_note(done).file)
    noted = set()
    for note in folder.glob(f"*{NOTE_SUFFIX}"):
        try:
            noted.add(read_note(note).file.kept)
        except (OSError, ValueError):
            # Nobody knows what it says: what lies here may be what it is about.
            return
    for kept in kept_files(folder):
        if str(kept) not in noted:
            kept.unlink(missing_ok=True)


def _found_again(file: RunFile, source_hash: str, salt: str) -> RunFile:
    """The file whose path had secrets in it; as it is noted where there is none of that path, size and time."""
    for place in _places(Path(file.source)):
        candidate = replace(file, source=str(place))
        if candidate.as_it_is_now() == candidate and slow_hash(candidate.source, salt) == source_hash:
            return candidate
    return file


def _with_what_keeps_it(file: RunFile, folder: Path) -> RunFile:
    """The file with the whole path of what keeps it: in a folder of the spool, or hidden beside the file itself."""
    if file.kept is None:
        return file
    name = Path(file.kept).name
    beside = [place / name for place in _places(Path(file.source).parent)]
    there = next((place for place in [folder / name, *beside] if place.exists()), None)
    return replace(file, kept=None if there is None else str(there))


def _places(path: Path) -> list[Path]:
    """What a path may be whose secrets were taken out of it; itself where none were."""
    places = [Path()]
    for part in path.parts:
        if REDACTED not in part:
            places = [place / part for place in places]
            continue
        form = re.compile(".+".join(map(re.escape, part.split(REDACTED))), re.DOTALL)
        places = [entry for place in places for entry in _entries(place) if form.fullmatch(entry.name)]
    return places


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
