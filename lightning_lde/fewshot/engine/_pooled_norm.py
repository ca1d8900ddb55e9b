"""Batch norm and max-pooling as one function with derivatives of its own.

Pooling commutes with what batch norm does behind its statistics, so that is done to a quarter of the values. The first
and second derivatives are written out: by channel they need two sums over all values and one pass that writes them,
where torch's composition of batch norm's second derivative makes a dozen passes.

With z the input of N values a channel, p = its largest values in each square, x = (p - mean) s, s = 1 / sqrt(var + eps)
and y = gamma x + beta, and the sums A = sum g and B = sum g x over a gradient g of y:

    dz = (gamma s) (g at the places of p) - (gamma s / N) (A + B (z - mean) s),  dgamma = B,  dbeta = A

which is differentiated by g, z and gamma for the second derivative. Whoever wants a third one gets torch's composition.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["pooled_norm", "sign_of"]


def pooled_norm(images: Tensor, weight: Tensor, bias: Tensor, eps: float, *, positive: bool = False) -> Tensor:
    """Return ``max_pool2d(batch_norm(images), 2)``, normalised by the batch's own statistics.

    Differentiable as often as torch's own. Where two values of a square are equal the first one has the derivative, as
    torch does.

    Args:
        images: float32 or float64, shape (N, C, H, W), H and W at least 2.
        weight: Shape (C,).
        bias: Shape (C,).
        eps: Added to the variance.
        positive: Whether it is known that no weight is below 0: to look is to wait for a GPU.

    Returns:
        Shape (N, C, H // 2, W // 2), on a CPU with the channels last.
    """
    if not positive and bool((weight < 0).any()):
        # The largest of what is turned round is what was smallest.
        sign = sign_of(weight)
        images, weight = images * sign[:, None, None], weight * sign
    found: Tensor = _PooledNorm.apply(images.contiguous(memory_format=_layout(images)), weight, bias, eps)  # type: ignore[no-untyped-call]
    return found


def sign_of(weight: Tensor) -> Tensor:
    """Return -1 where a weight is below 0, else 1, as constants."""
    return torch.where(weight.detach() < 0, -1.0, 1.0).to(weight.dtype)


class _PooledNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, _, height, width = images.shape
        mean, variance = torch.ops.aten.batch_norm_update_stats(images, None, None, 0.0)
        scale = torch.rsqrt(variance + eps)
        largest, inside = F.max_pool2d(images, 2, return_indices=True)
        largest = _flat(largest)
        centred = largest - _wide(mean, largest)
        places = _places(images, inside)
        ctx.save_for_backward(images, weight, mean, scale, centred, places)
        ctx.eps = eps
        pooled = torch.addcmul(_wide(bias, centred), centred, _wide(weight * scale, centred))
        return _images(pooled, n, height // 2, width // 2)

    @staticmethod
    def backward(ctx: Any, *of_output: Tensor) -> Any:
        return (*_Slopes.apply(of_output[0], ctx.eps, *ctx.saved_tensors), None)  # type: ignore[no-untyped-call]


class _Slopes(torch.autograd.Function):
    """The first derivative, which can be differentiated once more."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, eps: float, *of_pass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images, weight, mean, scale, centred, places = of_pass
        n, _, height, width = images.shape
        values, slopes = _flat(images), _flat(g)
        count = _count(values)
        sum_g = _sum(slopes)
        sum_gx = _sum(slopes * centred) * scale
        factor = weight * scale
        by_value = factor * scale * sum_gx / -count
        level = factor * sum_g / -count - mean * by_value
        found = torch.addcmul(_wide(level, values), values, _wide(by_value, values))
        found.view(-1).scatter_add_(0, places, (slopes * _wide(factor, slopes)).view(-1))
        ctx.save_for_backward(g, *of_pass, sum_g, sum_gx)
        ctx.eps = eps
        return _images(found, n, height, width), sum_gx, sum_g

    @staticmethod
    def backward(ctx: Any, *of_slopes: Tensor) -> Any:
        u, of_weight, of_bias = of_slopes
        g, images, weight, mean, scale, centred, places, sum_g, sum_gx = ctx.saved_tensors
        if torch.is_grad_enabled():
            # What follows takes mean, scale and places for constants, which a third derivative must not.
            return (*_composed(g, images, weight, ctx.eps, of_slopes), *[None] * 4)
        n, _, height, width = images.shape
        values, slopes, given = _flat(images), _flat(g), _flat(u).contiguous()
        count, factor = _count(values), weight * scale
        sum_u = _sum(given)
        sum_ux = scale * (_sum(given * values) - mean * sum_u)
        at_places = given.view(-1).index_select(0, places).view_as(slopes)
        # The derivatives by weight * scale, by sum_gx, and, summed up in two ways, by each x.
        by_factor = _sum(slopes * at_places) - (sum_g * sum_u + sum_gx * sum_ux) / count
        by_sum_gx = of_weight - factor * sum_ux / count
        by_x = by_sum_gx * sum_g - factor * sum_gx * sum_u / count
        by_x_x = by_sum_gx * sum_gx - factor * sum_gx * sum_ux / count
        by_value = -(scale**2) * (by_x_x + factor * by_factor) / count
        level = -scale * by_x / count - mean * by_value
        of_images = torch.addcmul(_wide(level, values), values, _wide(by_value, values))
        of_images.addcmul_(given, _wide(-scale * factor * sum_gx / count, given))
        of_images.view(-1).scatter_add_(0, places, (slopes * _wide(scale * by_sum_gx, slopes)).view(-1))
        level = of_bias - factor * sum_u / count
        of_g = torch.addcmul(_wide(level, centred), centred, _wide(by_sum_gx * scale, centred))
        of_g.addcmul_(at_places, _wide(factor, centred))
        half = height // 2, width // 2
        found = _images(of_g, n, *half), None, _images(of_images, n, height, width), scale * by_factor
        return (*found, *[None] * 4)


def _composed(g: Tensor, images: Tensor, weight: Tensor, eps: float, of_slopes: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """The second derivative by g, eps (there is none), images and weight, by torch's own operations."""
    # g may depend on the images: names of their own make these derivatives partial ones.
    g, images, weight = (each.view_as(each) for each in (g, images, weight))
    bias = torch.zeros_like(weight, requires_grad=True)
    out = F.max_pool2d(F.batch_norm(images, None, None, weight, bias, True, 0.0, eps), 2)
    slopes = torch.autograd.grad(out, (images, weight, bias), g, create_graph=True)
    by = torch.autograd.grad(slopes, (g, images, weight), of_slopes, create_graph=True, allow_unused=True)
    return by[0], None, *by[1:]


def _layout(images: Tensor) -> torch.memory_format:
    """How values lie: on a CPU pixel by pixel, on a GPU channel by channel."""
    return torch.channels_last if images.device.type == "cpu" else torch.contiguous_format


def _flat(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as they lie: on a CPU (N H W, C), on a GPU (N, C, H W)."""
    n, channels, height, width = images.shape
    if images.device.type == "cpu":
        return images.permute(0, 2, 3, 1).reshape(-1, channels)
    return images.reshape(n, channels, height * width)


def _images(flat: Tensor, n: int, height: int, width: int) -> Tensor:
    if flat.ndim == 2:
        return flat.view(n, height, width, -1).permute(0, 3, 1, 2)
    return flat.view(n, -1, height, width)


def _wide(by_channel: Tensor, flat: Tensor) -> Tensor:
    """Numbers by channel in a shape that goes with flat values."""
    return by_channel if flat.ndim == 2 else by_channel[:, None]


def _sum(flat: Tensor) -> Tensor:
    """By channel; on a GPU in two steps, since few sums keep few of its processors busy."""
    return flat.sum(0) if flat.ndim == 2 else flat.sum(2).sum(0)


def _count(flat: Tensor) -> int:
    """Values of a channel."""
    return len(flat) if flat.ndim == 2 else flat.shape[0] * flat.shape[2]


def _places(images: Tensor, inside: Tensor) -> Tensor:
    """Where in memory those values lie that a pooling took, from their places in each plane."""
    n, channels, height, width = images.shape
    of_pixel, of_channel = (channels, 1) if images.device.type == "cpu" else (1, height * width)
    of_image = torch.arange(n, device=images.device).mul_(height * width * channels).view(n, 1, 1, 1)
    first = of_image + torch.arange(channels, device=images.device).mul_(of_channel).view(-1, 1, 1)
    return _flat(torch.add(first, inside, alpha=of_pixel)).reshape(-1)
