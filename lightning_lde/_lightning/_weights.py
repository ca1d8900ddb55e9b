"""The weights that a segment starts with, read before the training changes them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

from lightning_lde import capture

LARGEST_COPY_BYTES = 64 << 20
LARGEST_COPY_AT_ONCE_BYTES = 1 << 20


class FirstWeights:
    """Fingerprints a state in the background, although the training is about to change it.

    A small state is copied at once, before another hook can change it; a larger one in the background, where the
    training waits for the copy but not for the fingerprint; of the largest it waits for the fingerprint.

    Args:
        state: What a module's ``state_dict()`` returned.

    Attributes:
        are_read: Set as soon as the weights may change.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.are_read = threading.Event()
        self._state = {name: value for name, value in state.items() if hasattr(value, "_version")}
        self._original = list(self._state.values())
        self._versions = self._present_versions()
        self._size_bytes = sum(map(_size_bytes, self._original))
        if self._size_bytes <= LARGEST_COPY_AT_ONCE_BYTES:
            self._copy()

    def fingerprint(self) -> str | None:
        """The fingerprint; None where the weights were changed while they were read."""
        try:
            if not self.are_read.is_set() and self._size_bytes <= LARGEST_COPY_BYTES:
                return None if not self._copy() else capture.weights_fingerprint(self._state)
            fingerprint = capture.weights_fingerprint(self._state)
            return fingerprint if self.are_read.is_set() or self._are_unchanged() else None
        finally:
            self.are_read.set()

    def _copy(self) -> bool:
        """Go on with a copy; whether it is one of the weights as they were."""
        self._state = {name: _copied(value) for name, value in self._state.items()}
        unchanged = self._are_unchanged()
        self.are_read.set()
        return unchanged

    def _are_unchanged(self) -> bool:
        return self._present_versions() == self._versions

    def _present_versions(self) -> list[int]:
        # PyTorch counts the changes in place of each tensor.
        return [value._version for value in self._original]


def _copied(tensor: Any) -> Any:
    # A lazy parameter has nothing to copy.
    with contextlib.suppress(ValueError, RuntimeError):
        return tensor.detach().clone()
    return tensor


def _size_bytes(tensor: Any) -> int:
    with contextlib.suppress(ValueError, RuntimeError):
        return int(tensor.numel() * tensor.element_size())
    return 0
