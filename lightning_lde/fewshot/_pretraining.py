"""Pretraining as a Lightning module: an ordinary classifier whose features are tested on episodes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot._episodes import Episode
from lightning_lde.fewshot._maml import check_batch
from lightning_lde.fewshot._results import EpisodeResults
from lightning_lde.fewshot.backbones import describe_backbone, feature_dim
from lightning_lde.fewshot.engine import accuracy, evaluation_mode, trainable

__all__ = ["Pretraining"]


class Pretraining(pl.LightningModule):
    """Classification of all training classes, then a logistic regression per task on frozen features.

    In validation and test the backbone stands in eval mode without gradients; support and query
    features are computed apart and scaled to unit L2 norm, as Tian et al. do; scikit-learn's
    LogisticRegression (lbfgs, L2) is fitted to the support set. Use a backbone with
    ``norm_statistics="running"``, so that features belong to the image alone.

    Logged: ``train/loss``, ``train/accuracy``, ``val/…`` or ``test/loss`` and ``…/accuracy``.

    Args:
        backbone: Module with an attribute ``feature_dim``, such as ``Conv4``.
        n_classes: Training classes.
        lr: Learning rate of Adam.
        weight_decay: Weight decay of Adam.
        l2: Inverse strength of the L2 penalty of the logistic regression, scikit-learn's C.

    Raises:
        ConfigurationError: A setting cannot work.

    Source: Tian et al., Rethinking Few-Shot Image Classification (RFS), 2020.

    Example:
        >>> from lightning_lde.fewshot import Conv4
        >>> Pretraining(Conv4(width=8, norm_statistics="running"), n_classes=64).hparams["l2"]
        1.0
    """

    method = "pretraining+logistic-regression"

    def __init__(
        self,
        backbone: nn.Module,
        *,
        n_classes: int,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        l2: float = 1.0,
    ) -> None:
        super().__init__()
        features = feature_dim(backbone)
        if n_classes < 2 or lr <= 0 or weight_decay < 0 or l2 <= 0:
            raise ConfigurationError(
                f"n_classes={n_classes}, lr={lr}, weight_decay={weight_decay}, l2={l2}: expected at least "
                "2 classes, positive lr and l2, and no negative weight decay."
            )
        self.save_hyperparameters(ignore=["backbone"])
        self.save_hyperparameters({"backbone": describe_backbone(backbone)})
        self.backbone = backbone
        self.head = nn.Linear(features, n_classes)
        self.lr, self.weight_decay, self.l2 = lr, weight_decay, l2

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, n_classes) of images (N, C, H, W)."""
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
        values = {"train/loss": loss.detach(), "train/accuracy": accuracy(logits.detach(), labels)}
        self.log_dict(values, on_step=True, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: Episode, batch_idx: int = 0) -> dict[str, Any]:
        """Return ``{"episodes": EpisodeResults}`` of a batch of tasks; see ``test_step``."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Episode, batch_idx: int = 0) -> dict[str, Any]:
        """Fit a logistic regression to each task's support features and score its query set.

        Args:
            batch: Episodes stacked along a leading task dimension.
            batch_idx: Not used.

        Returns:
            ``{"episodes": EpisodeResults}`` with one entry per task, ``inner_steps`` None.
        """
        return self._evaluate(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam over what is trainable."""
        return torch.optim.Adam(trainable(self).values(), lr=self.lr, weight_decay=self.weight_decay)

    def _evaluate(self, batch: Episode, stage: Literal["val", "test"]) -> dict[str, Any]:
        check_batch(batch)
        with evaluation_mode(self.backbone), torch.no_grad():
            scores = [self._score(*fields) for fields in zip(*batch[:4], strict=True)]
        loss, right = (list(column) for column in zip(*scores, strict=True))
        values = {f"{stage}/loss": float(np.mean(loss)), f"{stage}/accuracy": float(np.mean(right))}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(scores))
        return {"episodes": self._results(batch, loss, right)}

    def _score(self, support: Tensor, labels: Tensor, query: Tensor, targets: Tensor) -> tuple[float, float]:
        """Return log loss and accuracy on one task's query set."""
        from sklearn.linear_model import LogisticRegression

        classifier = LogisticRegression(C=self.l2, max_iter=1000)
        classifier.fit(self._features(support), labels.cpu().numpy())
        log_probability = torch.from_numpy(classifier.predict_log_proba(self._features(query)))
        wanted = targets.cpu()
        return float(F.nll_loss(log_probability, wanted)), float(accuracy(log_probability, wanted))

    def _features(self, images: Tensor) -> Any:
        features = self.backbone(images.clone())
        return F.normalize(features, dim=1).double().cpu().numpy()

    def _results(self, batch: Episode, loss: list[float], right: list[float]) -> EpisodeResults:
        ways = batch.classes.shape[1]
        return EpisodeResults(
            method=self.method,
            index=batch.index.tolist(),
            classes=batch.classes.tolist(),
            ways=ways,
            shots=batch.support_labels.shape[1] // ways,
            queries=batch.query_labels.shape[1] // ways,
            inner_steps=[None] * len(loss),
            loss=loss,
            accuracy=right,
        )
