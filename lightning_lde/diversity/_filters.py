"""Per-image squared gradients of single filters, from layer inputs and output gradients alone."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._recording import FilterLayer, LayerUse, NormLayer, SharedWeight

_CHUNK_ELEMENTS = 1 << 20
_CHUNK_ELEMENTS_GPU = 1 << 26


def sum_squared_gradients(weight: SharedWeight, gradients: list[Tensor]) -> Tensor:
    """Σ over images and directions of ||∂/∂W_o||² for each filter o of one weight.

    The gradient of one image is δAᵀ, with A the unfolded input (K, L) and δ the output gradient (O, L). Its
    rows are squared directly, or through the Gram matrix as diag(δ(AᵀA)δᵀ), whichever takes fewer products.
    The weight of a norm has the gradient Σ_l δ_l x̂_l, with x̂ the normalised input.

    Args:
        weight: The weight with its uses.
        gradients: For each use the gradients with respect to its output, (directions, N, ...).

    Returns:
        In the precision and on the device of the gradients, (filters,).

    Source: Goodfellow (2015), arXiv 1510.01799; Rochette et al. (2019), arXiv 1912.06015; "ghost" form: Li et
    al. (2021), arXiv 2110.05679.
    """
    if isinstance(weight.uses[0].layer, NormLayer):
        return _norm_squares(weight, gradients)
    total = gradients[0].new_zeros(weight.filters)
    images = weight.uses[0].entered.shape[0]
    positions = sum(gradient[0, 0].numel() for gradient in gradients) // weight.filters
    elements = _CHUNK_ELEMENTS_GPU if total.is_cuda else _CHUNK_ELEMENTS
    chunk = max(1, elements // (weight.filter_size * positions))
    for start in range(0, images, chunk):
        part = slice(start, start + chunk)
        inputs = _joined([_unfolded(use, part) for use in weight.uses])
        deltas = _joined([_output_positions(*one, part) for one in zip(weight.uses, gradients, strict=True)])
        total += _row_squares(inputs, deltas).sum(dim=0)
    return total


def _joined(parts: list[Tensor]) -> Tensor:
    """Uses of one weight side by side, as if their positions were those of one larger image."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _norm_squares(weight: SharedWeight, gradients: list[Tensor]) -> Tensor:
    by_image = torch.zeros(())
    for use, gradient in zip(weight.uses, gradients, strict=True):
        products = gradient * _normalised(cast(NormLayer, use.layer), use.entered)
        by_image = by_image.to(products) + products.reshape(*products.shape[:3], -1).sum(dim=-1)
    return by_image.square().sum(dim=(0, 1))


def _normalised(layer: NormLayer, entered: Tensor) -> Tensor:
    if isinstance(layer, nn.GroupNorm):
        return F.group_norm(entered, layer.num_groups, eps=layer.eps)
    return F.batch_norm(entered, layer.running_mean, layer.running_var, eps=layer.eps)


def _row_squares(inputs: Tensor, deltas: Tensor) -> Tensor:
    """Squares summed over directions, (N, filters), of (N, G, K, L) and (directions, N, G, O, L)."""
    directions, images, groups, filters, positions = deltas.shape
    size = inputs.shape[2]
    rows = deltas.permute(1, 2, 0, 3, 4).reshape(images, groups, directions * filters, positions)
    if positions * (size + directions * filters) < directions * filters * size:
        # Rounding may leave a sum of products a little below zero, which no sum of squares is.
        squares = ((rows @ (inputs.mT @ inputs)) * rows).sum(dim=-1).clamp_min(0.0)
    else:
        squares = (rows @ inputs.mT).square().sum(dim=-1)
    per_direction = squares.reshape(images, groups, directions, filters)
    return per_direction.sum(dim=2).reshape(images, groups * filters)


def _output_positions(use: LayerUse, of_all: Tensor, part: slice) -> Tensor:
    """Gradients (directions, N, ...) of some images as (directions, N, groups, filters of a group, positions)."""
    layer, gradients = cast(FilterLayer, use.layer), of_all[:, part]
    directions, images = gradients.shape[:2]
    if isinstance(layer, nn.Linear):
        return gradients.reshape(directions, images, 1, -1, layer.out_features).mT
    return gradients.reshape(directions, images, layer.groups, layer.out_channels // layer.groups, -1)


def _unfolded(use: LayerUse, part: slice) -> Tensor:
    """Inputs (N, ...) of some images as (N, groups, weights of a filter, positions)."""
    layer, entered = cast(FilterLayer, use.layer), use.entered[part]
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
