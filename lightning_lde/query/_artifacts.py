"""Files of runs: which there are, and each of them as a file to read, to save or to load."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from lightning_lde.errors import ArchivedError, ArtifactNotFoundError, ConfigurationError, DataError
from lightning_lde.lake.objects import CHUNKS, first_path
from lightning_lde.lake.tiers import checkpoint_mode
from lightning_lde.query._placed import why_unreadable
from lightning_lde.schema import Tier

if TYPE_CHECKING:
    import pyarrow as pa

    from lightning_lde.query._lake import Lake

OBJECTS = "objects/"
BEST, LAST = "best", "last"
MODES = ("min", "max")

_COLUMNS = "path, kind, size_bytes, tier, score, weights_id, object_id, recipe, segment, recorded_at"
_GLOBAL = re.compile(r"(?:GLOBAL |class ')([\w.]+)")


@dataclass(frozen=True)
class RunArtifact:
    """A file of a run in a lake. What is read of it is verified by its hashes.

    Attributes:
        run_id: The run.
        path: The path under which the run keeps it.
        kind: ``"checkpoint"`` or another word.
        size_bytes: Its size.
        tier: ``"hot"``, ``"cold"`` or ``"deleted"``.
        score: What a checkpoint was chosen by, None where there was nothing.
        weights_id: The fingerprint of the weights in it.
        object_id: The SHA-256 of its content.
        recipe: What it is put together by.
        segment: The segment of the run that stored it.
        recorded_at: When it was stored.
    """

    lake: Lake = field(repr=False)
    run_id: str
    path: str
    kind: str
    size_bytes: int
    tier: str
    score: float | None
    weights_id: str | None
    object_id: str
    recipe: str
    segment: int
    recorded_at: datetime

    def open(self) -> BinaryIO:
        """The file, to be read from anywhere; only what is read is fetched.

        Raises:
            ArtifactNotFoundError: If it was deleted.
            ArchivedError: If it is in an archive.
            StoreError: If it is damaged, here or where it is read.
        """
        with self._with_reasons():
            return self.lake.storage.open_object(self.object_id, self.recipe)

    def read(self) -> bytes:
        """Its content; raises as `open` does."""
        with self._with_reasons():
            return self.lake.storage.get_object(self.object_id, self.recipe)

    def save(
        self, target: str | os.PathLike[str], *, overwrite: bool = False, tell: Callable[[int], None] | None = None
    ) -> Path:
        """Write it into a local file, which appears when all of it is there and verified.

        Args:
            target: The file.
            overwrite: Whether a file of that name is replaced.
            tell: Called with the number of bytes of each portion that was written.

        Returns:
            The file.

        Raises:
            FileExistsError: If there is a file of that name that is not to be replaced, or no file but something else.
            ArtifactNotFoundError: If it was deleted.
            ArchivedError: If it is in an archive.
            StoreError: If it is damaged.
        """
        place = Path(target)
        if os.path.lexists(place):
            if not place.is_file():
                raise FileExistsError(f"{place} is there, and is no file")
            if not overwrite:
                raise FileExistsError(f"{place} exists: it is not replaced")
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".lde-{secrets.token_hex(8)}.tmp")
        try:
            with self._with_reasons():
                self.lake.storage.copy_object(self.object_id, self.recipe, temporary, tell=tell)
            if overwrite:
                temporary.replace(place)
            else:
                _name(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
        return place

    def load_checkpoint(self, *, map_location: Any = "cpu", weights_only: bool = True) -> Any:
        """What `torch.save`, or Lightning, wrote into it.

        Args:
            map_location: Where tensors go, as `torch.load` takes it.
            weights_only: Whether only tensors and plain values may be in it. With False everything that is pickled in
                it is run: only for files that you trust.

        Raises:
            DataError: If it needs ``weights_only=False``, or is no file of torch.
        """
        import torch

        with self.open() as file:
            try:
                return torch.load(file, map_location=map_location, weights_only=weights_only)
            except pickle.UnpicklingError as error:
                raise DataError(self._why_not_loaded(str(error), weights_only=weights_only)) from error
            except (EOFError, RuntimeError, ValueError) as error:
                first = next(iter(str(error).splitlines()), type(error).__name__)
                raise DataError(f"{self.path} of run {self.run_id} cannot be loaded by torch: {first}") from error

    def _why_not_loaded(self, message: str, *, weights_only: bool) -> str:
        name = f"{self.path} of run {self.run_id}"
        found = _GLOBAL.search(message)
        if not weights_only or found is None:
            return f"{name} cannot be loaded by torch: {message.splitlines()[0] if message else 'it is damaged'}"
        return (
            f"{name} holds more than tensors and plain values ({found[1]}): allow that with "
            "torch.serialization.add_safe_globals, or load it with weights_only=False, which runs what is pickled in "
            "it, if you trust the file"
        )

    @contextlib.contextmanager
    def _with_reasons(self) -> Iterator[None]:
        try:
            yield
        except (ArchivedError, FileNotFoundError) as error:
            row = {"object_id": self.object_id, "tier": self.tier}
            raise why_unreadable(self.lake, self.run_id, self.path, row, error) from error


@dataclass(frozen=True)
class Space:
    """What the files of a run take below the lake's root.

    Attributes:
        stored_bytes: All that they consist of, compressed, and what they have in common once.
        own_bytes: Of that, what no file of another run consists of.
    """

    stored_bytes: int
    own_bytes: int


def space_of(lake: Lake, run_id: str) -> Space:
    """How much room the files of a run take; it reads the recipes of all files, and lists all chunks."""
    storage = lake.storage
    holdings = storage.references().holdings
    mine = {path for one in holdings if one.run_id == run_id for path in one.paths}
    others = {path for one in holdings if one.run_id != run_id for path in one.paths}
    sizes: dict[str, int] = {}
    for folder in (OBJECTS, CHUNKS):
        for found in storage.store.list(folder):
            sizes[first_path(found.path)] = found.size_bytes
    stored, own = (sum(sizes.get(path, 0) for path in paths) for paths in (mine, mine - others))
    return Space(stored, own)


def artifacts_of(lake: Lake, run_id: str) -> pa.Table:
    """The files of a run, newest version of each path first."""
    return lake.sql(f"select {_COLUMNS} from artifacts where run_id = ? order by path, recorded_at desc", [run_id])


def each_artifact(lake: Lake, run_id: str) -> list[RunArtifact]:
    """The newest version of each file of a run, in the order of their paths."""
    known = {one.name for one in fields(RunArtifact)}
    newest: dict[str, RunArtifact] = {}
    for row in artifacts_of(lake, run_id).to_pylist():
        facts = {name: value for name, value in row.items() if name in known}
        newest.setdefault(row["path"], RunArtifact(lake=lake, run_id=run_id, **facts))
    return list(newest.values())


def artifact_of(lake: Lake, run_id: str, path: str) -> RunArtifact:
    """The newest version of a file of a run.

    Raises:
        ArtifactNotFoundError: If the run has no file of that path.
    """
    for found in each_artifact(lake, run_id):
        if found.path == path:
            return found
    raise ArtifactNotFoundError(f"run {run_id} has no file {path!r}: `lde artifacts {lake.url} {run_id}` lists them")


def checkpoint_of(lake: Lake, run_id: str, which: str, *, mode: str | None) -> RunArtifact:
    """The best or the last checkpoint of a run, or the one of a path.

    Args:
        lake: The lake.
        run_id: The run.
        which: ``"best"``, ``"last"`` or a path.
        mode: Whether the ``"min"`` or the ``"max"`` score is the best, None for what the run's callbacks say.

    Raises:
        ArtifactNotFoundError: If there is none.
        ConfigurationError: If nobody knows which score is the best.
    """
    if which not in {BEST, LAST}:
        return artifact_of(lake, run_id, which)
    if mode is not None and mode not in MODES:
        raise ConfigurationError(f"mode is {mode!r}: give 'min', 'max' or None")
    found = [one for one in each_artifact(lake, run_id) if one.kind == "checkpoint" and one.tier != Tier.DELETED]
    if not found:
        raise ArtifactNotFoundError(f"run {run_id} has no checkpoint: `lde artifacts {lake.url} {run_id}` lists files")
    last = max(found, key=lambda one: (one.segment, one.recorded_at))
    scored = {one.path: one.score for one in found if one.score is not None and not math.isnan(one.score)}
    if which == LAST or not scored:
        return last
    if mode is None and len(set(scored.values())) > 1:
        mode = _mode_of(lake, run_id)
    best = (max if mode == "max" else min)(scored.values())
    return max((one for one in found if scored.get(one.path) == best), key=lambda one: (one.segment, one.recorded_at))


def _mode_of(lake: Lake, run_id: str) -> str:
    query = "select trainer from runs left join pipeline_configs using (pipeline_config_id) where run_id = ?"
    for row in lake.sql(query, [run_id]).to_pylist():
        if (mode := checkpoint_mode(row["trainer"])) is not None:
            return mode
    raise ConfigurationError(f"nobody knows which score of run {run_id} is the best: give mode='min' or mode='max'")


def _name(temporary: Path, place: Path) -> None:
    """Give a whole file its name, unless another one has it by now."""
    try:
        os.link(temporary, place)
    except FileExistsError:
        raise FileExistsError(f"{place} exists: it is not replaced") from None
    except OSError:
        # No hard links there.
        if os.path.lexists(place):
            raise FileExistsError(f"{place} exists: it is not replaced") from None
        temporary.replace(place)
