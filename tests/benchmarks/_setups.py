"""The set-ups of the training benchmark: what a user of each tracker writes, with that tracker's defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

PROJECT = "benchmark"


@dataclass
class Setup:
    """What goes into the Trainer.

    Attributes:
        loggers: The Trainer's ``logger``.
        callbacks: The Trainer's ``callbacks``.
        log: ``"self.log"``, ``"nothing"``, or a function that takes the values of a step.
    """

    loggers: Logger | bool = False
    callbacks: list[Callback] = field(default_factory=list)
    log: str | Callable[[Mapping[str, Any]], None] = "self.log"


class NullLogger(Logger):
    """Takes all and keeps nothing: what Lightning itself spends on having a logger."""

    @property
    def name(self) -> str:
        return "null"

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        pass

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


class TrackioLogger(NullLogger):
    """Trackio has no Lightning logger; this is the least that a user would write."""

    def __init__(self, project: str) -> None:
        super().__init__()
        import trackio

        self._run = trackio.init(project=project)
        self._trackio = trackio

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._trackio.log(dict(metrics), step=step)

    def finalize(self, status: str) -> None:
        self._trackio.finish()


def bare(_: Path) -> Setup:
    return Setup(log="nothing")


def none(_: Path) -> Setup:
    return Setup()


def null(_: Path) -> Setup:
    return Setup(NullLogger())


def csv(folder: Path) -> Setup:
    return Setup(CSVLogger(folder))


def tensorboard(folder: Path) -> Setup:
    return Setup(TensorBoardLogger(folder))


def mlflow(folder: Path) -> Setup:
    return Setup(MLFlowLogger(PROJECT, tracking_uri=f"sqlite:///{folder}/mlflow.db"))


def wandb(folder: Path) -> Setup:
    return Setup(WandbLogger(project=PROJECT, save_dir=folder, offline=True))


def trackio(_: Path) -> Setup:
    return Setup(TrackioLogger(PROJECT))


def aim(folder: Path) -> Setup:
    from aim.pytorch_lightning import AimLogger

    return Setup(AimLogger(repo=str(folder), experiment=PROJECT))


def lde(folder: Path) -> Setup:
    return Setup(callbacks=[_callback(folder)])


def lde_tap(folder: Path) -> Setup:
    return Setup(NullLogger(), [_callback(folder)])


def lde_idle(folder: Path) -> Setup:
    return Setup(callbacks=[_callback(folder)], log="nothing")


def lde_log(folder: Path) -> Setup:
    from lightning_lde import log

    return Setup(callbacks=[_callback(folder)], log=log)


def _callback(folder: Path) -> Callback:
    from lightning_lde import LDECallback

    return LDECallback(folder / "lake", project=PROJECT)


SETUPS: dict[str, Callable[[Path], Setup]] = {
    "bare": bare,
    "none": none,
    "null": null,
    "lde": lde,
    "lde-tap": lde_tap,
    "lde-log": lde_log,
    "lde-idle": lde_idle,
    "csv": csv,
    "tensorboard": tensorboard,
    "mlflow": mlflow,
    "wandb": wandb,
    "trackio": trackio,
    "aim": aim,
}
