"""Convolution whose second derivatives are computed in the way of its first ones.

torch's own takes the second derivative by the weights for a convolution with kernels as large as the image, for which
its backends have no good program: on a GPU it took two fifths of a meta-step of second order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["convolve"]

_ONCE = (1, 1)
_FEW_VALUES = 2**18


def convolve(images: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Return ``conv2d(images, weight, padding=padding)``, differentiable as often.

    Args:
        images: Shape (N, C, H, W).
        weight: Shape (channels, C, height, width).
        padding: Zeros at each side in pixels.

    Returns:
        Shape (N, channels, H', W').
    """
    if not torch.is_grad_enabled() or _is_small(images, weight):
        return F.conv2d(images, weight, padding=padding)
    found: Tensor = _Convolution.apply(images, weight, padding)  # type: ignore[no-untyped-call]
    return found


def _is_small(images: Tensor, weight: Tensor) -> bool:
    """Whether what comes out is so little that a CPU gains nothing: measured with 5 to 25 images of 3 to 84 pixels."""
    count, _, height, width = images.shape
    return images.device.type == "cpu" and count * len(weight) * height * width < _FEW_VALUES


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        return F.conv2d(images, weight, padding=padding)

    @staticmethod
    def backward(ctx: Any, *of_output: Tensor) -> Any:
        asked = ctx.needs_input_grad[:2]
        return (*_Slopes.apply(of_output[0], *ctx.saved_tensors, ctx.padding, asked), None)  # type: ignore[no-untyped-call]


class _Slopes(torch.autograd.Function):
    """The first derivatives, by images and by weights."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, images: Tensor, weight: Tensor, padding: int, asked: tuple[bool, bool]) -> Any:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, images, weight)
        ctx.padding = padding
        return _slopes(g, images, weight, padding, *asked)

    @staticmethod
    def backward(ctx: Any, *of_slopes: Tensor | None) -> Any:
        of_images, of_weight = of_slopes
        g, images, weight = ctx.saved_tensors
        by_g, by_images, by_weight = ctx.needs_input_grad[:3]
        found: list[Tensor | None] = [None] * 5
        if by_g:
            found[0] = _sum(
                None if of_images is None else F.conv2d(of_images, weight, padding=ctx.padding),
                None if of_weight is None else F.conv2d(images, of_weight, padding=ctx.padding),
            )
        if by_images and of_weight is not None:
            found[1] = _slopes(g, images, of_weight, ctx.padding, True, False)[0]
        if by_weight and of_images is not None:
            found[2] = _slopes(g, of_images, weight, ctx.padding, False, True)[1]
        return tuple(found)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one if other is None else other if one is None else one + other


def _slopes(
    g: Tensor, images: Tensor, weight: Tensor, padding: int, by_images: bool, by_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients by images and by weights where they are asked for."""
    asked = [by_images, by_weight, False]
    found = torch.ops.aten.convolution_backward(
        g, images, weight, None, _ONCE, (padding, padding), _ONCE, False, (0, 0), 1, asked
    )
    return found[0], found[1]
