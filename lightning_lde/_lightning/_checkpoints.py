"""Gives the checkpoints of a fit to the recorder: those that are there at its end, or each as soon as it is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lde._lightning import _trainer
from lightning_lde.recording import Recorder

if TYPE_CHECKING:
    import pytorch_lightning as pl

_LOOKS = 100


class Checkpoints:
    """The checkpoints of one fit.

    Args:
        recorder: The run's recorder.
        at_once: Whether each is given when it is written, and not only those that are left at the end.

    Attributes:
        looks_left: How often it is worth looking for new ones.
    """

    def __init__(self, recorder: Recorder, *, at_once: bool) -> None:
        self._recorder = recorder
        self._at_once = at_once
        self.looks_left = 0
        self._given: set[tuple[object, ...]] = set()
        self._root: Path | None = None

    def expect(self) -> None:
        """One is about to be written: Lightning says so before, and not when it is there."""
        self.looks_left = _LOOKS if self._at_once else 0

    def look(self, trainer: pl.Trainer) -> None:
        """Give what was written since; to be called in each hook before Lightning saves or deletes in it."""
        if self.looks_left:
            named = _trainer.checkpoints(trainer, since=self._recorder.run.started_at, folders=False)
            # One that another thread still writes comes later.
            are_there = all(path.exists() for path in _trainer.named_checkpoints(trainer))
            self.looks_left = 0 if are_there else self.looks_left - 1
            self._give(named, self._folder_of_all(trainer))

    def finish(self, trainer: pl.Trainer) -> None:
        """Give what is there and was not given."""
        found = _trainer.checkpoints(trainer, since=self._recorder.run.started_at)
        if self._at_once:
            self._give(found, self._folder_of_all(trainer))
        elif found:
            self._give(found, Path(os.path.commonpath([path.parent for path in found])))

    def _give(self, found: Mapping[Path, float | None], root: Path) -> None:
        # In the order in which they were written: the run's newest file is its last one.
        for path, score in sorted(found.items(), key=lambda one: _written_at(one[0])):
            if path.is_dir():
                self._recorder.say_once("artifact", f"{path.name} is a folder; sharded checkpoints are not stored")
                continue
            with contextlib.suppress(FileNotFoundError):
                known = path.stat()
                content = (path, known.st_ino, known.st_size, known.st_mtime_ns)
                if content not in self._given:
                    self._given.add(content)
                    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
                    self._recorder.save_file(path, path=f"checkpoints/{name}", kind="checkpoint", score=score)

    def _folder_of_all(self, trainer: pl.Trainer) -> Path:
        """Below which all checkpoints of the fit will lie: their names must not change when more of them come."""
        if self._root is None:
            folders = [getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks]
            absolute = [Path(folder).absolute() for folder in folders if folder]
            self._root = Path(os.path.commonpath(absolute)) if absolute else Path()
        return self._root


def _written_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
