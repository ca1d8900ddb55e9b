"""The one place that says how backbones normalise and drop, and that makes those layers.

Normalisation, ``norm_statistics``:

* ``"batch"``: batch norm without running statistics. Each forward pass is normalised by its own batch, in training and
  in evaluation. This is MAML's usual setting (Finn et al., 2017, their code): adaptation never moves a statistic, but
  the features of an image depend on the images it comes with.
* ``"running"``: ordinary batch norm, batch statistics in train mode and running ones in eval mode. It suits
  pretraining and prototypes, whose features should belong to the image alone. Meta-training refuses it: each inner step
  would write the statistics.
* ``"group"``: group norm, in at most 8 groups of at least 4 channels, in one group for vectors (layer norm). No
  statistics at all, and features belong to the image alone.
* ``"none"``: no normalisation.

In front of a batch norm a layer has no bias: it would be taken out again, and its gradient is zero.

Dropout and DropBlock: off unless a rate is given; at work in train mode only, never in evaluation. During
meta-training each pass of an inner step draws a mask of its own.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError

__all__ = ["NORMS", "DropBlock", "Norm", "check_norm", "has_bias", "norm_1d", "norm_2d"]

Norm = Literal["batch", "running", "group", "none"]
NORMS: tuple[str, ...] = get_args(Norm)

_MAX_GROUPS = 8
_LEAST_CHANNELS = 4


def check_norm(norm: str) -> None:
    """Refuse an unknown policy.

    Raises:
        ConfigurationError: There is no such policy.
    """
    if norm not in NORMS:
        raise ConfigurationError(f"norm_statistics={norm!r}: expected one of {', '.join(map(repr, NORMS))}.")


def has_bias(norm: str) -> bool:
    """Whether a layer in front of the norm needs a bias."""
    return norm in ("group", "none")


def norm_2d(norm: str, channels: int) -> nn.Module:
    """The norm behind a convolution, for inputs (N, channels, H, W)."""
    if norm == "batch":
        return nn.BatchNorm2d(channels, track_running_stats=False)
    if norm == "running":
        return nn.BatchNorm2d(channels)
    fitting = [count for count in range(2, _MAX_GROUPS + 1) if channels % count == 0]
    return _plain(norm, channels, max((count for count in fitting if channels // count >= _LEAST_CHANNELS), default=1))


def norm_1d(norm: str, features: int) -> nn.Module:
    """The norm behind a linear layer, for inputs (N, features)."""
    if norm in ("batch", "running"):
        return nn.BatchNorm1d(features, track_running_stats=norm == "running")
    return _plain(norm, features, 1)


class DropBlock(nn.Module):
    """Sets squares of a feature map to zero in train mode, and scales up what is left (Ghiasi et al., 2018).

    Args:
        rate: Expected share of what is dropped, about: squares may overlap.
        block_size: Side of a square in cells; no larger than the map.
    """

    def __init__(self, rate: float, block_size: int) -> None:
        super().__init__()
        self.rate, self.block_size = rate, block_size

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, C, H, W) with squares dropped."""
        if not self.training or self.rate == 0:
            return features
        height, width = features.shape[-2:]
        side = min(self.block_size, height, width)
        places = (height - side + 1) * (width - side + 1)
        centres = torch.rand_like(features[..., : height - side + 1, : width - side + 1])
        centres = (centres < self.rate * height * width / side**2 / places).to(features.dtype)
        kept = 1 - F.max_pool2d(F.pad(centres, [side - 1] * 4), side, stride=1)
        return features * kept * (kept.numel() / kept.sum().clamp(min=1))


def _plain(norm: str, channels: int, groups: int) -> nn.Module:
    check_norm(norm)
    return nn.Identity() if norm == "none" else nn.GroupNorm(groups, channels)
