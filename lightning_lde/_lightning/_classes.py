"""Base classes from those of Lightning's two packages that the program uses.

``pytorch_lightning`` and ``lightning.pytorch`` are the same code under two names, with classes of their own each.
Their Trainers run any object that has the hooks, but LightningCLI, and a Trainer that gets one callback outside of
a list, ask for an instance of their own ``Callback``.
"""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning import Callback as CallbackBase
    from pytorch_lightning.loggers import Logger as LoggerBase

__all__ = ["CallbackBase", "LoggerBase", "dummy_experiment", "packages", "update_bases"]

_PACKAGES = ("pytorch_lightning", "lightning.pytorch")


def packages() -> list[ModuleType]:
    """Those of the two packages that are imported; ``pytorch_lightning``, imported now, where neither is."""
    found = [sys.modules[name] for name in _PACKAGES if name in sys.modules]
    return found or [import_module(_PACKAGES[0])]


def _callbacks() -> tuple[type, ...]:
    return tuple(package.Callback for package in packages())


def _loggers() -> tuple[type, ...]:
    return tuple(package.loggers.Logger for package in packages())


if not TYPE_CHECKING:

    class CallbackBase(*_callbacks()):
        """A callback for every Lightning that is imported."""

    class LoggerBase(*_loggers()):
        """A logger for every Lightning that is imported."""


def update_bases() -> None:
    """Add the classes of a package that was imported after this module.

    The classes stay the same objects, so that instances and subclasses that exist already belong to that package, too.
    """
    for grown, wanted in ((CallbackBase, _callbacks()), (LoggerBase, _loggers())):
        missing = tuple(base for base in wanted if base not in grown.__mro__)
        # A subclass of the user's may have an order of bases that leaves no place for another one.
        with contextlib.suppress(TypeError):
            if missing:
                grown.__bases__ = (*grown.__bases__, *missing)


def dummy_experiment() -> Any:
    """Lightning's own object that accepts any call."""
    return packages()[0].loggers.logger.DummyExperiment()
