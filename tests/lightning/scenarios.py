"""What people do with a Trainer, each with and without recording; `play` says what came of it.

Also a program, for scenarios that start processes: ``python -m tests.lightning.scenarios NAME FOLDER [LAKE]``.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from lightning_lde import LDECallback

from .models import Data, Net, TwoOptimizers
from .tracing import PACKAGE, Trace, Tracer, TracingLogger, pl

FINISHED, FAILED, INTERRUPTED, REQUEUED = "finished", "failed", "interrupted", "requeued"
Segments = list[tuple[str, str]]


@dataclass
class Outcome:
    """What must be the same with and without recording."""

    error: str
    trace: str
    weights: str
    chance: str


@dataclass(frozen=True)
class Scenario:
    """One thing that people do, and the segments of each run that a lake must have afterwards."""

    act: Callable[[Scene], None]
    runs: list[Segments]
    error: str = ""
    processes: bool = False


class Scene:
    """Where a scenario takes place.

    Args:
        folder: For everything that is written.
        lake: Where to record to, None for no recording.
    """

    def __init__(self, folder: Path, lake: Path | None) -> None:
        self.folder = folder
        self.lake = lake
        self.trace = Trace(folder)
        self.model: Any = Net()
        self.data = Data(self.trace)

    def recorders(self) -> list[Any]:
        return [] if self.lake is None else [LDECallback(self.lake, project="p", on_error="raise")]

    def trainer(self, *callbacks: Any, last: tuple[Any, ...] = (), **options: Any) -> Any:
        """A Trainer with the tracer and other callbacks around the recorder."""
        defaults = {
            "max_epochs": 2, "logger": TracingLogger(self.trace, self.folder), "log_every_n_steps": 1, "devices": 1,
        }  # fmt: skip
        if not options.get("barebones"):
            options = {"enable_progress_bar": False, "enable_model_summary": False, **defaults, **options}
        every = [Tracer(self.trace), *callbacks, *self.recorders(), *last]
        return pl.Trainer(accelerator="cpu", callbacks=every, default_root_dir=self.folder, **options)

    def fit(self, trainer: Any, **options: Any) -> None:
        trainer.fit(self.model, datamodule=self.data, **options)


class At(pl.Callback):  # type: ignore[misc, name-defined]
    """Does something at the third batch, or in another hook."""

    def __init__(self, act: Callable[[], None], hook: str = "") -> None:
        self.act = act
        self.hook = hook

    def setup(self, *_: Any, **__: Any) -> None:
        if self.hook == "setup":
            self.act()

    def teardown(self, *_: Any, **__: Any) -> None:
        if self.hook == "teardown":
            self.act()

    def on_validation_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        if self.hook == "sanity" and trainer.sanity_checking:
            self.act()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.hook and batch_idx == 2:
            self.act()


def _fail(error: type[BaseException] = RuntimeError) -> None:
    raise error("as planned")


def _fit(scene: Scene, *callbacks: Any, last: tuple[Any, ...] = (), **options: Any) -> None:
    scene.fit(scene.trainer(*callbacks, last=last, **options))


def _fit_twice(scene: Scene, *, max_epochs: int) -> None:
    trainer = scene.trainer()
    scene.fit(trainer)
    trainer.fit_loop.max_epochs = max_epochs
    scene.fit(trainer)


def _fit_then_test(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.fit(trainer)
    trainer.test(scene.model, datamodule=scene.data, verbose=False)


def _resume(scene: Scene) -> None:
    trainer = scene.trainer()
    scene.fit(trainer)
    scene.model = Net()
    scene.fit(scene.trainer(max_epochs=3), ckpt_path=trainer.checkpoint_callback.best_model_path)


def _call(scene: Scene, method: str) -> None:
    options = {} if method == "predict" else {"verbose": False}
    getattr(scene.trainer(), method)(scene.model, datamodule=scene.data, **options)


def _tune(scene: Scene, method: str, *, fit: bool = False, **options: Any) -> None:
    trainer = scene.trainer()
    tuner = import_module(f"{PACKAGE}.tuner").Tuner(trainer)
    getattr(tuner, method)(scene.model, datamodule=scene.data, **options)
    if fit:
        scene.fit(trainer)


def _fit_with_lr_finder(scene: Scene) -> None:
    _fit(scene, pl.callbacks.LearningRateFinder(num_training_steps=4))


def _fit_with_early_stopping(scene: Scene) -> None:
    _fit(scene, pl.callbacks.EarlyStopping("val/loss", patience=1, min_delta=10.0), max_epochs=9)


def _fit_without_data(scene: Scene) -> None:
    scene.data.fails_in = "setup"
    _fit(scene)


def _fit_by_hand(scene: Scene) -> None:
    scene.model = TwoOptimizers()
    _fit(scene)


def _fit_with_two_loggers(scene: Scene) -> None:
    _fit(scene, logger=[TracingLogger(scene.trace, scene.folder, name) for name in ("first", "second")])


def _send(*signals: int) -> None:
    for number in signals:
        os.kill(os.getpid(), number)


def _fit_on_slurm(scene: Scene, **options: Any) -> None:
    """SLURM asks for a checkpoint, gets its job back with a command that here does nothing, and ends the process."""
    command = scene.folder / "bin" / "scontrol"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    words = {
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    }  # fmt: skip
    environment = import_module(f"{PACKAGE}.plugins.environments").SLURMEnvironment()
    with patch.dict(os.environ, words):
        _fit(scene, At(partial(_send, signal.SIGUSR1, signal.SIGTERM)), plugins=[environment], **options)


_FIT: Segments = [("fit", FINISHED)]

SCENARIOS = {
    "fit": Scenario(_fit, [_FIT]),
    "fit_twice": Scenario(partial(_fit_twice, max_epochs=3), [_FIT * 2]),
    "fit_at_max_epochs": Scenario(partial(_fit_twice, max_epochs=2), [_FIT * 2]),
    "fit_then_test": Scenario(_fit_then_test, [[*_FIT, ("test", FINISHED)]]),
    "resume": Scenario(_resume, [_FIT * 2]),
    **{name: Scenario(partial(_call, method=name), [[(name, FINISHED)]]) for name in ("validate", "test", "predict")},
    "lr_find": Scenario(partial(_tune, method="lr_find", num_training=4), []),
    "lr_find_then_fit": Scenario(partial(_tune, method="lr_find", num_training=4, fit=True), [_FIT]),
    "lr_finder_callback": Scenario(_fit_with_lr_finder, [_FIT]),
    "scale_batch_size": Scenario(partial(_tune, method="scale_batch_size", max_trials=2, steps_per_trial=1), []),
    "error_in_training": Scenario(lambda scene: _fit(scene, At(_fail)), [[("fit", FAILED)]], "RuntimeError"),
    "error_in_sanity_check": Scenario(
        lambda scene: _fit(scene, At(_fail, "sanity")), [[("fit", FAILED)]], "RuntimeError"
    ),
    "error_in_setup_before": Scenario(lambda scene: _fit(scene, At(_fail, "setup")), [], "RuntimeError"),
    "error_in_setup_after": Scenario(lambda scene: _fit(scene, last=(At(_fail, "setup"),)), [], "RuntimeError"),
    "error_in_data": Scenario(_fit_without_data, [], "RuntimeError"),
    "keyboard_interrupt": Scenario(
        lambda scene: _fit(scene, At(partial(_fail, KeyboardInterrupt))), [[("fit", INTERRUPTED)]], "SystemExit"
    ),
    "sigterm": Scenario(
        lambda scene: _fit(scene, At(partial(_send, signal.SIGTERM))), [[("fit", INTERRUPTED)]], "SIGTERMException"
    ),
    "slurm_requeue": Scenario(_fit_on_slurm, [[("fit", REQUEUED)]], "SIGTERMException"),
    "slurm_requeue_without_logger": Scenario(
        partial(_fit_on_slurm, logger=False), [[("fit", REQUEUED)]], "SIGTERMException"
    ),
    "error_in_teardown_before": Scenario(
        lambda scene: _fit(scene, At(_fail, "teardown")), [[("fit", FAILED)]], "RuntimeError"
    ),
    "error_in_teardown_after": Scenario(
        lambda scene: _fit(scene, last=(At(_fail, "teardown"),)), [_FIT], "RuntimeError"
    ),
    "early_stopping": Scenario(_fit_with_early_stopping, [_FIT]),
    "fast_dev_run": Scenario(lambda scene: _fit(scene, fast_dev_run=True), []),
    "barebones": Scenario(lambda scene: _fit(scene, barebones=True, max_epochs=1), []),
    "no_logger": Scenario(lambda scene: _fit(scene, logger=False), [_FIT]),
    "two_loggers": Scenario(_fit_with_two_loggers, [_FIT]),
    "manual_optimization": Scenario(_fit_by_hand, [_FIT]),
    "accumulate_grad_batches": Scenario(lambda scene: _fit(scene, accumulate_grad_batches=2), [_FIT]),
    "ddp_spawn": Scenario(lambda scene: _fit(scene, strategy="ddp_spawn", devices=2), [_FIT], processes=True),
}  # fmt: skip


def play(name: str, folder: Path, lake: Path | None = None) -> Outcome:
    """Let a scenario happen, after the same seeds each time."""
    folder.mkdir(parents=True)
    pl.seed_everything(7, workers=True)
    scene = Scene(folder, lake)
    error = ""
    try:
        SCENARIOS[name].act(scene)
    except (Exception, KeyboardInterrupt, SystemExit) as raised:
        error = type(raised).__name__
        if error != SCENARIOS[name].error:
            raise
    weights = {key: value.numpy().tobytes() for key, value in scene.model.state_dict().items()}
    states = (torch.get_rng_state().numpy().tobytes(), np.random.get_state(), random.getstate())
    return Outcome(error, scene.trace.text(), _digest(weights), _digest(states))


def _digest(value: object) -> str:
    return hashlib.sha256(pickle.dumps(value)).hexdigest()


if __name__ == "__main__":
    _, _name, _folder, *_lake = sys.argv
    _outcome = play(_name, Path(_folder), Path(_lake[0]) if _lake else None)
    (Path(_folder) / "outcome.json").write_text(json.dumps(asdict(_outcome)))
