"""Images brought to one size and number of channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_lde.errors import ConfigurationError

__all__ = ["check_form", "preparation_words", "prepare"]

_LUMA = (0.299, 0.587, 0.114)
_CHUNK = 4096


def check_form(size: int | None, channels: int | None) -> None:
    """Refuse a size that is not positive and a number of channels that is neither 1 nor 3.

    Raises:
        ConfigurationError: One of them is wrong; None is never wrong.
    """
    if (size is not None and size < 1) or channels not in (None, 1, 3):
        raise ConfigurationError(f"size={size}, channels={channels}: expected a positive size and 1 or 3 channels.")


def prepare(images: Tensor, *, size: int, channels: int) -> Tensor:
    """Return images as squares of one size with one or three channels, of the type they had.

    Resizing is antialiased bilinear without keeping the aspect; colour becomes grey by the luma of
    ITU-R BT.601; grey becomes colour by repetition.

    Args:
        images: uint8 or float32, shape (N, 1 or 3, H, W).
        size: Height and width of the result.
        channels: 1 or 3.
    """
    if images.shape[1:] == (channels, size, size):
        return images
    return torch.cat([_prepare(part, size, channels) for part in torch.split(images, _CHUNK)]).contiguous()


def preparation_words(size: int, channels: int) -> str:
    """Return what ``prepare`` does, as it is recorded."""
    return f"resize(bilinear, antialias)={size}x{size}, channels={channels}"


def _prepare(images: Tensor, size: int, channels: int) -> Tensor:
    pixels = images.float()
    if channels == 1 and pixels.shape[1] == 3:
        pixels = (pixels * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if pixels.shape[2:] != (size, size):
        pixels = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    if images.dtype == torch.uint8:
        pixels = pixels.round().clamp(0, 255).to(torch.uint8)
    return pixels.expand(-1, channels, -1, -1)
