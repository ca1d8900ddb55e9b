"""Files that a run stores: what is known of each, and how it becomes an object of the lake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lightning_lde.capture import checkpoint_fingerprint
from lightning_lde.errors import StoreError
from lightning_lde.lake import LakeStorage, StoredObject
from lightning_lde.recording._files import without_secrets
from lightning_lde.recording._governance import Governance
from lightning_lde.schema import Artifact, utc_now


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
        kept: Where a second name, or a copy, keeps it from being lost with the first; None for nowhere.
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
    kept: str | None = None

    def as_it_is_now(self) -> RunFile:
        """The same file with the size and time that it has at present."""
        size_bytes, modified_ns = _looks(Path(self.source))
        return replace(self, size_bytes=size_bytes, modified_ns=modified_ns)

    def find(self) -> Found:
        """Where its content is, and whether it is the one that was given."""
        source, kept = Path(self.source), None if self.kept is None else Path(self.kept)
        # What keeps it comes first: the file itself may go while it is read.
        for place in filter(None, (kept, source)):
            if self.size_bytes is not None and _looks(place) == (self.size_bytes, self.modified_ns):
                return Found(place, is_as_given=True)
        return Found(source if kept is None or source.exists() else kept, is_as_given=False)


class Found(NamedTuple):
    """Where the content of a file is.

    Attributes:
        place: The file itself or what keeps it; there may be nothing.
        is_as_given: Whether size and time of change are those that it had when it was given.
    """

    place: Path
    is_as_given: bool


class Stored(NamedTuple):
    """What became of a file.

    Attributes:
        artifact: Its row, None where it can never be stored.
        warning: What people should know, None for nothing.
        content: What lies in the lake, to be looked for again when the row is there too.
    """

    artifact: Artifact | None
    warning: str | None = None
    content: StoredObject | None = None


def store_latest(
    storage: LakeStorage, file: RunFile, governance: Governance, is_given_again: Callable[[], bool]
) -> Stored:
    """Store a file as it was given, or as it is now where somebody has written into it since.

    Args:
        storage: The lake.
        file: The file.
        governance: Knows secrets.
        is_given_again: Whether a later version of it waits too: what was written into it is stored with that one.

    Raises:
        StoreError: If the lake does not take it now, or somebody writes into it now.
    """
    found = file.find()
    if found.is_as_given or file.size_bytes is None:
        stored = store_file(storage, file, found.place, governance)
        # It may have gone while it was read, when the copy that keeps it was just there.
        again = file.find() if stored.artifact is None else found
        if again.is_as_given and again.place != found.place:
            return store_file(storage, file, again.place, governance)
        return stored
    if is_given_again():
        return Stored(None, f"{file.path} was written over before it could be stored: one version of it is lost")
    # What was known of the content that was given may not be true of this one.
    stored = store_file(storage, replace(file, score=None, weights_id=None), found.place, governance)
    if stored.artifact is None:
        return stored
    words = [f"{file.path} was changed after it was given, and was stored as it was later", stored.warning]
    return stored._replace(warning="; ".join(word for word in words if word))


def store_file(storage: LakeStorage, file: RunFile, place: Path, governance: Governance) -> Stored:
    """Store a file as an object of the lake, without the secrets in it.

    Args:
        storage: The lake.
        file: The file.
        place: Where its content is.
        governance: Knows secrets.

    Raises:
        StoreError: If the lake does not take it now, or somebody writes into it now.
    """
    warning, before = None, _looks(place)
    try:
        with without_secrets(place, governance) as (clean, n_secrets):
            content = storage.put_artifact(clean)
    except StoreError:
        raise
    except OSError as error:
        # The file itself: trying again would hold up all that come after it.
        gone = isinstance(error, FileNotFoundError)
        why = "was gone before it could be stored" if gone else f"could not be read and was not stored: {error}"
        return Stored(None, f"{file.path} {why}")
    weights_id = file.weights_id
    if weights_id is None and file.kind == "checkpoint":
        weights_id = checkpoint_fingerprint(place)
    if _looks(place) not in {before, (None, None)}:
        # Half of one version and half of another may have been read.
        raise StoreError(f"{file.path} changed while it was stored; try again")
    if n_secrets:
        what = f"{file.path} held {n_secrets} of what looks like secrets: stored with them masked"
        warning = f"{what}; `save_hyperparameters(ignore=[…])` keeps them out"
    artifact = Artifact(
        run_id=file.run_id,
        segment=file.segment,
        path=file.path,
        kind=file.kind,
        size_bytes=content.size_bytes,
        object_id=content.object_id,
        recipe=content.recipe,
        score=file.score,
        weights_id=weights_id,
        recorded_at=utc_now(),
    )
    return Stored(artifact, warning, content)


def _looks(path: Path) -> tuple[int | None, int | None]:
    """Size and time of the last change."""
    try:
        found = path.stat()
    except OSError:
        return None, None
    return found.st_size, found.st_mtime_ns
