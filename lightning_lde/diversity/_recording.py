"""What passes through the layers of a probe: inputs and outputs of convolutions, linear layers and norms."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_lde.errors import ConfigurationError

FilterLayer = nn.Conv1d | nn.Conv2d | nn.Linear
NormLayer = _BatchNorm | nn.GroupNorm


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LayerUse:
    """One pass of a batch through one layer.

    Args:
        layer: The layer.
        entered: Its input, (N, ...).
        left: Its output as a node of the graph, (N, ...).
    """

    layer: nn.Module
    entered: Tensor
    left: Tensor


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SharedWeight:
    """A weight and every use of it in one forward pass.

    Args:
        filters: Number of its filters (output channels).
        filter_size: Number of weights of one filter.
        uses: Passes through the layers that hold it.
    """

    filters: int
    filter_size: int
    uses: list[LayerUse]


def chosen_layers(
    backbone: nn.Module, *, layers: Sequence[str] | None = None, norm_weights: bool = False
) -> list[nn.Module]:
    """The layers whose filters make up an embedding, in the order of the network's modules.

    Args:
        backbone: The network.
        layers: Names of modules as ``named_modules`` has them; only layers in these are taken. All if None.
        norm_weights: Whether the weights of batch and group norms count, each channel as a filter.

    Raises:
        ConfigurationError: If a name is unknown, or no layer is left.
    """
    modules = dict(backbone.named_modules())
    for name in layers or ():
        if name not in modules:
            known = ", ".join(child for child, _ in backbone.named_children())
            raise ConfigurationError(
                f"layers holds {name!r}, expected names of the backbone's modules, such as {known}."
            )
    chosen = [
        module
        for name, module in modules.items()
        if _has_filters(module, norm_weights=norm_weights)
        and (layers is None or any(f"{name}.".startswith(f"{part}.") for part in layers))
    ]
    if not chosen:
        raise ConfigurationError(
            "the backbone has no Conv1d, Conv2d or Linear layer among those to be embedded, expected at least one."
        )
    return chosen


def _has_filters(module: nn.Module, *, norm_weights: bool) -> bool:
    if isinstance(module, FilterLayer):
        return True
    return norm_weights and isinstance(module, NormLayer) and module.weight is not None


@contextlib.contextmanager
def recorded_layers(chosen: Sequence[nn.Module]) -> Iterator[list[SharedWeight]]:
    """Record inputs and outputs of layers while the context is open.

    Args:
        chosen: Layers of a network with frozen parameters.

    Yields:
        The weights in the order of the layers; uses appear when images pass.
    """
    weights: dict[int, SharedWeight] = {}
    handles = []
    for layer in chosen:
        # A parametrised weight is a new tensor at every access, so there the layer itself is the key.
        key = id(dict(layer.named_parameters(recurse=False)).get("weight", layer))
        if key not in weights:
            shape = cast(Tensor, layer.weight).shape
            weights[key] = SharedWeight(filters=shape[0], filter_size=shape[1:].numel(), uses=[])
        handles.append(layer.register_forward_hook(_Recorder(weights[key].uses)))
    try:
        yield list(weights.values())
    finally:
        for handle in handles:
            handle.remove()


class _Recorder:
    """A forward hook that keeps what passes and hands copies on, so that in-place layers spoil nothing."""

    def __init__(self, uses: list[LayerUse]) -> None:
        self._uses = uses

    def __call__(self, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        left = output if output.requires_grad else output.detach().requires_grad_()
        self._uses.append(LayerUse(layer=layer, entered=args[0].detach().clone(), left=left))
        return left.clone()


def record(backbone: nn.Module, chosen: Sequence[nn.Module], batch: Tensor) -> tuple[Tensor, list[SharedWeight]]:
    """Pass a batch through a network and keep what is needed for the gradients of each image.

    Args:
        backbone: Network with frozen parameters, in evaluation mode.
        chosen: The layers to record.
        batch: Images, (N, C, H, W).

    Returns:
        The features as a node of the graph, (N, D), and the weights with their uses.

    Raises:
        ConfigurationError: If a layer is not called, or not with the batch as its first dimension.
    """
    with torch.enable_grad(), recorded_layers(chosen) as weights:
        features = backbone(batch)
    for weight in weights:
        _check_followed(weight, n_images=batch.shape[0])
    return features, weights


def _check_followed(weight: SharedWeight, *, n_images: int) -> None:
    if not weight.uses:
        raise ConfigurationError(
            f"a layer of {weight.filters} filters was never called, expected every layer that is embedded to be "
            "called by the probe's forward; remove layers that are unused or only lend their weights."
        )
    for use in weight.uses:
        if use.entered.shape[0] != n_images or use.left.shape[0] != n_images:
            raise ConfigurationError(
                f"{use.layer} got an input of shape {tuple(use.entered.shape)} for {n_images} images, "
                "expected the images as its first dimension; keep them apart in the backbone."
            )
