"""Files that a run stores, and the notes that keep them from being forgotten while the lake has not taken them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lightning_lde.capture import REDACTED, checkpoint_fingerprint
from lightning_lde.errors import StoreError
from lightning_lde.lake import LakeStorage
from lightning_lde.recording._files import without_secrets
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._known import Remembered, slow_hash
from lightning_lde.recording._spool import NOTE_SUFFIX, SpoolHeader
from lightning_lde.schema import Artifact, new_run_id, utc_now


@dataclass(frozen=True)
class RunFile:
    """A file on the local disk that a run stores.

    Attributes:
        source: Where it lies.
        path: The path under which the run keeps it.
        kind: ``"checkpoint"`` or another word.
        run_id: The run.
        segment: Its segment.
        size_bytes: Its size when it was given, None if it was not there.
        modified_ns: When it was last changed by then, in nanoseconds since 1970.
        score: What a checkpoint was chosen by.
        weights_id: The fingerprint of the weights in it, where it was given.
    """

    source: str
    path: str
    kind: str
    run_id: str
    segment: int
    size_bytes: int | None = None
    modified_ns: int | None = None
    score: float | None = None
    weights_id: str | None = None

    def as_it_is_now(self) -> RunFile:
        """The same file with the size and time that it has at present."""
        try:
            found = Path(self.source).stat()
        except OSError:
            return replace(self, size_bytes=None, modified_ns=None)
        return replace(self, size_bytes=found.st_size, modified_ns=found.st_mtime_ns)


class Stored(NamedTuple):
    """What became of a file.

    Attributes:
        artifact: Its row, None where it can never be stored.
        warning: What people should know, None for nothing.
    """

    artifact: Artifact | None
    warning: str | None = None


def store_file(storage: LakeStorage, file: RunFile, governance: Governance) -> Stored:
    """Store a file as an object of the lake, without the secrets in it.

    Args:
        storage: The lake.
        file: The file.
        governance: Knows secrets.

    Raises:
        StoreError: If the lake does not take it now.
    """
    source, warning = Path(file.source), None
    try:
        with without_secrets(source, governance) as (clean, n_secrets):
            stored = storage.put_artifact(clean)
    except StoreError:
        raise
    except OSError as error:
        # The file itself: trying again would hold up all that come after it.
        gone = isinstance(error, FileNotFoundError)
        why = "was gone before it could be stored" if gone else f"could not be read and was not stored: {error}"
        return Stored(None, f"{file.path} {why}")
    if n_secrets:
        what = f"{file.path} held {n_secrets} of what looks like secrets: stored with them masked"
        warning = f"{what}; `save_hyperparameters(ignore=[…])` keeps them out"
    weights_id = file.weights_id
    if weights_id is None and file.kind == "checkpoint":
        weights_id = checkpoint_fingerprint(source)
    artifact = Artifact(
        run_id=file.run_id,
        segment=file.segment,
        path=file.path,
        kind=file.kind,
        size_bytes=stored.size_bytes,
        object_id=stored.object_id,
        recipe=stored.recipe,
        score=file.score,
        weights_id=weights_id,
        recorded_at=utc_now(),
    )
    return Stored(artifact, warning)


class Notes:
    """Notes in the spool, one for each file that is not in the lake yet.

    One thread writes and removes them; any thread says what shall be noted and what is stored.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[RunFile, Path | None] = {}
        self._stored: list[RunFile] = []

    def add(self, file: RunFile) -> None:
        """Have a file noted."""
        with self._lock:
            self._waiting[file] = None

    def is_stored(self, file: RunFile) -> None:
        """Have a file's note removed; its row, or what is to be said of it, was recorded before."""
        with self._lock:
            self._stored.append(file)

    def note_of(self, file: RunFile) -> Path | None:
        """Where a file is noted, None where it is not."""
        with self._lock:
            return self._waiting.get(file)

    @property
    def unstored(self) -> list[str]:
        """The paths of the files that are not in the lake yet."""
        with self._lock:
            return [file.path for file in self._waiting if file not in self._stored]

    def take_stored(self) -> list[RunFile]:
        """What was stored until now."""
        with self._lock:
            stored, self._stored = self._stored, []
            return stored

    def remove(self, files: Iterable[RunFile]) -> None:
        """Remove the notes of files whose rows are on the disk by now."""
        for file in files:
            with self._lock:
                note = self._waiting.pop(file, None)
            if note is not None:
                note.unlink(missing_ok=True)

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
            missing = [file for file, note in self._waiting.items() if note is None and file not in self._stored]
        for file in missing:
            with contextlib.suppress(OSError):
                note = write_note(folder, header, replace(file, path=governance.text(file.path)), governance)
                with self._lock:
                    self._waiting[file] = note


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
        "file": asdict(replace(file, source=hidden)),
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
        return Note(
            header, file if source_hash is None else _found_again(file, source_hash, remembered.salt), remembered
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a readable note of a file") from error


def _found_again(file: RunFile, source_hash: str, salt: str) -> RunFile:
    """The file whose path had secrets in it; as it is noted where there is none of that path, size and time."""
    places = [Path()]
    for part in Path(file.source).parts:
        if REDACTED not in part:
            places = [place / part for place in places]
            continue
        form = re.compile(".+".join(map(re.escape, part.split(REDACTED))), re.DOTALL)
        places = [entry for place in places for entry in _entries(place) if form.fullmatch(entry.name)]
    for place in places:
        candidate = replace(file, source=str(place))
        if candidate.as_it_is_now() == candidate and slow_hash(candidate.source, salt) == source_hash:
            return candidate
    return file


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
