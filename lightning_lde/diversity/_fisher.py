"""Task2Vec: the filter-wise diagonal Fisher information of a probe on a task."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lightning_lde.errors import ConfigurationError, DataError

from ._directions import exact_factor, random_signs, sketched_factor
from ._filters import sum_squared_gradients
from ._forwards import Forward, Forwards
from ._head import Head, fit_head
from ._precision import full_precision
from ._probe import Probe
from ._published import published_fisher

FisherMode = Literal["exact", "sketch", "aws"]
Progress = Callable[[int, int], None]

_GRADIENT_ELEMENTS = 1 << 26


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
    mode: FisherMode = "exact",
    l2: float = 1.0,
    batch_size: int = 32,
    passes: int = 2,
    draws: int = 10_000,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    norm_weights: bool | None = None,
    progress: Progress | None = None,
) -> TaskEmbedding:
    """Embed a classification task by the Fisher information of the probe's filters.

    A head is fitted on the probe's features by L2-regularised multinomial logistic regression. Then, for each
    filter o of a Conv1d, Conv2d or Linear layer with weights W_o,

        F_o = 1/N Σ_n Σ_c p(c | x_n) ||∂(-log p(c | x_n)) / ∂W_o||² / |W_o|.

    * ``"exact"`` sums over all C classes in place of the sampled labels of the published code: no randomness,
      and no Monte-Carlo noise that would add to every distance. One forward and C - 1 backward passes.
    * ``"sketch"`` takes ``passes`` random directions in place of the C - 1: right in the mean, at a cost that
      does not grow with the classes. The signs follow from the seed and the task's content, so that the noise
      of two tasks, or of two halves of one, is independent.
    * ``"aws"`` is what the published code computes, to be compared with and for nothing else: BatchNorm and
      dropout in train mode, a head fitted by Adam, one sampled label for each of ``draws`` draws of images with
      replacement, and squares of the gradient of a batch's mean loss. See ``_published.py``.

    Head and biases are left out. What precedes the first chosen layer is frozen: it is passed once, without a
    graph. The probe does not change, and its BatchNorm uses running statistics in all modes but ``"aws"``.

    Args:
        probe: The feature extractor. The work is done where its weights are.
        images: Images of the task, (N, C, H, W), scaled as the probe expects.
        labels: Class of each image, any integers, (N,).
        mode: "exact", "sketch" or "aws".
        l2: Penalty l2/2 ||W||² beside the loss summed over images (C = 1/l2 in scikit-learn); not for "aws".
        batch_size: Images in one pass; it does not change the result beyond rounding. "aws" takes 64.
        passes: Random directions of "sketch".
        draws: Images that "aws" draws for each epoch.
        seed: Of "sketch" and "aws". Global random states are neither read nor moved.
        layers: Names of the backbone's modules whose filters are embedded, such as ["layer3", "layer4"]; all if
            None.
        norm_weights: Whether weights of batch and group norms count, each channel as a filter; by default only
            for "aws", where the published code counts them.
        progress: Called with images done and images in all ("aws": draws) after each batch.

    Returns:
        The embedding.

    Raises:
        DataError: If labels do not fit the images or have fewer than two classes, or the images are unfit.
        ConfigurationError: If a number is out of range, the mode or a layer is unknown, or the probe's layers
            cannot be followed.

    Example:
        >>> import torch
        >>> backbone = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 2), torch.nn.Flatten())
        >>> images = torch.linspace(-1, 1, 4 * 9).reshape(4, 1, 3, 3)
        >>> embedding = fisher_embedding(Probe(backbone, name="tiny"), images, [0, 0, 1, 1])
        >>> embedding.vector.shape, embedding.n_images, embedding.method
        ((3,), 4, 'fisher-exact/l2=1.0')

    Source: Achille et al. (2019), Task2Vec: Task Embedding for Meta-Learning, arXiv 1902.03545, section 3.
    """
    _check_settings(mode, l2=l2, passes=passes)
    classes = _class_indices(labels, n_images=images.shape[0])
    with_norms = mode == "aws" if norm_weights is None else norm_weights
    with torch.inference_mode(mode=False):
        # A clone made here can enter a graph even if the images come from Lightning's inference mode.
        own_images = images.clone()
        if mode == "aws":
            fisher = published_fisher(
                probe,
                own_images,
                torch.from_numpy(classes),
                draws=draws,
                generator=_generator(seed, own_images, classes),
                layers=layers,
                norm_weights=with_norms,
                progress=progress,
            )
        else:
            forwards = Forwards(probe, own_images, layers=layers, norm_weights=with_norms, batch_size=batch_size)
            with full_precision():
                head = fit_head(forwards.features().double().cpu().numpy(), classes, l2=float(l2))
                shape = (len(classes), passes, len(head.bias))
                drawn = random_signs(shape, _generator(seed, own_images, classes)) if mode == "sketch" else None
                fisher = _expected_squares(forwards, head, drawn, progress)
    vector = fisher.numpy()
    return TaskEmbedding(
        vector=vector.astype(np.float32),
        complexity=float(vector.sum()),
        n_images=int(images.shape[0]),
        method=fisher_method(
            mode, l2=float(l2), passes=passes, draws=draws, seed=seed, layers=layers, norm_weights=with_norms
        ),
    )


def filter_fisher(
    probe: Probe,
    images: Tensor,
    head: Head,
    *,
    batch_size: int,
    signs: Tensor | None = None,
    layers: Sequence[str] | None = None,
    norm_weights: bool = False,
) -> Tensor:
    """The Fisher information of each filter of a probe under a given head.

    Args:
        probe: The feature extractor.
        images: (N, C, H, W).
        head: Classifier on the probe's features.
        batch_size: Images in one pass.
        signs: Random signs of the sketch, (N, passes, classes); the exact expectation if None.
        layers: Names of the modules that count; all if None.
        norm_weights: Whether weights of norms count.

    Returns:
        float64, (filters,).

    Raises:
        ConfigurationError: If a layer is not called with the batch as its first dimension.
    """
    forwards = Forwards(probe, images, layers=layers, norm_weights=norm_weights, batch_size=batch_size)
    return _expected_squares(forwards, head, signs, None)


def _expected_squares(forwards: Forwards, head: Head, signs: Tensor | None, progress: Progress | None) -> Tensor:
    parts = []
    done = 0
    for forward in forwards:
        part = slice(done, done + len(forward.features))
        directions = _feature_directions(forward.features.detach(), head, None if signs is None else signs[part])
        parts.append(_summed_over_batch(forward, directions).cpu().double())
        done = part.stop
        if progress is not None:
            progress(done, forwards.n_images)
    return torch.stack(parts).sum(dim=0) / forwards.n_images


def _feature_directions(features: Tensor, head: Head, signs: Tensor | None) -> Tensor:
    """Vᵀ of the labels times the head's weights, (directions, N, D): squares of what follows sum to the expectation."""
    weight = torch.as_tensor(head.weight)
    # In double precision on the CPU whatever the probe's: the rows are short and p may be close to 1.
    p = torch.softmax(features.cpu().double() @ weight.T + torch.as_tensor(head.bias), dim=1)
    factor = exact_factor(p) if signs is None else sketched_factor(p, signs)
    return (factor @ weight).to(features)


