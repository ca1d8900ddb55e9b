"""Prototypical networks as a Lightning module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.backbones import describe_backbone
from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine import accuracy
from lightning_lde.fewshot.methods._batches import check_values
from lightning_lde.fewshot.methods._episodic import EpisodicModule, Schedule
from lightning_lde.fewshot.methods._features import distance_logits, prototypes, task_features
from lightning_lde.fewshot.methods._functional import check_shapes
from lightning_lde.fewshot.methods._results import TaskScore

__all__ = ["ProtoNet"]


class ProtoNet(EpisodicModule):
    """Classifies by the squared distance to the mean feature of each class of the support set.

    Tasks may have any number of ways, in training another one than in evaluation. Use a backbone with
    ``norm_statistics="running"`` or ``"group"``: then all images of a batch of tasks pass at once in evaluation.

    Logged: ``train/loss``, ``train/accuracy``, and for stage val or test ``test/loss``, ``test/accuracy``, each also
    with ``_ci95``: half its 95 % interval over tasks.

    Args:
        backbone: Module with an attribute ``feature_dim``, such as ``Conv4``.
        lr: Learning rate of Adam.
        weight_decay: Weight decay of Adam.
        schedule: Of the learning rate: "constant", or "cosine" down to 0 over the whole training.

    Raises:
        ConfigurationError: A setting cannot work.

    Source: Snell, Swersky, Zemel, Prototypical Networks for Few-shot Learning, 2017.

    Example:
        >>> from lightning_lde.fewshot import Conv4
        >>> ProtoNet(Conv4(width=8, norm_statistics="running")).method
        'protonet'
    """

    method = "protonet"

    def __init__(
        self, backbone: nn.Module, *, lr: float = 1e-3, weight_decay: float = 0.0, schedule: Schedule = "constant"
    ) -> None:
        super().__init__(
            backbone, ways=None, optimizer=torch.optim.Adam, lr=lr, weight_decay=weight_decay, schedule=schedule
        )
        if lr <= 0:
            raise ConfigurationError(f"lr={lr}: expected a positive learning rate.")
        self.save_hyperparameters(ignore=["backbone"])
        self.save_hyperparameters({"backbone": describe_backbone(backbone)})

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, feature_dim) of images (N, ...)."""
        features: Tensor = self.backbone(images)
        return features

    def training_step(self, batch: Episode, batch_idx: int = 0) -> Tensor:
        """Return the mean over tasks of the query loss.

        Args:
            batch: Episodes stacked along a leading task dimension.
            batch_idx: Not used.
        """
        self.check_tasks(batch, training=True)
        logits = self.logits(batch)
        loss = F.cross_entropy(logits.flatten(0, 1), batch.query_labels.flatten())
        self.log_training(loss, accuracy(logits.detach(), batch.query_labels), count=len(logits))
        return loss

    def logits(self, batch: Episode) -> Tensor:
        """Return minus the squared distances of query images to prototypes, (tasks, ways * queries, ways)."""
        support, query = task_features(self.backbone, batch)
        centres = prototypes(support, batch.support_labels, batch.classes.shape[1])
        return distance_logits(centres, query)

    def check_first(self, batch: Episode, *, training: bool) -> None:
        """Look closely at a first batch: labels and shapes."""
        check_values(batch)
        check_shapes(self.backbone, batch.support_images[0].clone())

    def score_tasks(self, batch: Episode) -> list[list[TaskScore]]:
        """Score each task by its prototypes."""
        with torch.no_grad():
            logits = self.logits(batch)
        scores = []
        for each, labels in zip(logits, batch.query_labels, strict=True):
            loss, right = F.cross_entropy(each, labels), accuracy(each, labels)
            scores.append([TaskScore(self.method, "", None, float(loss), float(right))])
        return scores
