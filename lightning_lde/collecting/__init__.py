"""Data sets while they are being collected: the diversity of a folder that fills, and of a training's batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_lde.collecting._batches import Samples, samples_of
    from lightning_lde.collecting._callback import DiversityCallback, update_bases
    from lightning_lde.collecting._folder import FolderWatch, WatchedBatch
    from lightning_lde.collecting._watch import BatchWatch

__all__ = ["BatchWatch", "DiversityCallback", "FolderWatch", "Samples", "WatchedBatch", "samples_of", "update_bases"]

_HOMES = {
    "BatchWatch": "_watch",
    "DiversityCallback": "_callback",
    "FolderWatch": "_folder",
    "Samples": "_batches",
    "WatchedBatch": "_folder",
    "samples_of": "_batches",
    "update_bases": "_callback",
}


def __getattr__(name: str) -> Any:
    # A folder is watched without Lightning, which takes a second to import.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
