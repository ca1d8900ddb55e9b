"""A private logger that sees exactly the metrics that Lightning hands to loggers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.logger import DummyExperiment


class MetricTap(Logger):
    """Forwards ``log_metrics`` to a function and does nothing else.

    Args:
        receive: Called with the metrics and the logger's step.
    """

    def __init__(self, receive: Callable[[Mapping[str, float], int | None], None]) -> None:
        super().__init__()
        self._receive = receive

    @property
    def name(self) -> str:
        """A name, which Lightning asks every logger for."""
        return "lde"

    @property
    def version(self) -> str:
        """A version, which Lightning asks every logger for."""
        return ""

    @property
    def experiment(self) -> Any:
        """An object that accepts any call, for user code that loops over loggers."""
        return DummyExperiment()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass the metrics on."""
        self._receive(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Ignored: hyper-parameters are captured from the module."""
