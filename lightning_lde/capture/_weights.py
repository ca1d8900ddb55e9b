"""The fingerprint of a model's weights: equal tensors under equal names give equal fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde.capture._access import call
from lightning_lde.capture._arrays import dtype_name, raw_bytes
from lightning_lde.schema import canonical_json

if TYPE_CHECKING:
    from torch import Tensor, nn


def weights_fingerprint(state: Mapping[str, Tensor] | nn.Module) -> str | None:
    """Hash names, types, shapes and bytes of all tensors of a state, in the order of their names.

    Devices, strides and ``requires_grad`` do not count. Values that are not tensors are left out;
    tensors without bytes (lazy, on the meta device) count by name, type and shape.

    Args:
        state: A module, or what its ``state_dict()`` returns.

    Returns:
        The first 32 hexadecimal digits of the SHA-256, None where the module gives no state.

    Example:
        >>> import torch
        >>> first = weights_fingerprint({"a": torch.zeros(2), "b": torch.ones(2)})
        >>> first == weights_fingerprint({"b": torch.ones(2), "a": torch.zeros(2)})
        True
    """
    tensors = state if isinstance(state, Mapping) else call(state, "state_dict")
    digest = hashlib.sha256()
    if tensors is None:
        return None
    for name in sorted(tensors, key=str):
        add_to_digest(digest, str(name), tensors[name])
    return digest.hexdigest()[:32]


def add_to_digest(digest: Any, name: str, tensor: Any) -> None:
    """Add name, type, shape and bytes of a tensor; nothing of a value that is none."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        return
    try:
        shape: list[int] | None = list(tensor.shape)
    except RuntimeError:
        shape = None
    digest.update(canonical_json([name, dtype_name(tensor), shape]).encode())
    try:
        digest.update(raw_bytes(tensor))
    except Exception:
        digest.update(b"no bytes")
