"""Reads metrics from `callback_metrics` where no logger carries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl

from lightning_lde import _trainer


class MetricSampler:
    """Takes each value once, although Lightning keeps old values of all loops in one dict.

    Names are told apart by the loop that brought them: a validation's are those that were not there when
    it began. Values of a training epoch are read at the next moment of the training, because those that a
    module logs at the very end of an epoch are not there before.

    Args:
        receive: Called with the values, and ``step``, ``global_step``, ``epoch`` and ``context``.
    """

    def __init__(self, receive: Callable[..., None]) -> None:
        self._receive = receive
        self._training: set[str] = set()
        self._evaluation: set[str] = set()
        self._ended_epoch: dict[str, Any] | None = None

    def evaluation_starts(self, trainer: pl.Trainer) -> None:
        """Note which names belong to training."""
        self._training |= set(trainer.callback_metrics) - self._evaluation

    def evaluation_ends(self, trainer: pl.Trainer) -> None:
        """Take the values of a validation or a test."""
        names = set(trainer.callback_metrics) - self._training
        self._evaluation |= names
        self._take(trainer.callback_metrics, names, _moment(trainer))

    def epoch_ends(self, trainer: pl.Trainer) -> None:
        """Note the moment; the values are taken when all of them are there."""
        self._ended_epoch = _moment(trainer)

    def training_goes_on(self, trainer: pl.Trainer) -> None:
        """Take the values of the epoch that ended before."""
        if self._ended_epoch is not None:
            names = set(trainer.callback_metrics) - self._evaluation
            self._training |= names
            self._take(trainer.callback_metrics, names, self._ended_epoch)
            self._ended_epoch = None

    def _take(self, metrics: Mapping[str, Any], names: set[str], moment: dict[str, Any]) -> None:
        if names:
            self._receive({name: float(metrics[name]) for name in sorted(names)}, **moment)


def _moment(trainer: pl.Trainer) -> dict[str, Any]:
    return {
        "step": trainer.global_step,
        "global_step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "context": _trainer.context(trainer),
    }
