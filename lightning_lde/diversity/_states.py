"""Weights of a backbone found in what was saved: torchvision's files, Lightning's checkpoints, larger models."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError

from ._resnet import ResNet

_KNOWN_DEPTHS = {(2, 2, 2, 2), (3, 4, 6, 3)}
_RESNET_KEY = "layer1.0.conv1.weight"
# Files from before BatchNorm counted its batches lack this, and evaluation does not read it.
_OPTIONAL = "num_batches_tracked"


def with_weights(state: Mapping[str, Any], backbone: nn.Module | None, prefix: str | None) -> nn.Module:
    """A copy of a backbone with weights from a state dict.

    Args:
        state: A state dict, or a checkpoint that holds one as ``"state_dict"``. What the backbone lacks, such as a
            classifier, is left out.
        backbone: The network; a ResNet-18 or ResNet-34 by the names of its weights if None.
        prefix: What stands before the backbone's names, such as "backbone."; found if None.

    Raises:
        ConfigurationError: If weights are missing or have other shapes, or the network or prefix cannot be told.
    """
    tensors = _tensors(state)
    network = copy.deepcopy(backbone) if backbone is not None else _resnet_like(tensors, prefix)
    expected = network.state_dict()
    found = _found(tensors, set(expected), prefix)
    for name, value in found.items():
        if value.shape != expected[name].shape:
            raise ConfigurationError(
                f"weights {name!r} have shape {tuple(value.shape)}, expected {tuple(expected[name].shape)}; "
                "pass the backbone that the weights were trained in."
            )
    network.load_state_dict(found, strict=False)
    return network


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    inner = state.get("state_dict", state) if isinstance(state, Mapping) else None
    tensors = {name: value for name, value in inner.items() if isinstance(value, Tensor)} if inner else {}
    if not tensors:
        raise ConfigurationError(
            f"state is {type(state).__name__} without tensors, expected a state dict or a checkpoint that holds one; "
            "read it with torch.load(path, weights_only=True)."
        )
    return tensors


def _found(tensors: Mapping[str, Tensor], names: set[str], prefix: str | None) -> dict[str, Tensor]:
    """The tensors of a network's names below the one prefix that has all of them."""
    required = {name for name in names if not name.endswith(_OPTIONAL)}
    if not required:
        raise ConfigurationError("the backbone has no weights to load, expected at least one.")
    prefixes = [prefix] if prefix is not None else _prefixes(tensors, min(required))
    fitting = [one for one in prefixes if all(f"{one}{name}" in tensors for name in required)]
    if len(fitting) == 1:
        return {name: tensors[f"{fitting[0]}{name}"] for name in names if f"{fitting[0]}{name}" in tensors}
    if fitting:
        raise ConfigurationError(f"the weights stand under {fitting}, expected one of them; name it by prefix=.")
    lacking = sorted(name for name in required if f"{prefix or ''}{name}" not in tensors)
    raise ConfigurationError(
        f"state lacks {len(lacking)} of the backbone's {len(required)} weights, such as {lacking[0]!r}"
        f"{'' if prefix is None else f' below {prefix!r}'}; it holds {len(tensors)}, such as {min(tensors)!r}. "
        "Pass the backbone that they were trained in, or its prefix."
    )


def _prefixes(tensors: Mapping[str, Tensor], name: str) -> list[str]:
    found = [key.removesuffix(name) for key in tensors if key.endswith(name)]
    return sorted(one for one in found if not one or one.endswith("."))


def _resnet_like(tensors: Mapping[str, Tensor], prefix: str | None) -> ResNet:
    prefixes = [prefix] if prefix is not None else _prefixes(tensors, _RESNET_KEY)
    if len(prefixes) != 1 or f"{prefixes[0]}{_RESNET_KEY}" not in tensors:
        raise ConfigurationError(
            f"state holds {_RESNET_KEY!r} under {prefixes or 'no prefix'}, expected one ResNet-18 or ResNet-34 with "
            "torchvision's names; pass the backbone, or the prefix of one of them."
        )
    names = [key.removeprefix(prefixes[0]) for key in tensors if key.startswith(prefixes[0])]
    blocks = [{found[1] for name in names if (found := re.match(rf"layer{n}\.(\d+)\.", name))} for n in (1, 2, 3, 4)]
    depth = tuple(map(len, blocks))
    if depth not in _KNOWN_DEPTHS or "layer1.0.conv3.weight" in names:
        raise ConfigurationError(
            f"state is of a ResNet with {depth} blocks"
            f"{' of three convolutions' if 'layer1.0.conv3.weight' in names else ''}, expected ResNet-18 or "
            "ResNet-34; pass the backbone for others."
        )
    first = tensors.get(f"{prefixes[0]}conv1.weight")
    return ResNet(depth, 3 if first is None else first.shape[1])
