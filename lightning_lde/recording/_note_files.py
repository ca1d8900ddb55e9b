"""The note of one file in the spool: where its content is, where its row belongs, and letting go of both."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from lightning_lde.capture import REDACTED
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._known import Remembered, slow_hash
from lightning_lde.recording._run_files import RunFile
from lightning_lde.recording._spool import DONE_SUFFIX, NOTE_SUFFIX, SpoolHeader, done_files, kept_files
from lightning_lde.schema import new_run_id


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
