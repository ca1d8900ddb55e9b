"""Task2Vec: the filter-wise diagonal Fisher information of a probe on a task, exact in the labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_lde.errors import ConfigurationError, DataError

from ._filters import SharedWeight, recorded_layers, sum_squared_gradients
from ._head import Head, fit_head
from ._probe import Probe


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TaskEmbedding:
    """A task as the probe sees it.

    Args:
        vector: Fisher information of each filter, float32, (filters,), in the order of the probe's modules.
        complexity: L1 norm of the vector, the paper's measure of the difficulty of a task.
        n_images: Number of images it was measured on.
        method: What was computed, with the settings that change it; only equal methods compare.
    """

    vector: npt.NDArray[np.float32]
    complexity: float
    n_images: int
    method: str


def fisher_embedding(
    probe: Probe,
    images: Tensor,
    labels: Tensor | npt.ArrayLike,
    *,
    l2: float = 1.0,
    batch_size: int = 32,
) -> TaskEmbedding:
    """Embed a classification task by the Fisher information of the probe's filters.

    A head is fitted on the probe's features by L2-regularised multinomial logistic regression. Then, for each
    filter o of a Conv1d, Conv2d or Linear layer with weights W_o,

        F_o = 1/N Σ_n Σ_c p(c | x_n) ||∂(-log p(c | x_n)) / ∂W_o||² / |W_o|,

    with the sum over all classes c in place of the sampled labels of the published code: no randomness,
    and no Monte-Carlo noise that would add to every distance. Head, biases and normalisation layers are left
    out. A batch takes one forward pass and one backward pass a class.

    Args:
        probe: The feature extractor.
        images: Images of the task, (N, C, H, W), scaled as the probe expects.
        labels: Class of each image, any integers, (N,).
        l2: Penalty l2/2 ||W||² beside the loss summed over images (C = 1/l2 in scikit-learn).
        batch_size: Images in one pass; it does not change the result beyond rounding.

    Returns:
        The embedding.

    Raises:
        DataError: If labels do not fit the images or have fewer than two classes, or the images are unfit.
        ConfigurationError: If l2 or batch_size is not above 0, or the probe's layers cannot be followed.

    Example:
        >>> import torch
        >>> backbone = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 2), torch.nn.Flatten())
        >>> images = torch.linspace(-1, 1, 4 * 9).reshape(4, 1, 3, 3)
        >>> embedding = fisher_embedding(Probe(backbone, name="tiny"), images, [0, 0, 1, 1])
        >>> embedding.vector.shape, embedding.n_images, embedding.method
        ((3,), 4, 'fisher-exact/l2=1.0')

    Source: Achille et al. (2019), Task2Vec: Task Embedding for Meta-Learning, arXiv 1902.03545, section 3.
    """
    if not (l2 > 0.0 and np.isfinite(l2)):
        raise ConfigurationError(f"l2={l2!r}, expected a finite number above 0; 1.0 is usual.")
    classes = _class_indices(labels, n_images=images.shape[0])
    with torch.inference_mode(mode=False):
        # A clone made here can enter a graph even if the images come from Lightning's inference mode.
        own_images = images.clone()
        features = probe.features(own_images, batch_size=batch_size).double().cpu().numpy()
        head = fit_head(features, classes, l2=float(l2))
        fisher = filter_fisher(probe, own_images, head, batch_size=batch_size).numpy()
    return TaskEmbedding(
        vector=fisher.astype(np.float32),
        complexity=float(fisher.sum()),
        n_images=int(images.shape[0]),
        method=f"fisher-exact/l2={float(l2)!r}",
    )


def filter_fisher(probe: Probe, images: Tensor, head: Head, *, batch_size: int) -> Tensor:
    """The Fisher information of each filter of a probe under a given head.

    Args:
        probe: The feature extractor.
        images: (N, C, H, W).
        head: Classifier on the probe's features.
        batch_size: Images in one pass.

    Returns:
        float64, (filters,).

    Raises:
        ConfigurationError: If a layer is not called with the batch as its first dimension.
    """
    batches = torch.split(probe.prepare(images), batch_size)
    parts = [_summed_over_batch(probe, batch, head) for batch in batches]
    return torch.stack(parts).sum(dim=0) / images.shape[0]


def _summed_over_batch(probe: Probe, batch: Tensor, head: Head) -> Tensor:
    backbone = probe.backbone
    with torch.enable_grad(), recorded_layers(backbone) as weights:
        features = backbone(batch)
    for weight in weights:
        _check_followed(weight, n_images=batch.shape[0])
    outputs = [use.left for weight in weights for use in weight.uses]
    directions = _feature_directions(features.detach(), head)
    gradients = iter(_gradients(features, outputs, directions))
    return torch.cat(
        [
            sum_squared_gradients(weight, [next(gradients) for _ in weight.uses]) / weight.filter_size
            for weight in weights
        ]
    )


def _feature_directions(features: Tensor, head: Head) -> Tensor:
    """sqrt(p_c) ∂(-log p_c)/∂features, (classes, N, D): squares of what follows sum to the expectation."""
    weight = torch.as_tensor(head.weight, dtype=features.dtype, device=features.device)
    bias = torch.as_tensor(head.bias, dtype=features.dtype, device=features.device)
    p = torch.softmax(features @ weight.T + bias, dim=1)
    identity = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
    residuals = p.unsqueeze(0) - identity.unsqueeze(1)
    return p.T.sqrt().unsqueeze(2) * (residuals @ weight)


def _gradients(features: Tensor, outputs: list[Tensor], directions: Tensor) -> list[Tensor]:
    rows = [
        torch.autograd.grad(features, outputs, direction, retain_graph=True, materialize_grads=True)
        for direction in directions
    ]
    return [torch.stack(of_output) for of_output in zip(*rows, strict=True)]


def _check_followed(weight: SharedWeight, *, n_images: int) -> None:
    if not weight.uses:
        raise ConfigurationError(
            f"a layer of {weight.filters} filters was never called, expected every Conv and Linear layer "
            "of the probe to be called by its forward; remove layers that are unused or only lend their weights."
        )
    for use in weight.uses:
        if use.entered.shape[0] != n_images or use.left.shape[0] != n_images:
            raise ConfigurationError(
                f"{use.layer} got an input of shape {tuple(use.entered.shape)} for {n_images} images, "
                "expected the images as its first dimension; keep them apart in the backbone."
            )


def _class_indices(labels: Tensor | npt.ArrayLike, *, n_images: int) -> npt.NDArray[np.int64]:
    values = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if values.shape != (n_images,):
        raise DataError(f"labels have shape {values.shape} for {n_images} images, expected ({n_images},).")
    names, classes = np.unique(values, return_inverse=True)
    if names.size < 2:
        raise DataError(f"labels hold {names.size} class, expected at least 2; a task needs classes to tell apart.")
    return classes.astype(np.int64)
