"""What can be read off a Lightning Trainer without changing it."""

from __future__ import annotations

import pytorch_lightning as pl

_CONTEXTS = {"train": "train", "validate": "val", "sanity_check": "val", "test": "test", "predict": "predict"}


def checkpoints(trainer: pl.Trainer) -> dict[str, float | None]:
    """Paths of the checkpoints that Lightning keeps, with what they were chosen by."""
    found: dict[str, float | None] = {}
    for callback in trainer.checkpoint_callbacks:
        for name in ("last_model_path", "best_model_path"):
            if path := getattr(callback, name, ""):
                found[str(path)] = None
        for path, score in (getattr(callback, "best_k_models", None) or {}).items():
            found[str(path)] = float(score)
    return found


def stop_reason(trainer: pl.Trainer) -> str | None:
    """Why a fit ended, None for anything but a fit."""
    if trainer.state.fn != "fit":
        return None
    for callback in trainer.early_stopping_callbacks:
        if message := getattr(callback, "stopping_reason_message", None):
            return str(message)
    if trainer.max_epochs is not None and 0 < trainer.max_epochs <= trainer.current_epoch:
        return f"max_epochs={trainer.max_epochs} reached"
    if 0 < trainer.max_steps <= trainer.global_step:
        return f"max_steps={trainer.max_steps} reached"
    return "asked to stop" if trainer.should_stop else None


def context(trainer: pl.Trainer) -> str | None:
    """The word for what the trainer is doing: train, val, test or predict."""
    stage = trainer.state.stage
    return None if stage is None else _CONTEXTS.get(str(stage.value))


def is_silent(trainer: pl.Trainer) -> bool:
    """Whether Lightning itself logs nothing in this mode."""
    return bool(getattr(trainer, "fast_dev_run", False) or getattr(trainer, "barebones", False))


def is_dummy(logger: object) -> bool:
    """Whether a logger is what Lightning puts in place of loggers that must be silent."""
    return type(logger).__name__ == "DummyLogger"


def is_sigterm(exception: BaseException) -> bool:
    """Whether Lightning raised this because the process was asked to end."""
    return type(exception).__name__ == "SIGTERMException"
