"""The public Task2Vec algorithm written down once more, independent of the package: what it is measured against.

Steps and defaults are those of github.com/awslabs/aws-cv-task2vec, task2vec.py, method "montecarlo". One thing can be
changed: `train=False` leaves BatchNorm in evaluation mode, as a comment in that code says it is.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

BATCH, HEAD_EPOCHS = 64, 10


def clock(device: torch.device) -> float:
    """Seconds of the processor, or on the wall where another device works."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def balanced(dataset: TensorDataset, draws: int) -> DataLoader[tuple[Tensor, ...]]:
    """An epoch of draws with replacement, all classes equally likely."""
    labels = dataset.tensors[1].cpu().numpy()
    weights = 1.0 / np.bincount(labels)[labels]
    sampler = WeightedRandomSampler((weights / weights.sum()).tolist(), num_samples=draws)
    return DataLoader(dataset, sampler=sampler, batch_size=BATCH, drop_last=True)


class Reference(nn.Module):
    """A probe and its classifier, as the public code has them."""

    def __init__(self, backbone: nn.Module, n_classes: int, dim: int, *, train: bool) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone).requires_grad_()
        self.classifier = nn.Linear(dim, n_classes)
        self.train(train)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.backbone(images))
        return logits

    def fit_classifier(self, images: Tensor, labels: Tensor, draws: int) -> None:
        with torch.no_grad():
            features = torch.cat([self.backbone(batch) for batch in images.split(BATCH)])
        loader = balanced(TensorDataset(features, labels), draws)
        optimizer = torch.optim.Adam(self.classifier.parameters(), lr=0.0004, weight_decay=0.0001)
        for _ in range(HEAD_EPOCHS):
            for data, target in loader:
                optimizer.zero_grad()
                (self.classifier(data).argmax(dim=1) != target).float().mean().item()
                F.cross_entropy(self.classifier(data), target).backward()
                optimizer.step()

    def montecarlo_fisher(self, images: Tensor, labels: Tensor, draws: int) -> dict[nn.Parameter, Tensor]:
        accumulated = {parameter: torch.zeros_like(parameter) for parameter in self.parameters()}
        steps = 0
        for data, _ in balanced(TensorDataset(images, labels), draws):
            output = self(data)
            target = torch.multinomial(output.softmax(dim=-1), 1).detach().view(-1)
            self.zero_grad()
            F.cross_entropy(output, target).backward()
            steps += 1
            for parameter, total in accumulated.items():
                if parameter.grad is not None:
                    total += parameter.grad.data**2
        return {parameter: total / steps for parameter, total in accumulated.items()}


def reference_embedding(
    backbone: nn.Module, images: Tensor, labels: Tensor, *, draws: int, train: bool, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    """The embedding of a task, and what its parts took.

    Returns:
        Vector of all filters and norms in the order of the modules, and seconds by part.
    """
    torch.manual_seed(seed)
    with torch.no_grad():
        dim = backbone(images[:2]).shape[1]
    began = clock(images.device)
    model = Reference(backbone, int(labels.max()) + 1, dim, train=train).to(images.device)
    model.fit_classifier(images, labels, draws)
    fitted = clock(images.device)
    fisher = model.montecarlo_fisher(images, labels, draws)
    vector = [
        fisher[module.weight].cpu().numpy().reshape(len(module.weight), -1).mean(axis=1)
        for module in model.backbone.modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter)
    ]
    took = clock(images.device) - fitted
    return np.concatenate(vector), {"head": fitted - began, "fisher": took}


def published_distances(vectors: np.ndarray) -> np.ndarray:
    """All pairs of `normalized cosine` with its fixed 1e-8, (n(n - 1)/2,), in the order of `np.triu_indices`."""

    def one(first: np.ndarray, second: np.ndarray) -> float:
        total = first + second + 1e-8
        a, b = first / total, second / total
        return float(1.0 - a @ b / np.sqrt((a @ a) * (b @ b)))

    rows, columns = np.triu_indices(len(vectors), 1)
    return np.array([one(vectors[row], vectors[column]) for row, column in zip(rows, columns, strict=True)])


def timed(call: Callable[[], np.ndarray], device: torch.device) -> tuple[np.ndarray, dict[str, float]]:
    """What a call returns, and its seconds."""
    began = clock(device)
    vector = call()
    return vector, {"all": clock(device) - began}
