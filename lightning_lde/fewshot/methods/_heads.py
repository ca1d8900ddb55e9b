"""Classifiers on pretrained features: logistic regression, nearest centroid, fine-tuning of the whole network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.engine import accuracy
from lightning_lde.fewshot.methods._features import distance_logits, prototypes
from lightning_lde.fewshot.methods._results import TaskScore

__all__ = ["HEADS", "Head", "UnitClassifier", "check_heads", "logistic_regression", "nearest_centroid", "score"]

Head = Literal["logistic-regression", "nearest-centroid", "fine-tuning"]
HEADS: tuple[str, ...] = get_args(Head)


class UnitClassifier(nn.Module):
    """A backbone with a linear head on unit features, which starts as the nearest centroid of the support set.

    The weights of a class with the centroid c are 2c, its bias -|c|²: the logits are minus the squared distances to the
    centroids, up to a number that is the same for all classes (Triantafillou et al., Meta-Dataset, 2020).

    Args:
        backbone: Maps images (N, ...) to features (N, D).
        centroids: Shape (ways, D).
    """

    def __init__(self, backbone: nn.Module, centroids: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.weight = nn.Parameter(2 * centroids)
        self.bias = nn.Parameter(-centroids.square().sum(1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, ways) of images (N, ...)."""
        return F.linear(F.normalize(self.backbone(images), dim=1), self.weight, self.bias)


def check_heads(heads: Sequence[str]) -> None:
    """Refuse unknown heads, none, and one twice.

    Raises:
        ConfigurationError: The heads cannot be used.
    """
    if not heads or len(set(heads)) < len(heads) or not set(heads) <= set(HEADS):
        raise ConfigurationError(f"head={list(heads)!r}: expected one or several of {', '.join(map(repr, HEADS))}.")


def logistic_regression(support: Tensor, labels: Tensor, query: Tensor, *, l2: float) -> Tensor:
    """Return log probabilities (Q, ways) of scikit-learn's regression (lbfgs, L2), as Tian et al. use it.

    Args:
        support: Unit features, (N, D).
        labels: (N,).
        query: Unit features, (Q, D).
        l2: Inverse strength of the penalty, scikit-learn's C.
    """
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(C=l2, max_iter=1000)
    classifier.fit(support.double().cpu().numpy(), labels.cpu().numpy())
    found = classifier.predict_log_proba(query.double().cpu().numpy())
    return torch.from_numpy(found).to(labels.device)


def nearest_centroid(support: Tensor, labels: Tensor, query: Tensor, *, ways: int) -> Tensor:
    """Return minus the squared distances (Q, ways) of unit features to the centroids of unit features."""
    centres = prototypes(support[None], labels[None], ways)
    return distance_logits(centres, query[None])[0]


def score(method: str, label: str, steps: int | None, logits: Tensor, labels: Tensor) -> TaskScore:
    """Score the logits (or log probabilities) of a task's query set."""
    loss, right = F.cross_entropy(logits, labels), accuracy(logits, labels)
    return TaskScore(method, label, steps, float(loss), float(right))
