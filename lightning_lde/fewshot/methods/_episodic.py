"""What all few-shot modules share: checks, evaluation on tasks, their records, the outer optimiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.backbones import feature_dim
from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine import evaluation_mode, trainable
from lightning_lde.fewshot.methods._batches import check_batch
from lightning_lde.fewshot.methods._metrics import MeanWithInterval
from lightning_lde.fewshot.methods._results import TaskScore, results_of

__all__ = ["EpisodicModule", "Schedule"]

Schedule = Literal["constant", "cosine"]
Stage = Literal["val", "test"]


class EpisodicModule(pl.LightningModule, ABC):
    """A module that is validated and tested on tasks, without side effects.

    Weights, buffers, gradients and random state stay as they are, under any inference mode of the Trainer. Logged at
    the end of validation and test: the mean over tasks, as ``test/accuracy``, and behind ``_ci95`` half the width of
    its 95 % interval, for the loss too; with several settings the name goes on, as in ``test/accuracy_5_steps``.

    Args:
        backbone: Module with an attribute ``feature_dim``, such as ``Conv4``.
        ways: Classes of a task, None where any number will do.
        optimizer: Class of the outer optimiser.
        lr: Its learning rate.
        weight_decay: Its weight decay.
        schedule: "constant", or "cosine": from ``lr`` to 0 over the whole training.

    Raises:
        ConfigurationError: A setting cannot work.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        ways: int | None,
        optimizer: type[torch.optim.Optimizer],
        lr: float,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
    ) -> None:
        super().__init__()
        if weight_decay < 0 or schedule not in ("constant", "cosine"):
            raise ConfigurationError(
                f"weight_decay={weight_decay}, schedule={schedule!r}: expected no negative weight decay, and "
                "'constant' or 'cosine'."
            )
        self.feature_length = feature_dim(backbone)
        self.backbone = backbone
        self.ways = ways
        self._optimizer, self._lr, self._weight_decay, self._schedule = optimizer, lr, weight_decay, schedule
        self._means: dict[str, MeanWithInterval] = {}
        self._checked: set[str] = set()

    @abstractmethod
    def score_tasks(self, batch: Episode) -> list[list[TaskScore]]:
        """Return for each task of a batch its scores, one per setting of the evaluation.

        It is called in eval mode, outside inference mode, with gradients allowed.

        Args:
            batch: Episodes stacked along a leading task dimension, checked.
        """

    @abstractmethod
    def check_first(self, batch: Episode, *, training: bool) -> None:
        """Look closely at a first batch of tasks: labels, shapes, what only its values or a pass can show.

        Args:
            batch: Episodes stacked along a leading task dimension.
            training: Whether the batch is to be trained on.

        Raises:
            DataError: The batch cannot be used.
            ConfigurationError: The backbone cannot be used.
        """

    def check_tasks(self, batch: Any, *, training: bool) -> None:
        """Refuse what is no batch of tasks for this module; the first batch of a kind is looked at closely."""
        check_batch(batch, ways=self.ways)
        kind = "training" if training else "evaluation"
        if kind not in self._checked:
            self.check_first(batch, training=training)
            self._checked.add(kind)

    def validation_step(self, batch: Episode, batch_idx: int = 0) -> dict[str, Any]:
        """Return ``{"episodes": EpisodeResults}`` of a batch of tasks; see ``test_step``."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Episode, batch_idx: int = 0) -> dict[str, Any]:
        """Score each task of a batch in each setting of the evaluation.

        Args:
            batch: Episodes stacked along a leading task dimension.
            batch_idx: Not used.

        Returns:
            ``{"episodes": EpisodeResults}`` with one entry per task and setting.
        """
        return self._evaluate(batch, "test")

    def on_validation_epoch_start(self) -> None:
        """Forget the tasks of the last validation."""
        self._means.clear()

    def on_validation_epoch_end(self) -> None:
        """Log means and intervals over tasks."""
        self._log_means()

    def on_test_epoch_start(self) -> None:
        """Forget the tasks of the last test."""
        self._means.clear()

    def on_test_epoch_end(self) -> None:
        """Log means and intervals over tasks."""
        self._log_means()

    def configure_optimizers(self) -> Any:
        """Return the outer optimiser over what is trainable, with its schedule."""
        settings: dict[str, Any] = {"lr": self._lr, "weight_decay": self._weight_decay}
        optimizer = self._optimizer(trainable(self).values(), **settings)
        if self._schedule == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if not 0 < steps < float("inf"):
            raise ConfigurationError("schedule='cosine' needs an end: give the Trainer max_epochs or max_steps.")
        scheduler = CosineAnnealingLR(optimizer, T_max=int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def log_training(self, loss: Tensor, right: Tensor, *, count: int) -> None:
        """Log ``train/loss`` and ``train/accuracy``, means over ``count`` tasks or images, of steps and of epochs."""
        values = {"train/loss": loss.detach(), "train/accuracy": right.detach()}
        self.log_dict(values, on_step=True, on_epoch=True, batch_size=count, sync_dist=True)

    def _evaluate(self, batch: Episode, stage: Stage) -> dict[str, Any]:
        with evaluation_mode(self):
            self.check_tasks(batch, training=False)
            own = Episode(*(field.clone() for field in batch))
            scores = self.score_tasks(own)
            self._take(stage, own.index, scores)
        return {"episodes": results_of(batch, scores)}

    def _take(self, stage: Stage, index: Tensor, scores: list[list[TaskScore]]) -> None:
        for setting in zip(*scores, strict=True):
            for what in ("loss", "accuracy"):
                name = "_".join(filter(None, (f"{stage}/{what}", setting[0].label)))
                mean = self._means.setdefault(name, MeanWithInterval().to(self.device))
                values = [getattr(score, what) for score in setting]
                mean.update(torch.tensor(values, device=self.device), index)

    def _log_means(self) -> None:
        for name, metric in self._means.items():
            mean, half_width = metric.compute()
            self.log(name, mean.float(), sync_dist=True)
            if bool(half_width.isfinite()):
                self.log(f"{name}_ci95", half_width.float(), sync_dist=True)
