"""A private logger that sees exactly the metrics that Lightning hands to loggers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning_lde._lightning._classes import LoggerBase, dummy_experiment


class MetricTap(LoggerBase):
    """Forwards ``log_metrics`` to a function and does nothing else.

    Args:
        receive: Called with the metrics and the logger's step.
        folder: What user code gets that asks every logger for its folder.

    Attributes:
        requeued: Whether SLURM has put the job back into its queue.
    """

    def __init__(
        self, receive: Callable[[Mapping[str, float], int | None], None], *, folder: str | None = None
    ) -> None:
        super().__init__()
        self._receive = receive
        self._folder = folder
        self.requeued = False

    @property
    def name(self) -> str:
        """A name, which Lightning asks every logger for."""
        return "lde"

    @property
    def version(self) -> str:
        """A version, which Lightning asks every logger for."""
        return ""

    @property
    def save_dir(self) -> str | None:
        """The folder of the user's first logger."""
        return self._folder

    log_dir = root_dir = save_dir

    @property
    def experiment(self) -> Any:
        """An object that accepts any call, for user code that loops over loggers."""
        return dummy_experiment()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Pass the metrics on."""
        self._receive(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Ignored: hyper-parameters are captured from the module."""

    def finalize(self, status: str) -> None:
        """Note SLURM's signal: Lightning finalizes loggers as "finished" then, and never else."""
        self.requeued = self.requeued or status == "finished"

    def __getattr__(self, name: str) -> Any:
        # User code may call a method of its own logger's class on every logger it finds.
        if name.startswith("_"):
            raise AttributeError(name)
        return _do_nothing


def _do_nothing(*_: Any, **__: Any) -> None:
    """Stands for any method that another logger has."""
