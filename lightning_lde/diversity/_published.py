"""Task2Vec as its published code computes it, faults included: to be compared with, not to be measured by.

The steps are those of the code beside the paper (github.com/awslabs/aws-cv-task2vec, task2vec.py), with its defaults.
What is known of them: the network stands in train mode, so that BatchNorm takes the statistics of each batch and the
data themselves are washed out; one squared gradient of a batch's mean loss holds one usable draw for 64 images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError, DataError

from ._probe import Probe, check_features
from ._recording import chosen_layers

_BATCH = 64
_HEAD_EPOCHS = 10
_LEARNING_RATE = 4e-4
_WEIGHT_DECAY = 1e-4


def published_fisher(
    probe: Probe,
    images: Tensor,
    classes: Tensor,
    *,
    draws: int,
    generator: torch.Generator,
    layers: Sequence[str] | None,
    norm_weights: bool,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """The embedding of the published "montecarlo" method.

    Features are taken in train mode, batch by batch in the order of the images. A linear head is fitted by Adam in
    10 epochs of ``draws`` draws. In one more epoch a label is sampled for each drawn image, and the squares of the
    gradient of each batch's mean loss are averaged over batches and over the weights of each filter.

    Args:
        probe: The feature extractor; a copy of it is used.
        images: (N, C, H, W).
        classes: Class of each image, 0 to C - 1, each present, int64, (N,).
        draws: Draws with replacement in an epoch, all classes equally often in the mean; a last batch of fewer than
            64 is dropped.
        generator: Where the head's first weights, the draws and the labels come from, in this order; on the CPU.
        layers: Names of the modules that count; all if None.
        norm_weights: Whether weights of norms count.
        progress: Called with draws done and draws in all.

    Returns:
        float64, (filters,). It is smaller than the exact Fisher information by about the batch size.

    Raises:
        ConfigurationError: If there are too few draws, or a weight is parametrised.
        DataError: If a batch is too small for BatchNorm in train mode.
    """
    if draws < _BATCH:
        raise ConfigurationError(f"draws={draws!r}, expected at least {_BATCH}, a batch; 10,000 are published.")
    network = copy.deepcopy(probe.backbone).train()
    prepared = probe.prepare(images)
    weights = _weights(chosen_layers(network, layers=layers, norm_weights=norm_weights))
    by_class = 1.0 / torch.bincount(classes).double()[classes]
    devices = [prepared.device] if prepared.is_cuda else []
    # Dropout knows no generator of its own.
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(generator.initial_seed())
        features = _train_mode_features(network, prepared)
        head = _fitted_head(features, classes, by_class, draws, generator)
        total = [torch.zeros_like(weight) for weight in weights]
        steps = draws // _BATCH
        for step, drawn in enumerate(_drawn(by_class, draws, generator), start=1):
            logits = head(network(prepared[drawn]))
            sampled = torch.multinomial(logits.detach().softmax(dim=1).cpu(), 1, generator=generator).view(-1)
            loss = F.cross_entropy(logits, sampled.to(logits.device))
            for accumulated, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
                accumulated += gradient.square()
            if progress is not None:
                progress(step * _BATCH, steps * _BATCH)
    return torch.cat([_by_filter(one / steps).mean(dim=1).cpu().double() for one in total])


def _by_filter(accumulated: Tensor) -> Tensor:
    return accumulated.reshape(accumulated.shape[0], -1)


def _weights(layers: Sequence[nn.Module]) -> list[Tensor]:
    """The weights of layers, each once, with gradients; nothing else of the network has any."""
    weights: dict[int, Tensor] = {}
    for layer in layers:
        weight = dict(layer.named_parameters(recurse=False)).get("weight")
        if weight is None:
            raise ConfigurationError(f"the weight of {layer} is parametrised, expected a plain one in mode 'aws'.")
        weights[id(weight)] = weight.requires_grad_()
    return list(weights.values())


@torch.no_grad()
def _train_mode_features(network: nn.Module, images: Tensor) -> Tensor:
    try:
        features = torch.cat([network(batch) for batch in torch.split(images, _BATCH)])
    except ValueError as error:
        raise DataError(
            f"{len(images)} images leave a batch that BatchNorm cannot take in train mode ({error}); expected more "
            f"than one image beyond each full {_BATCH}."
        ) from error
    return check_features(features, n_images=len(images))


def _fitted_head(
    features: Tensor, classes: Tensor, by_class: Tensor, draws: int, generator: torch.Generator
) -> nn.Linear:
    head = nn.Linear(features.shape[1], int(classes.max()) + 1, device=features.device, dtype=features.dtype)
    bound = features.shape[1] ** -0.5
    for parameter in head.parameters():
        drawn = torch.empty(parameter.shape, dtype=parameter.dtype).uniform_(-bound, bound, generator=generator)
        parameter.data.copy_(drawn)
    optimiser = torch.optim.Adam(head.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    targets = classes.to(features.device)
    for _ in range(_HEAD_EPOCHS):
        for drawn in _drawn(by_class, draws, generator):
            optimiser.zero_grad()
            torch.autograd.backward(F.cross_entropy(head(features[drawn]), targets[drawn]))
            optimiser.step()
    return head.requires_grad_(requires_grad=False)


def _drawn(weights: Tensor, draws: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of the indices of one epoch."""
    indices = torch.multinomial(weights, draws, replacement=True, generator=generator)
    return iter(torch.split(indices[: draws // _BATCH * _BATCH], _BATCH))
