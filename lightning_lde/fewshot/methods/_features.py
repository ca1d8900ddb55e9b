"""Features of tasks' images, and classifiers that need no training: prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_lde.fewshot.data._episodes import Episode

__all__ = ["distance_logits", "independent", "prototypes", "task_features"]


def independent(backbone: nn.Module) -> bool:
    """Whether the features of an image are its own in the present mode, whatever images it comes with.

    Only batch norms are known to mix images; a module that does so in another way has to be given one task at a time.
    """
    norms = (module for module in backbone.modules() if isinstance(module, _BatchNorm))
    return not any(norm.training or norm.running_mean is None for norm in norms)


def task_features(backbone: nn.Module, batch: Episode) -> tuple[Tensor, Tensor]:
    """Return the features of the support and the query images of tasks.

    All images pass at once where features belong to the image alone. Else each set of each task passes by itself, so
    that results do not depend on what tasks come together.

    Args:
        backbone: Maps images (N, ...) to features (N, D).
        batch: Episodes stacked along a leading task dimension.

    Returns:
        Shapes (tasks, ways * shots, D) and (tasks, ways * queries, D).
    """
    sets = batch.support_images, batch.query_images
    if not independent(backbone):
        support, query = (torch.stack([backbone(images) for images in part]) for part in sets)
        return support, query
    images = torch.cat(sets, dim=1)
    features: Tensor = backbone(images.flatten(0, 1)).view(*images.shape[:2], -1)
    count = batch.support_labels.shape[1]
    return features[:, :count], features[:, count:]


def prototypes(features: Tensor, labels: Tensor, ways: int) -> Tensor:
    """Return the mean feature of each class, (tasks, ways, D), of (tasks, N, D) and labels (tasks, N)."""
    members = F.one_hot(labels, ways).to(features.dtype)
    return members.mT @ features / members.sum(1)[..., None]


def distance_logits(centres: Tensor, features: Tensor) -> Tensor:
    """Return minus the squared distance of features (tasks, N, D) to centres (tasks, ways, D): (tasks, N, ways)."""
    return -(features[:, :, None] - centres[:, None]).square().sum(-1)
