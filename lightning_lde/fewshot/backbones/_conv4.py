"""Conv4, the small convolutional network of few-shot learning."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.backbones._convolution import Convolution
from lightning_lde.fewshot.backbones._norm import Norm, check_norm, has_bias, norm_2d
from lightning_lde.fewshot.engine import is_plain, pooled_norm, sign_of

__all__ = ["Conv4"]

_BLOCKS = 4


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, norm, 2x2 max-pooling and ReLU (Vinyals et al., 2016).

    Pooling stands in front of the ReLU: they commute, and a quarter of the values is left for the ReLU.

    Args:
        in_channels: Channels of the images, 1 or 3 as a rule.
        width: Channels of each block.
        image_size: Height and width of the images in pixels, at least 16.
        norm_statistics: "batch", MAML's usual policy; "running", that of pretraining; "group" or "none". What they mean
            stands in ``lightning_lde.fewshot.backbones._norm``.

    Raises:
        ConfigurationError: A setting cannot work.

    Example:
        >>> import torch
        >>> net = Conv4(width=8)
        >>> net(torch.rand(5, 1, 28, 28)).shape, net.feature_dim
        (torch.Size([5, 8]), 8)
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 32,
        image_size: int = 28,
        *,
        norm_statistics: Norm = "batch",
    ) -> None:
        super().__init__()
        _check(in_channels, width, image_size)
        check_norm(norm_statistics)
        self.settings: dict[str, Any] = {
            "in_channels": in_channels,
            "width": width,
            "image_size": image_size,
            "norm_statistics": norm_statistics,
        }
        self.feature_dim = width * (image_size // 2**_BLOCKS) ** 2
        widths = [in_channels] + [width] * _BLOCKS
        self.blocks = nn.Sequential(*(_Block(*pair, norm_statistics) for pair in pairwise(widths)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images.

        Args:
            images: float, shape (N, in_channels, image_size, image_size).

        Returns:
            Shape (N, feature_dim).
        """
        features: Tensor = self.blocks(images)
        return features.flatten(1)


class _Block(nn.Sequential):
    """Convolution, norm, pooling, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, norm: str) -> None:
        super().__init__(
            Convolution(channels_in, channels_out, 3, bias=has_bias(norm)),
            norm_2d(norm, channels_out),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return features of half the height and width."""
        convolution, norm = cast(Convolution, self[0]), self[1]
        if not isinstance(norm, nn.BatchNorm2d) or norm.track_running_stats or not _poolable(images):
            return F.relu(F.max_pool2d(norm(convolution(images)), 2))
        if not images.is_cuda:
            return F.relu(pooled_norm(convolution(images), norm.weight, norm.bias, norm.eps))
        # To turn the weights round costs nothing; a hook of the convolution sees its features turned round, too.
        sign = sign_of(norm.weight)
        convolved = convolution(images, convolution.weight * sign[:, None, None, None])
        return F.relu(pooled_norm(convolved, norm.weight * sign, norm.bias, norm.eps, positive=True))


def _poolable(images: Tensor) -> bool:
    return min(images.shape[-2:]) > 1 and is_plain(images)


def _check(in_channels: int, width: int, image_size: int) -> None:
    if in_channels < 1 or width < 1 or image_size < 2**_BLOCKS:
        raise ConfigurationError(
            f"in_channels={in_channels}, width={width}, image_size={image_size}: expected at least 1, 1 "
            f"and {2**_BLOCKS}; four poolings leave nothing of smaller images."
        )
