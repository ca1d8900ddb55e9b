"""What can be read off a Lightning Trainer without changing it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lde.recording import Moment

if TYPE_CHECKING:
    import pytorch_lightning as pl

_SANITY_CHECK = "sanity_check"
_CONTEXTS = {"train": "train", "validate": "val", _SANITY_CHECK: "val", "test": "test", "predict": "predict"}


def checkpoints(trainer: pl.Trainer, *, since: datetime, folders: bool = True) -> dict[Path, float | None]:
    """Checkpoints on the disk, with what they were chosen by.

    Args:
        trainer: The trainer.
        since: Older files in the same folders belong to other runs.
        folders: Whether to look through the folders too, and not only for those that the callbacks name.
    """
    scores: dict[Path, float | None] = {}
    for callback in trainer.checkpoint_callbacks:
        found = _named(callback)
        if folders and (folder := getattr(callback, "dirpath", None)):
            found += sorted(Path(folder).glob("*.ckpt"))
        scores |= {path.absolute(): scores.get(path.absolute()) for path in found}
        for path, score in (getattr(callback, "best_k_models", None) or {}).items():
            scores[Path(path).absolute()] = float(score)
    start = since.timestamp()
    return {path: score for path, score in scores.items() if path.exists() and path.stat().st_mtime >= start - 1}


def named_checkpoints(trainer: pl.Trainer) -> list[Path]:
    """The checkpoints that the callbacks call their last and their best, whether they are there or not."""
    return [path for callback in trainer.checkpoint_callbacks for path in _named(callback)]


def _named(callback: object) -> list[Path]:
    # The newest stands under a private name only, where it is neither.
    names = ("last_model_path", "best_model_path", "_last_checkpoint_saved")
    return [Path(path) for name in names if (path := getattr(callback, name, ""))]


def stop_reason(trainer: pl.Trainer) -> str | None:
    """Why a fit ended, None for anything but a fit."""
    if trainer.state.fn != "fit":
        return None
    for callback in trainer.early_stopping_callbacks:
        if message := getattr(callback, "stopping_reason_message", None):
            return str(message)
        # Before 2.6 Lightning did not keep its message.
        if getattr(callback, "stopped_epoch", 0) and callback.wait_count >= callback.patience:
            return f"{callback.monitor} did not improve in {callback.wait_count} checks"
    if trainer.max_epochs is not None and 0 < trainer.max_epochs <= trainer.current_epoch:
        return f"max_epochs={trainer.max_epochs} reached"
    if 0 < trainer.max_steps <= trainer.global_step:
        return f"max_steps={trainer.max_steps} reached"
    return "asked to stop" if trainer.should_stop else None


def context(trainer: pl.Trainer) -> str | None:
    """The word for what the trainer is doing: train, val, test or predict."""
    stage = trainer.state.stage
    return None if stage is None else _CONTEXTS.get(str(stage.value))


def is_sanity_checking(trainer: pl.Trainer) -> bool:
    """Whether validation is only tried out; Lightning's own property takes as long as logging a value."""
    stage = trainer.state.stage
    return stage is not None and stage.value == _SANITY_CHECK


def moment(trainer: pl.Trainer) -> Moment:
    """Where the training stands, with the step that Lightning gives to loggers."""
    global_step = trainer.global_step
    step = getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", global_step)
    return Moment(step, global_step, trainer.current_epoch, context(trainer))


def logs_this_step(trainer: pl.Trainer) -> bool:
    """Whether Lightning would hand the values of the present training step to loggers, if there were any."""
    try:
        if not trainer.fit_loop.epoch_loop._results or not trainer._logger_connector.should_update_logs:
            return False
        return not (trainer.fit_loop._should_accumulate() and trainer.lightning_module.automatic_optimization)
    except (AttributeError, TypeError):
        return False


def may_log_this_step(trainer: pl.Trainer) -> bool:
    """Whether what is logged in the present training step can reach loggers; where that is not known, it may."""
    try:
        return bool(trainer._logger_connector.should_update_logs)
    except AttributeError:
        return True


class StepValues:
    """Reads the values of the training step that has ended, by the names that loggers would get.

    Lightning's own way to these values takes as long as logging them. It keeps one entry for each name from the
    first step on, so the entries are looked up once.
    """

    def __init__(self) -> None:
        self._results: Mapping[str, Any] = {}
        self._entries: list[tuple[str, Any]] = []
        self._known = -1

    def of(self, trainer: pl.Trainer) -> dict[str, Any]:
        """The values of the step; empty where Lightning has changed."""
        try:
            results = trainer.fit_loop.epoch_loop._results
            if results is not self._results or len(results) != self._known:
                self._look_up(results)
            return {
                name: value
                for name, entry in self._entries
                if not entry.has_reset and (value := entry._forward_cache) is not None
            }
        except (AttributeError, TypeError):
            return {}

    def _look_up(self, results: Mapping[str, Any]) -> None:
        self._results, self._known = results, len(results)
        self._entries = [
            (entry.meta.forked_name(on_step=True), entry)
            for entry in results.values()
            if entry.meta.logger and entry.meta.on_step
        ]


def is_silent(trainer: pl.Trainer) -> bool:
    """Whether Lightning itself logs nothing in this mode."""
    return bool(getattr(trainer, "fast_dev_run", False) or getattr(trainer, "barebones", False))


def is_dummy(logger: object) -> bool:
    """Whether a logger is what Lightning puts in place of loggers that must be silent."""
    return type(logger).__name__ == "DummyLogger"


def is_sigterm(exception: BaseException) -> bool:
    """Whether Lightning raised this because the process was asked to end."""
    return type(exception).__name__ == "SIGTERMException"


def has_requeue_checkpoint(trainer: pl.Trainer, *, since: datetime) -> bool:
    """Whether SLURM's signal made Lightning write a checkpoint to go on from, and put the job back into its queue."""
    root = Path(trainer.default_root_dir)
    return any(path.stat().st_mtime >= since.timestamp() for path in root.glob("hpc_ckpt_*.ckpt"))


def is_sharded(trainer: pl.Trainer) -> bool:
    """Whether no rank has all weights, so that a state dict is a matter of all ranks."""
    name = type(trainer.strategy).__name__
    return any(word in name for word in ("FSDP", "DeepSpeed", "ModelParallel"))


def names_of_loop(trainer: pl.Trainer) -> set[str] | None:
    """Names of the metrics that the loop that is running logged, None where Lightning does not say."""
    try:
        found: Mapping[str, object] = trainer._results.metrics(on_step=False)["callback"]  # type: ignore[union-attr]
    except (AttributeError, KeyError, TypeError):
        return None
    return set(found) & set(trainer.callback_metrics)
