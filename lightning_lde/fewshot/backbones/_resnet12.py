"""ResNet12 in the variant of RFS."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.backbones._convolution import Convolution
from lightning_lde.fewshot.backbones._norm import DropBlock, Norm, check_norm, has_bias, norm_2d

__all__ = ["ResNet12"]

_WIDTHS = (64, 160, 320, 640)
_SLOPE = 0.1
_MIN_SIZE = 2 ** len(_WIDTHS)


class ResNet12(nn.Module):
    """Four residual blocks of three 3x3 convolutions, each ended by 2x2 max-pooling; the mean over places at the end.

    12.4 million parameters with ``width=1``. LeakyReLU has the slope 0.1; each shortcut is a 1x1 convolution with a
    norm. ``drop_rate`` is 0: regularisation is the user's choice, not ours. With a rate, blocks 1 and 2 end in dropout,
    3 and 4 in DropBlock, as in RFS, but at a constant rate: a rate that grows would have to count batches in a buffer.

    Args:
        in_channels: Channels of the images, 1 or 3 as a rule.
        width: Factor on the 64, 160, 320 and 640 channels of the blocks, rounded.
        image_size: Height and width of the images in pixels, at least 16; it changes nothing but the check.
        norm_statistics: See ``Conv4``.
        drop_rate: Share of what is dropped at the end of each block in train mode, below 1.
        dropblock_size: Side of the squares that DropBlock drops, cells.

    Raises:
        ConfigurationError: A setting cannot work.

    Source: Tian et al., Rethinking Few-Shot Image Classification (RFS), 2020, and their code; Ghiasi et al., DropBlock,
        2018.

    Example:
        >>> import torch
        >>> net = ResNet12(width=0.1)
        >>> net(torch.rand(2, 3, 32, 32)).shape, net.feature_dim
        (torch.Size([2, 64]), 64)
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: float = 1.0,
        image_size: int = 84,
        *,
        norm_statistics: Norm = "batch",
        drop_rate: float = 0.0,
        dropblock_size: int = 5,
    ) -> None:
        super().__init__()
        widths = [in_channels, *(round(width * channels) for channels in _WIDTHS)]
        _check(widths, image_size, drop_rate, dropblock_size)
        check_norm(norm_statistics)
        self.settings: dict[str, Any] = {
            "in_channels": in_channels,
            "width": width,
            "image_size": image_size,
            "norm_statistics": norm_statistics,
            "drop_rate": drop_rate,
            "dropblock_size": dropblock_size,
        }
        self.feature_dim = widths[-1]
        drops = [nn.Dropout(drop_rate)] * 2 + [DropBlock(drop_rate, dropblock_size)] * 2
        pairs = zip(pairwise(widths), drops, strict=True)
        self.blocks = nn.Sequential(*(_Block(*pair, norm_statistics, drop) for pair, drop in pairs))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images.

        Args:
            images: float, shape (N, in_channels, image_size, image_size).

        Returns:
            Shape (N, feature_dim).
        """
        features: Tensor = self.blocks(images)
        return features.mean((2, 3))


class _Block(nn.Module):
    """Three convolutions beside a shortcut, then pooling, LeakyReLU (they commute) and dropping."""

    def __init__(self, channels_in: int, channels_out: int, norm: str, drop: nn.Module) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for place, channels in enumerate((channels_in, channels_out, channels_out)):
            layers += [nn.LeakyReLU(_SLOPE)] if place else []
            layers += [Convolution(channels, channels_out, 3, bias=has_bias(norm))]
            layers += [norm_2d(norm, channels_out)]
        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(
            Convolution(channels_in, channels_out, 1, bias=has_bias(norm)), norm_2d(norm, channels_out)
        )
        self.drop = drop

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, channels_out, H // 2, W // 2) of (N, channels_in, H, W)."""
        pooled = F.max_pool2d(self.residual(features) + self.shortcut(features), 2)
        dropped: Tensor = self.drop(F.leaky_relu(pooled, _SLOPE))
        return dropped


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu", a=_SLOPE)


def _check(widths: list[int], image_size: int, drop_rate: float, dropblock_size: int) -> None:
    if min(widths) < 1 or image_size < _MIN_SIZE:
        raise ConfigurationError(
            f"channels {widths}, image_size={image_size}: expected in_channels and width that give at least one "
            f"channel everywhere, and images of at least {_MIN_SIZE} pixels; nothing is left of smaller ones."
        )
    if not 0 <= drop_rate < 1 or dropblock_size < 1:
        raise ConfigurationError(
            f"drop_rate={drop_rate}, dropblock_size={dropblock_size}: expected a share below 1, and at least 1."
        )
