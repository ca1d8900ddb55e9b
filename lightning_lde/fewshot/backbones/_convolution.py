"""The convolution of the backbones."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_lde.fewshot.engine import convolve, is_plain

__all__ = ["Convolution"]


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` that keeps the size of odd kernels, with quicker second derivatives where it has no bias.

    Args:
        in_channels: Channels of the images.
        out_channels: Channels of the features.
        size: Height and width of the kernels, odd.
        bias: Whether to add a number by channel.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, size, padding=size // 2, bias=bias)

    def forward(self, input: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return features (N, out_channels, H, W) of (N, in_channels, H, W), by other weights than its own if given."""
        weight = self.weight if weight is None else weight
        if self.bias is None and is_plain(input):
            return convolve(input, weight, padding=self.kernel_size[0] // 2)
        found: Tensor = self._conv_forward(input, weight, self.bias)
        return found
