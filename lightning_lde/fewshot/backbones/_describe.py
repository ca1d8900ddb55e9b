"""What is asked of a backbone: the length of its features, its settings, its size."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedParameter

from lightning_lde.errors import ConfigurationError

__all__ = ["count_parameters", "describe_backbone", "feature_dim"]


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


def count_parameters(module: nn.Module) -> int:
    """Return the number of values in a module's parameters, each counted once; lazy ones count when they are there.

    Example:
        >>> count_parameters(nn.Linear(3, 2))
        8
    """
    return sum(one.numel() for one in module.parameters() if not isinstance(one, UninitializedParameter))


def describe_backbone(backbone: nn.Module) -> dict[str, Any]:
    """Return class, settings and number of parameters of a backbone, in the form stored as hyper-parameters."""
    described = {"class": type(backbone).__name__, **getattr(backbone, "settings", {})}
    return {**described, "parameters": count_parameters(backbone)}
