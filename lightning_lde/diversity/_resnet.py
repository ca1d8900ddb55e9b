"""ResNet-18 and ResNet-34 with torchvision's names, so that its weights fit, up to the features in front of ``fc``."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (64, 128, 256, 512)


class ResNet(nn.Module):
    """Residual network of blocks of two 3x3 convolutions, without its classifier.

    Args:
        blocks: Number of blocks in each of four layers.
        in_channels: Channels of the images.

    Source: He et al. (2016), arXiv 1512.03385; stride, names and first weights as in torchvision's ``resnet.py``.
    """

    def __init__(self, blocks: Sequence[int], in_channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, _WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.layer1 = _layer(_WIDTHS[0], _WIDTHS[0], blocks[0], stride=1)
        self.layer2 = _layer(_WIDTHS[0], _WIDTHS[1], blocks[1], stride=2)
        self.layer3 = _layer(_WIDTHS[1], _WIDTHS[2], blocks[2], stride=2)
        self.layer4 = _layer(_WIDTHS[2], _WIDTHS[3], blocks[3], stride=2)
        self.feature_dim = _WIDTHS[3]
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return features (N, 512) of images (N, in_channels, H, W)."""
        hidden = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            hidden = layer(hidden)
        return hidden.mean(dim=(2, 3))


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
            )
            if stride > 1 or channels_in != channels_out
            else None
        )

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(hidden)))))
        return F.relu(inner + (hidden if self.downsample is None else self.downsample(hidden)))


def _layer(channels_in: int, channels_out: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = _Block(channels_in, channels_out, stride)
    return nn.Sequential(first, *(_Block(channels_out, channels_out, 1) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet18(in_channels: int = 3) -> ResNet:
    """ResNet-18 up to its features.

    Args:
        in_channels: Channels of the images.

    Returns:
        A network that maps images to features (N, 512).

    Example:
        >>> import torch
        >>> resnet18().eval()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 512])
    """
    return ResNet((2, 2, 2, 2), in_channels)


def resnet34(in_channels: int = 3) -> ResNet:
    """ResNet-34 up to its features, the probe of the Task2Vec paper where its weights are ImageNet's.

    Args:
        in_channels: Channels of the images.

    Returns:
        A network that maps images to features (N, 512).
    """
    return ResNet((3, 4, 6, 3), in_channels)
