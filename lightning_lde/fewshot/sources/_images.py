"""Images of any kind (Pillow, array, tensor) brought into one tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._preparation import prepare

__all__ = ["as_sample", "stack_samples"]

_GREY_MODES = ("1", "L", "LA", "I;16")


def as_sample(value: Any, place: str) -> Tensor:
    """Return an image as uint8 (C, H, W), or numbers that are no image as float32.

    Args:
        value: A Pillow image, an array (H, W) or (H, W, C) of uint8, a tensor (H, W) or (C, H, W) of uint8,
            or an array or tensor of floats.
        place: What to call it in an error.

    Raises:
        DataError: It is something else.
    """
    if hasattr(value, "convert") and hasattr(value, "mode"):
        return _from_pillow(value, place)
    channels_last = not isinstance(value, Tensor)
    try:
        sample = torch.as_tensor(np.asarray(value) if channels_last else value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{place} is a {type(value).__name__}; expected an image, an array or a tensor.") from error
    if sample.is_floating_point():
        return sample.to(torch.float32)
    if sample.dtype == torch.bool:
        sample = sample.to(torch.uint8) * 255
    if sample.ndim == 3 and channels_last:
        sample = sample.permute(2, 0, 1)
    sample = sample[None] if sample.ndim == 2 else sample
    if sample.dtype != torch.uint8 or sample.ndim != 3 or sample.shape[0] not in (1, 3, 4):
        raise DataError(
            f"{place} is {sample.dtype} of shape {tuple(sample.shape)}; expected a uint8 image with 1 or 3 channels, "
            "or floats."
        )
    # What is transparent counts as it is coloured, as in Pillow's own conversion.
    return sample[:3] if sample.shape[0] == 4 else sample


def stack_samples(samples: Iterable[Tensor], n_samples: int, *, size: int | None, channels: int | None) -> Tensor:
    """Return samples as one tensor (n_samples, ...), each brought to one form as it comes.

    Args:
        samples: uint8 (C, H, W), or float32 of one shape.
        n_samples: How many there are.
        size: Height and width; None: they all have the same.
        channels: 1 or 3; None: they all have the same.

    Raises:
        DataError: Types or shapes differ.
    """
    stack = torch.empty(0)
    for row, sample in enumerate(samples):
        sample = _brought_to(sample, size, channels)
        if row == 0:
            stack = torch.empty((n_samples, *sample.shape), dtype=sample.dtype)
        if sample.dtype != stack.dtype or sample.shape != stack.shape[1:]:
            raise DataError(
                f"sample {row} is {sample.dtype} of shape {tuple(sample.shape)}, the first one {stack.dtype} of shape "
                f"{tuple(stack.shape[1:])}: give size and channels to make images alike."
            )
        stack[row] = sample
    return stack


def _brought_to(sample: Tensor, size: int | None, channels: int | None) -> Tensor:
    if (size is None and channels is None) or sample.ndim != 3 or sample.shape[0] not in (1, 3):
        return sample
    channels = channels or sample.shape[0]
    if size is not None:
        return prepare(sample[None], size=size, channels=channels)[0]
    # As pictures of one pixel: the arithmetic of colour is that of prepare, the size stays.
    pixels = sample.permute(1, 2, 0).reshape(-1, sample.shape[0], 1, 1)
    return prepare(pixels, size=1, channels=channels).view(*sample.shape[1:], channels).permute(2, 0, 1)


def _from_pillow(image: Any, place: str) -> Tensor:
    if image.mode in ("I", "F"):
        raise DataError(f"{place} has Pillow's mode {image.mode!r}, whose range is not known: convert it to 8 bits.")
    if image.mode == "I;16":
        grey = np.rint(np.asarray(image, dtype=np.float32) / 257).astype(np.uint8)
    else:
        grey = np.array(image.convert("L" if image.mode in _GREY_MODES else "RGB"))
    tensor = torch.from_numpy(grey)
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)
