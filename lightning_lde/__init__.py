"""The lifelong database of experiments for PyTorch Lightning: one callback, one folder or bucket, no server."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_lde.callback import LDECallback
    from lightning_lde.collecting import DiversityCallback
    from lightning_lde.current import log
    from lightning_lde.query import Lake
    from lightning_lde.recording import Recorder

__all__ = ["DiversityCallback", "LDECallback", "Lake", "Recorder", "__version__", "log"]

__version__ = "0.1.0"

_HOMES = {
    "DiversityCallback": "lightning_lde.collecting",
    "LDECallback": "lightning_lde.callback",
    "Lake": "lightning_lde.query",
    "Recorder": "lightning_lde.recording",
    "log": "lightning_lde.current",
}

_CALLBACKS = ("DiversityCallback", "LDECallback")


def __getattr__(name: str) -> Any:
    # Lightning and pyarrow take a second to import; whoever only asks for the version need not wait.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    if name in _CALLBACKS:
        # LightningCLI asks here for the class, and it may belong to a package imported since.
        home.update_bases()
        return getattr(home, name)
    # `lightning_lde.log` stands in training loops: from now on it is found without asking here.
    globals()[name] = value = getattr(home, name)
    return value
