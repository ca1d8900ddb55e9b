"""Per-image squared gradients of single filters, from layer inputs and output gradients alone."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError

FilterLayer = nn.Conv1d | nn.Conv2d | nn.Linear

_CHUNK_ELEMENTS = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LayerUse:
    """One pass of a batch through one layer.

    Args:
        layer: The layer.
        entered: Its input, (N, ...).
        left: Its output as a node of the graph, (N, ...).
    """

    layer: FilterLayer
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


@contextlib.contextmanager
def recorded_layers(backbone: nn.Module) -> Iterator[list[SharedWeight]]:
    """Record inputs and outputs of all filter layers while the context is open.

    Args:
        backbone: Network with frozen parameters.

    Yields:
        The weights in the order of the network's modules; uses appear when images pass.

    Raises:
        ConfigurationError: If the network has no convolution and no linear layer.
    """
    layers = {name: layer for name, layer in backbone.named_modules() if isinstance(layer, FilterLayer)}
    if not layers:
        raise ConfigurationError("the backbone has no Conv1d, Conv2d or Linear layer, expected at least one.")
    weights: dict[int, SharedWeight] = {}
    handles = []
    for layer in layers.values():
        # A parametrised weight is a new tensor at every access, so there the layer itself is the key.
        key = id(dict(layer.named_parameters(recurse=False)).get("weight", layer))
        if key not in weights:
            shape = layer.weight.shape
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
        if isinstance(layer, FilterLayer):
            self._uses.append(LayerUse(layer=layer, entered=args[0].detach().clone(), left=left))
        return left.clone()


def sum_squared_gradients(weight: SharedWeight, gradients: list[Tensor]) -> Tensor:
    """Σ over images and directions of ||∂/∂W_o||² for each filter o of one weight.

    The gradient of one image is δAᵀ, with A the unfolded input (K, L) and δ the output gradient (O, L). Its
    rows are squared directly, or through the Gram matrix as diag(δ(AᵀA)δᵀ), whichever takes fewer products.

    Args:
        weight: The weight with its uses.
        gradients: For each use the gradients with respect to its output, (directions, N, ...).

    Returns:
        float64, (filters,).

    Source: Goodfellow (2015), arXiv 1510.01799; Rochette et al. (2019), arXiv 1912.06015; "ghost" form: Li et
    al. (2021), arXiv 2110.05679.
    """
    total = torch.zeros(weight.filters, dtype=torch.float64)
    images = weight.uses[0].entered.shape[0]
    positions = sum(gradient[0, 0].numel() for gradient in gradients) // weight.filters
    chunk = max(1, _CHUNK_ELEMENTS // (weight.filter_size * positions))
    for start in range(0, images, chunk):
        part = slice(start, start + chunk)
        inputs = torch.cat([_unfolded(use.layer, use.entered[part]) for use in weight.uses], dim=-1)
        deltas = torch.cat(
            [
                _output_positions(use.layer, gradient[:, part])
                for use, gradient in zip(weight.uses, gradients, strict=True)
            ],
            dim=-1,
        )
        total += _row_squares(inputs, deltas).sum(dim=0, dtype=torch.float64).cpu()
    return total


def _row_squares(inputs: Tensor, deltas: Tensor) -> Tensor:
    """Squares summed over directions, (N, filters), of (N, G, K, L) and (directions, N, G, O, L)."""
    directions, images, groups, filters, positions = deltas.shape
    size = inputs.shape[2]
    rows = deltas.permute(1, 2, 0, 3, 4).reshape(images, groups, directions * filters, positions)
    if positions * (size + directions * filters) < directions * filters * size:
        squares = ((rows @ (inputs.mT @ inputs)) * rows).sum(dim=-1)
    else:
        squares = (rows @ inputs.mT).square().sum(dim=-1)
    per_direction = squares.reshape(images, groups, directions, filters)
    return per_direction.sum(dim=2).reshape(images, groups * filters)


def _output_positions(layer: FilterLayer, gradients: Tensor) -> Tensor:
    """Gradients (directions, N, ...) as (directions, N, groups, filters of a group, positions)."""
    directions, images = gradients.shape[:2]
    if isinstance(layer, nn.Linear):
        return gradients.reshape(directions, images, 1, -1, layer.out_features).mT
    return gradients.reshape(directions, images, layer.groups, layer.out_channels // layer.groups, -1)


def _unfolded(layer: FilterLayer, entered: Tensor) -> Tensor:
    """Inputs (N, ...) as (N, groups, weights of a filter, positions)."""
    images = entered.shape[0]
    if isinstance(layer, nn.Linear):
        return entered.reshape(images, 1, -1, layer.in_features).mT
    padded = _padded(layer, entered)
    kernel, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    if isinstance(layer, nn.Conv1d):
        padded = padded.unsqueeze(2)
        kernel, dilation, stride = (1, *kernel), (1, *dilation), (1, *stride)
    patches = F.unfold(padded, kernel, dilation=dilation, stride=stride)
    return patches.reshape(images, layer.groups, -1, patches.shape[-1])


def _padded(layer: nn.Conv1d | nn.Conv2d, entered: Tensor) -> Tensor:
    sides: list[int] = []
    for axis in reversed(range(len(layer.kernel_size))):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        elif isinstance(layer.padding, str):
            sides += [0, 0]
        else:
            sides += [layer.padding[axis]] * 2
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(entered, sides, mode=mode)
