"""MAML, first and higher order, as a Lightning module that trains and tests on episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot._episodes import Episode
from lightning_lde.fewshot._results import EpisodeResults
from lightning_lde.fewshot.backbones import describe_backbone, feature_dim
from lightning_lde.fewshot.engine import (
    InnerLoop,
    accuracy,
    adapted_at,
    evaluation_mode,
    meta_loss,
    query_loss,
    trainable,
)

__all__ = ["MAML"]


class MAML(pl.LightningModule):
    """Model-agnostic meta-learning with a linear head that is part of what is adapted.

    Training minimises the mean over tasks of the query loss after ``inner_steps`` steps of gradient
    descent on the support set. Validation and test adapt without side effects: weights, buffers,
    gradients and random state stay as they are, under any inference mode of the Trainer.

    Logged: ``train/loss``, ``train/accuracy``, and for stage val or test and each number of steps k
    ``test/loss_k_steps``, ``test/accuracy_k_steps``.

    Args:
        backbone: Module with an attribute ``feature_dim``, such as ``Conv4``.
        ways: Classes of a task.
        inner_lr: Step length of the adaptation.
        inner_steps: Steps of the adaptation in training.
        first_order: Leave out the derivatives of the inner gradients (FOMAML).
        outer_lr: Learning rate of Adam.
        eval_inner_steps: Numbers of steps after which a validation or test task is scored.

    Raises:
        ConfigurationError: A setting cannot work.

    Source: Finn, Abbeel, Levine, Model-Agnostic Meta-Learning, 2017, algorithm 2.

    Example:
        >>> from lightning_lde.fewshot import Conv4
        >>> model = MAML(Conv4(width=8), ways=5, first_order=True)
        >>> model.method, model.hparams["backbone"]["width"]
        ('maml-first-order', 8)
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        ways: int,
        inner_lr: float = 0.1,
        inner_steps: int = 5,
        first_order: bool = False,
        outer_lr: float = 3e-3,
        eval_inner_steps: Sequence[int] = (5, 10),
    ) -> None:
        super().__init__()
        features = feature_dim(backbone)
        _check(ways, inner_lr, inner_steps, outer_lr, eval_inner_steps)
        self.save_hyperparameters(ignore=["backbone"])
        self.save_hyperparameters({"backbone": describe_backbone(backbone)})
        self.backbone = backbone
        self.head = nn.Linear(features, ways)
        self.ways = ways
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.first_order, self.outer_lr = first_order, outer_lr
        self.eval_inner_steps = tuple(sorted(set(eval_inner_steps)))

    @property
    def method(self) -> str:
        """Name under which results are recorded."""
        return "maml-first-order" if self.first_order else "maml-higher-order"

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, ways) of images (N, C, H, W) before any adaptation."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def training_step(self, batch: Episode, batch_idx: int = 0) -> Tensor:
        """Return the mean over tasks of the query loss after adaptation.

        Args:
            batch: Episodes stacked along a leading task dimension.
            batch_idx: Not used.
        """
        self._check_batch(batch)
        found = meta_loss(self, batch, self._inner())
        values = {"train/loss": found.loss.detach(), "train/accuracy": found.accuracies.mean()}
        self.log_dict(values, on_step=True, on_epoch=True, batch_size=len(found.losses))
        return found.loss

    def validation_step(self, batch: Episode, batch_idx: int = 0) -> dict[str, Any]:
        """Return ``{"episodes": EpisodeResults}`` of a batch of tasks; see ``test_step``."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Episode, batch_idx: int = 0) -> dict[str, Any]:
        """Adapt to each task and score it at each of ``eval_inner_steps``.

        Args:
            batch: Episodes stacked along a leading task dimension.
            batch_idx: Not used.

        Returns:
            ``{"episodes": EpisodeResults}`` with one entry per task and number of steps.
        """
        return self._evaluate(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over what is trainable."""
        return torch.optim.Adam(trainable(self).values(), lr=self.outer_lr)

    def _inner(self) -> InnerLoop:
        return InnerLoop(self.inner_steps, self.inner_lr, self.first_order)

    def _evaluate(self, batch: Episode, stage: Literal["val", "test"]) -> dict[str, Any]:
        self._check_batch(batch)
        with evaluation_mode(self):
            episodes = _unstack(Episode(*(field.clone() for field in batch)))
            scores = torch.stack([self._scores(episode) for episode in episodes])
        for place, steps in enumerate(self.eval_inner_steps):
            loss, right = scores[:, place].mean(0)
            values = {f"{stage}/loss_{steps}_steps": loss, f"{stage}/accuracy_{steps}_steps": right}
            self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(scores))
        return {"episodes": self._results(batch, scores)}

    def _scores(self, episode: Episode) -> Tensor:
        """Return query loss and accuracy at each of ``eval_inner_steps``, shape (settings, 2)."""
        rows = []
        walk = adapted_at(
            self,
            episode.support_images,
            episode.support_labels,
            self._inner(),
            steps=self.eval_inner_steps,
        )
        for _, state in walk:
            with torch.no_grad():
                loss, logits = query_loss(self, state, episode.query_images, episode.query_labels)
                rows.append(torch.stack([loss, accuracy(logits, episode.query_labels)]))
        return torch.stack(rows)

    def _results(self, batch: Episode, scores: Tensor) -> EpisodeResults:
        tasks, settings = scores.shape[:2]
        return EpisodeResults(
            method=self.method,
            index=[index for index in batch.index.tolist() for _ in range(settings)],
            classes=[list(classes) for classes in batch.classes.tolist() for _ in range(settings)],
            ways=self.ways,
            shots=batch.support_labels.shape[1] // self.ways,
            queries=batch.query_labels.shape[1] // self.ways,
            inner_steps=[*self.eval_inner_steps] * tasks,
            loss=scores[..., 0].flatten().tolist(),
            accuracy=scores[..., 1].flatten().tolist(),
        )

    def _check_batch(self, batch: Episode) -> None:
        check_batch(batch, ways=self.ways)


def check_batch(batch: Episode, *, ways: int | None = None) -> None:
    """Refuse a batch that is not made of stacked episodes with the expected number of ways."""
    if not isinstance(batch, Episode) or batch.support_images.ndim != 5:
        raise DataError(
            f"batch is a {type(batch).__name__}; expected an Episode with a leading task dimension: "
            "use DataLoader(Episodes(...), batch_size=...)."
        )
    if ways is not None and batch.classes.shape[1] != ways:
        raise DataError(f"episodes have {batch.classes.shape[1]} ways, the model has {ways}: make them equal.")


def _unstack(batch: Episode) -> list[Episode]:
    return [Episode(*fields) for fields in zip(*batch, strict=True)]


def _check(ways: int, inner_lr: float, inner_steps: int, outer_lr: float, evaluate: Sequence[int]) -> None:
    if ways < 2 or inner_steps < 1 or inner_lr <= 0 or outer_lr <= 0:
        raise ConfigurationError(
            f"ways={ways}, inner_steps={inner_steps}, inner_lr={inner_lr}, outer_lr={outer_lr}: expected "
            "at least 2 ways, at least 1 inner step and positive learning rates."
        )
    if not evaluate or min(evaluate) < 0:
        raise ConfigurationError(f"eval_inner_steps={evaluate!r}: expected numbers of steps, such as (5, 10).")
