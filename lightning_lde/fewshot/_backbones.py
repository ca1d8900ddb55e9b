"""The convolutional networks that turn images into feature vectors, and how they are described."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError

__all__ = ["Conv4", "describe_backbone", "feature_dim"]

_BLOCKS = 4


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, batch norm, ReLU and 2x2 max-pooling (Vinyals et al., 2016).

    Batch norm follows one of two policies:

    * ``"batch"``: no running statistics; each forward pass is normalised by its own batch, in training
      and in evaluation. This is MAML's usual setting (Finn et al., 2017, their code): adaptation never
      moves a statistic, but the features of an image depend on the images it comes with.
    * ``"running"``: ordinary batch norm; batch statistics in train mode, running ones in eval mode.
      This suits pretraining, whose features should belong to the image alone.

    Args:
        in_channels: Channels of the images, 1 or 3 as a rule.
        width: Channels of each block.
        image_size: Height and width of the images in pixels, at least 16.
        norm_statistics: "batch" or "running".

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
        norm_statistics: Literal["batch", "running"] = "batch",
    ) -> None:
        super().__init__()
        _check(in_channels, width, image_size, norm_statistics)
        self.settings: dict[str, Any] = {
            "in_channels": in_channels,
            "width": width,
            "image_size": image_size,
            "norm_statistics": norm_statistics,
        }
        self.feature_dim = width * (image_size // 2**_BLOCKS) ** 2
        widths = [in_channels] + [width] * _BLOCKS
        running = norm_statistics == "running"
        blocks = [_block(*pair, running=running) for pair in pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images.

        Args:
            images: float, shape (N, in_channels, image_size, image_size).

        Returns:
            Shape (N, feature_dim).
        """
        features: Tensor = self.blocks(images)
        return features.flatten(1)


def feature_dim(backbone: nn.Module) -> int:
    """Return the length of a backbone's feature vectors.

    Raises:
        ConfigurationError: It is no module with an integer attribute ``feature_dim``.
    """
    length = getattr(backbone, "feature_dim", None)
    if not isinstance(backbone, nn.Module) or not isinstance(length, int):
        raise ConfigurationError(
            f"backbone is {backbone!r:.80}; expected a torch module with an integer feature_dim, "
            "such as Conv4(); load_from_checkpoint needs it too: pass backbone=..."
        )
    return length


def describe_backbone(backbone: nn.Module) -> dict[str, Any]:
    """Return class and settings of a backbone in the form that is stored as hyper-parameters."""
    return {"class": type(backbone).__name__, **getattr(backbone, "settings", {})}


def _block(channels_in: int, channels_out: int, *, running: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out, track_running_stats=running),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def _check(in_channels: int, width: int, image_size: int, norm_statistics: str) -> None:
    if in_channels < 1 or width < 1 or image_size < 2**_BLOCKS:
        raise ConfigurationError(
            f"in_channels={in_channels}, width={width}, image_size={image_size}: expected at least 1, 1 "
            f"and {2**_BLOCKS}; four poolings leave nothing of smaller images."
        )
    if norm_statistics not in ("batch", "running"):
        raise ConfigurationError(f"norm_statistics={norm_statistics!r}: expected 'batch' or 'running'.")
