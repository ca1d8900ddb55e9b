"""A multilayer perceptron, for vectors and small images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.backbones._norm import Norm, check_norm, has_bias, norm_1d

__all__ = ["MLP"]


class MLP(nn.Module):
    """Layers of a linear map, a norm and a ReLU; inputs of any shape are flattened.

    The default widths are those of MAML's network without convolutions (Finn et al., 2017, Omniglot).

    Args:
        in_features: Values of one input, such as 784 for a grey image of 28 pixels.
        hidden: Width of each layer; the last is the length of the features.
        norm_statistics: See ``Conv4``.

    Raises:
        ConfigurationError: A setting cannot work.

    Example:
        >>> import torch
        >>> MLP(16, hidden=(8, 4))(torch.rand(3, 1, 4, 4)).shape
        torch.Size([3, 4])
    """

    def __init__(
        self, in_features: int = 784, hidden: Sequence[int] = (256, 128, 64, 64), *, norm_statistics: Norm = "batch"
    ) -> None:
        super().__init__()
        if in_features < 1 or not hidden or min(hidden) < 1:
            raise ConfigurationError(
                f"in_features={in_features}, hidden={hidden!r}: expected at least 1, and widths of at least one layer."
            )
        check_norm(norm_statistics)
        self.settings: dict[str, Any] = {
            "in_features": in_features,
            "hidden": list(hidden),
            "norm_statistics": norm_statistics,
        }
        self.feature_dim = hidden[-1]
        self.layers = nn.Sequential(*(_layer(*pair, norm_statistics) for pair in pairwise([in_features, *hidden])))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features of inputs.

        Args:
            inputs: float, shape (N, ...), in_features values each.

        Returns:
            Shape (N, feature_dim).
        """
        features: Tensor = self.layers(inputs.flatten(1))
        return features


def _layer(width_in: int, width_out: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width_in, width_out, bias=has_bias(norm)),
        norm_1d(norm, width_out),
        nn.ReLU(),
    )