def _summed_over_batch(forward: Forward, directions: Tensor) -> Tensor:
    outputs = forward.outputs
    at_once = max(1, _GRADIENT_ELEMENTS // sum(output.numel() for output in outputs))
    parts = []
    for group in torch.split(directions, at_once):
        gradients = iter(_gradients(forward.features, outputs, group))
        by_weight = [
            sum_squared_gradients(weight, [next(gradients) for _ in weight.uses]) / weight.filter_size
            for weight in forward.weights
        ]
        parts.append(torch.cat(by_weight))
    return torch.stack(parts).sum(dim=0)


def _gradients(features: Tensor, outputs: list[Tensor], directions: Tensor) -> list[Tensor]:
    rows = [
        torch.autograd.grad(features, outputs, direction, retain_graph=True, materialize_grads=True)
        for direction in directions
    ]
    return [torch.stack(of_output) for of_output in zip(*rows, strict=True)]


def _check_settings(mode: str, *, l2: float, passes: int) -> None:
    if mode not in get_args(FisherMode):
        raise ConfigurationError(f"mode={mode!r}, expected one of {', '.join(map(repr, get_args(FisherMode)))}.")
    if not (l2 > 0.0 and np.isfinite(l2)):
        raise ConfigurationError(f"l2={l2!r}, expected a finite number above 0; 1.0 is usual.")
    if passes < 1:
        raise ConfigurationError(f"passes={passes!r}, expected at least 1; 2 to 4 are usual.")


def _class_indices(labels: Tensor | npt.ArrayLike, *, n_images: int) -> npt.NDArray[np.int64]:
    values = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if values.shape != (n_images,):
        raise DataError(f"labels have shape {values.shape} for {n_images} images, expected ({n_images},).")
    names, classes = np.unique(values, return_inverse=True)
    if names.size < 2:
        raise DataError(f"labels hold {names.size} class, expected at least 2; a task needs classes to tell apart.")
    return classes.astype(np.int64)


def _generator(seed: int, images: Tensor, classes: npt.NDArray[np.int64]) -> torch.Generator:
    """A generator that follows from the seed and the task, so that no two tasks share their noise."""
    digest = hashlib.blake2b(f"{seed} {tuple(images.shape)}".encode(), digest_size=7)
    digest.update(images.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(classes.tobytes())
    return torch.Generator().manual_seed(int.from_bytes(digest.digest(), "big"))


def fisher_method(
    mode: FisherMode = "exact",
    *,
    l2: float = 1.0,
    passes: int = 2,
    draws: int = 10_000,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    norm_weights: bool | None = None,
) -> str:
    """What `fisher_embedding` writes into ``method`` for the same arguments, before anything is embedded.

    Example:
        >>> fisher_method("exact", l2=0.5)
        'fisher-exact/l2=0.5'
    """
    norms = mode == "aws" if norm_weights is None else norm_weights
    settings = {
        "exact": f"l2={l2!r}",
        "sketch": f"l2={l2!r}/passes={passes}/seed={seed}",
        "aws": f"draws={draws}/seed={seed}",
    }
    only = "" if layers is None else f"/layers={','.join(layers)}"
    return f"fisher-{mode}/{settings[mode]}{only}{'/norms' if norms else ''}"
