"""Batch norm and max-pooling as one function with derivatives of its own, for CPUs.

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

__all__ = ["can_pool_norm", "is_transformed", "pooled_norm"]

_LAST = torch.channels_last


def can_pool_norm(images: Tensor) -> bool:
    """Whether ``pooled_norm`` takes these: on a CPU, in full precision, with nothing but plain autograd at work."""
    return (
        images.device.type == "cpu"
        and images.dtype in (torch.float32, torch.float64)
        and min(images.shape[-2:]) > 1
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not is_transformed()
    )


def pooled_norm(images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Return ``max_pool2d(batch_norm(images), 2)``, normalised by the batch's own statistics.

    Differentiable as often as torch's own. Where two values of a square are equal the first one has the derivative, as
    torch does.

    Args:
        images: float32 or float64, shape (N, C, H, W), H and W at least 2.
        weight: Shape (C,).
        bias: Shape (C,).
        eps: Added to the variance.

    Returns:
        Shape (N, C, H // 2, W // 2), channels last.
    """
    if bool((weight < 0).any()):
        # The largest of what is turned round is what was smallest.
        sign = torch.where(weight.detach() < 0, -1.0, 1.0).to(weight.dtype)
        images, weight = images * sign[:, None, None], weight * sign
    found: Tensor = _PooledNorm.apply(images.contiguous(memory_format=_LAST), weight, bias, eps)  # type: ignore[no-untyped-call]
    return found


class _PooledNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, channels, height, width = images.shape
        mean, variance = torch.ops.aten.batch_norm_update_stats(images, None, None, 0.0)
        scale = torch.rsqrt(variance + eps)
        largest, inside = F.max_pool2d(images, 2, return_indices=True)
        centred = _rows(largest) - mean
        # Where the largest values lie in memory.
        first = torch.arange(n).mul_(height * width * channels).view(n, 1, 1, 1) + torch.arange(channels).view(-1, 1, 1)
        places = _rows(torch.add(first, inside, alpha=channels)).reshape(-1)
        ctx.save_for_backward(images, weight, mean, scale, centred, places)
        ctx.eps = eps
        return _images(torch.addcmul(bias, centred, weight * scale), n, height // 2, width // 2)

    @staticmethod
    def backward(ctx: Any, *of_output: Tensor) -> Any:
        return (*_Slopes.apply(of_output[0], ctx.eps, *ctx.saved_tensors), None)  # type: ignore[no-untyped-call]


class _Slopes(torch.autograd.Function):
    """The first derivative, which can be differentiated once more."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, eps: float, *of_pass: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images, weight, mean, scale, centred, places = of_pass
        n, _, height, width = images.shape
        values, slopes = _rows(images), _rows(g)
        count = len(values)
        sum_g = slopes.sum(0)
        sum_gx = (slopes * centred).sum(0) * scale
        factor = weight * scale
        by_value = factor * scale * sum_gx / -count
        found = torch.addcmul(factor * sum_g / -count - mean * by_value, values, by_value)
        found.view(-1).scatter_add_(0, places, (slopes * factor).view(-1))
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
        values, slopes, given = _rows(images), _rows(g), _rows(u.contiguous(memory_format=_LAST))
        count, factor = len(values), weight * scale
        sum_u = given.sum(0)
        sum_ux = scale * ((given * values).sum(0) - mean * sum_u)
        at_places = given.view(-1).index_select(0, places).view_as(slopes)
        # The derivatives by weight * scale, by sum_gx, and, summed up in two ways, by each x.
        by_factor = (slopes * at_places).sum(0) - (sum_g * sum_u + sum_gx * sum_ux) / count
        by_sum_gx = of_weight - factor * sum_ux / count
        by_x = by_sum_gx * sum_g - factor * sum_gx * sum_u / count
        by_x_x = by_sum_gx * sum_gx - factor * sum_gx * sum_ux / count
        by_value = -(scale**2) * (by_x_x + factor * by_factor) / count
        of_images = torch.addcmul(-scale * by_x / count - mean * by_value, values, by_value)
        of_images.addcmul_(given, -scale * factor * sum_gx / count)
        of_images.view(-1).scatter_add_(0, places, (slopes * (scale * by_sum_gx)).view(-1))
        of_g = torch.addcmul(of_bias - factor * sum_u / count, centred, by_sum_gx * scale)
        of_g.addcmul_(at_places, factor)
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


def _rows(images: Tensor) -> Tensor:
    """Channels-last images (N, C, H, W) as rows (N H W, C)."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def _images(rows: Tensor, n: int, height: int, width: int) -> Tensor:
    return rows.view(n, height, width, -1).permute(0, 3, 1, 2)


def is_transformed() -> bool:
    """Whether a transform of torch.func is at work, which knows nothing of derivatives that are written out."""
    peek = getattr(torch._C._functorch, "peek_interpreter_stack", None)
    return peek is not None and peek() is not None
