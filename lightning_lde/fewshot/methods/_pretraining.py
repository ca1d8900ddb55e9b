"""Pretraining as a Lightning module: an ordinary classifier whose features are tested on episodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.backbones import describe_backbone
from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine import InnerLoop, accuracy, adapted_at, query_loss, trainable
from lightning_lde.fewshot.methods._batches import check_values, unstack
from lightning_lde.fewshot.methods._episodic import EpisodicModule, Schedule
from lightning_lde.fewshot.methods._features import prototypes, task_features
from lightning_lde.fewshot.methods._functional import check_adaptable, check_shapes
from lightning_lde.fewshot.methods._heads import (
    Head,
    UnitClassifier,
    check_heads,
    logistic_regression,
    nearest_centroid,
    score,
)
from lightning_lde.fewshot.methods._results import TaskScore

__all__ = ["Pretraining"]


class Pretraining(EpisodicModule):
    """Classification of all training classes, then a classifier per task on what was learned.

    In validation and test the backbone stands in eval mode; features are scaled to unit L2 norm, as Tian et al. do. Use
    a backbone with ``norm_statistics="running"``, so that features belong to the image alone. The heads:

    * "logistic-regression": scikit-learn's LogisticRegression (lbfgs, L2) fitted to the support set.
    * "nearest-centroid": minus the squared distance to the mean feature of each class.
    * "fine-tuning": a linear head that starts as the nearest centroid, then gradient descent on the support set for it
      and the backbone together; without traces, and without moving batch norm's statistics.

    With several heads, each gives rows of its own, and the names of metrics end in the head's.

    Logged: ``train/loss``, ``train/accuracy``, ``val/…`` or ``test/loss`` and ``…/accuracy``, the latter also with
    ``_ci95``: half the 95 % interval over tasks.

    Args:
        backbone: Module with an attribute ``feature_dim``, such as ``Conv4``.
        n_classes: Training classes.
        lr: Learning rate of Adam.
        weight_decay: Weight decay of Adam.
        l2: Inverse strength of the L2 penalty of the logistic regression, scikit-learn's C.
        head: One of the heads, or several.
        fine_tuning_lr: Step length of fine-tuning.
        fine_tuning_steps: Numbers of steps after which fine-tuning is scored.
        schedule: Of the learning rate: "constant", or "cosine" down to 0 over the whole training.

    Raises:
        ConfigurationError: A setting cannot work.

    Source: Tian et al., Rethinking Few-Shot Image Classification (RFS), 2020; Wang et al., SimpleShot, 2019; Dhillon et
        al., A Baseline for Few-Shot Image Classification, 2020.

    Example:
        >>> from lightning_lde.fewshot import Conv4
        >>> Pretraining(Conv4(width=8, norm_statistics="running"), n_classes=64).hparams["l2"]
        1.0
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        n_classes: int,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        l2: float = 1.0,
        head: Head | Sequence[Head] = "logistic-regression",
        fine_tuning_lr: float = 0.1,
        fine_tuning_steps: Sequence[int] = (10,),
        schedule: Schedule = "constant",
    ) -> None:
        super().__init__(
            backbone, ways=None, optimizer=torch.optim.Adam, lr=lr, weight_decay=weight_decay, schedule=schedule
        )
        if n_classes < 2 or lr <= 0 or l2 <= 0:
            raise ConfigurationError(
                f"n_classes={n_classes}, lr={lr}, l2={l2}: expected at least 2 classes, positive lr and l2."
            )
        if fine_tuning_lr <= 0 or not fine_tuning_steps or min(fine_tuning_steps) < 0:
            raise ConfigurationError(
                f"fine_tuning_lr={fine_tuning_lr}, fine_tuning_steps={fine_tuning_steps!r}: expected a positive step "
                "length, and numbers of steps, such as (10,)."
            )
        self.heads: tuple[str, ...] = (head,) if isinstance(head, str) else tuple(head)
        check_heads(self.heads)
        self.save_hyperparameters(ignore=["backbone"])
        self.save_hyperparameters({"backbone": describe_backbone(backbone)})
        self.head = nn.Linear(self.feature_length, n_classes)
        self.lr, self.weight_decay, self.l2 = lr, weight_decay, l2
        self.fine_tuning_lr, self.fine_tuning_steps = fine_tuning_lr, tuple(sorted(set(fine_tuning_steps)))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, n_classes) of images (N, ...)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int = 0) -> Tensor:
        """Return the cross-entropy of (images, labels).

        Args:
            batch: Images (N, C, H, W) in [0, 1] and labels (N,).
            batch_idx: Not used.
        """
        images, labels = batch
        logits = self(images)
        loss = F.cross_entropy(logits, labels)
        self.log_training(loss, accuracy(logits.detach(), labels), count=len(labels))
        return loss

    def check_first(self, batch: Episode, *, training: bool) -> None:
        """Look closely at a first batch: labels, shapes, and for fine-tuning whether the network can be adapted."""
        check_values(batch)
        images, labels = batch.support_images[0].clone(), batch.support_labels[0].clone()
        check_shapes(self.backbone, images)
        if "fine-tuning" in self.heads:
            network = self._starting(images, labels, batch.classes.shape[1])
            check_adaptable(network, images, labels, adapted=trainable(network), higher_order=False, may_write=True)

    def score_tasks(self, batch: Episode) -> list[list[TaskScore]]:
        """Fit each head to each task's support set and score its query set."""
        with torch.no_grad():
            support, query = (F.normalize(each, dim=2) for each in task_features(self.backbone, batch))
        tasks = unstack(batch)
        return [self._score(*each) for each in zip(tasks, support, query, strict=True)]

    def _score(self, task: Episode, support: Tensor, query: Tensor) -> list[TaskScore]:
        labels, targets, scores = task.support_labels, task.query_labels, []
        for head in self.heads:
            if head == "fine-tuning":
                scores += self._fine_tuned(task)
                continue
            if head == "logistic-regression":
                logits = logistic_regression(support, labels, query, l2=self.l2)
            else:
                logits = nearest_centroid(support, labels, query, ways=len(task.classes))
            scores.append(score(f"pretraining+{head}", self._label(head), None, logits, targets))
        return scores

    def _fine_tuned(self, task: Episode) -> list[TaskScore]:
        support, scores = (task.support_images, task.support_labels), []
        network = self._starting(*support, len(task.classes))
        inner = InnerLoop(1, self.fine_tuning_lr, first_order=True)
        for count, state in adapted_at(network, *support, inner, steps=self.fine_tuning_steps):
            with torch.no_grad():
                _, logits = query_loss(network, state, task.query_images, task.query_labels)
            several = len(self.fine_tuning_steps) > 1
            label = "_".join(filter(None, (self._label("fine-tuning"), f"{count}_steps" if several else "")))
            scores.append(score("pretraining+fine-tuning", label, count, logits, task.query_labels))
        return scores

    def _starting(self, images: Tensor, labels: Tensor, ways: int) -> UnitClassifier:
        with torch.no_grad():
            features = F.normalize(self.backbone(images), dim=1)
            centroids = prototypes(features[None], labels[None], ways)[0]
        return UnitClassifier(self.backbone, centroids).train(self.backbone.training)

    def _label(self, head: str) -> str:
        return head.replace("-", "_") if len(self.heads) > 1 else ""
