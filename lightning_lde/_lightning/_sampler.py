"""Reads metrics from `callback_metrics` where no logger carries them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde._lightning import _trainer
from lightning_lde.recording import Moment

if TYPE_CHECKING:
    import pytorch_lightning as pl


class MetricSampler:
    """Takes each value once, although Lightning keeps old values of all loops in one dict.

    Names are told apart by the loop that brought them: a validation's are those that were not there when
    it began. Values of a training epoch are read at the next moment of the training, because those that a
    module logs at the very end of an epoch are not there before.

    Args:
        receive: Called with the values and their moment.
    """

    def __init__(self, receive: Callable[[Mapping[str, Any], Moment], None]) -> None:
        self._receive = receive
        self._step_values = _trainer.StepValues()
        self._training: set[str] = set()
        self._steps: set[str] = set()
        self._step: tuple[pl.Trainer, Moment] | None = None
        self._evaluation: set[str] = set()
        self._evaluated: dict[str, float] = {}
        self._ended_epoch: Moment | None = None

    def evaluation_starts(self, trainer: pl.Trainer) -> None:
        """Note which names belong to training."""
        self.step_is_over()
        self._training |= set(trainer.callback_metrics) - self._evaluation

    def evaluation_ends(self, trainer: pl.Trainer) -> None:
        """Take the values of a validation or a test."""
        names = _trainer.names_of_loop(trainer)
        if names is None:
            names = set(trainer.callback_metrics) - self._training
        self._evaluation |= names - self._training
        metrics = trainer.callback_metrics  # goes through all results at each call
        self._evaluated = {name: float(metrics[name]) for name in sorted(names)}
        if self._evaluated:
            self._receive(self._evaluated, _trainer.moment(trainer))

    def batch_ends(self, trainer: pl.Trainer) -> None:
        """Note a training step whose values Lightning would hand to loggers; the module's own hook may add to them."""
        self.step_is_over()
        if _trainer.logs_this_step(trainer):
            self._step = (trainer, _trainer.moment(trainer))

    def step_is_over(self) -> None:
        """Take the values of the step before, now that all of them are there."""
        noted, self._step = self._step, None
        if noted is None:
            return
        trainer, moment = noted
        values = self._step_values.of(trainer)
        self._steps.update(values)
        if "step" in values:
            # What a module logs under this name is, by Lightning's rule, the step of all the others.
            moment = moment._replace(step=int(values.pop("step")))
        if values:
            self._receive(values, moment)

    def epoch_ends(self, trainer: pl.Trainer) -> None:
        """Note the moment; the values are taken when all of them are there."""
        self.step_is_over()
        moment = _trainer.moment(trainer)
        # Lightning gives loggers the values of an epoch under its last step.
        step = moment.step if moment.step is None else max(0, moment.step - 1)
        self._ended_epoch = moment._replace(step=step)

    def training_goes_on(self, trainer: pl.Trainer) -> None:
        """Take the values of the epoch that ended before."""
        if self._ended_epoch is not None:
            metrics = trainer.callback_metrics
            names = set(metrics) - self._evaluation
            self._training |= names
            # Values of steps were taken then, and what has a name of its own for the epoch goes by that.
            forked = {name.removesuffix("_epoch") for name in names if name.endswith("_epoch")}
            names -= self._steps | forked | {f"{name}_step" for name in forked}
            values = {name: float(metrics[name]) for name in sorted(names)}
            # A name that a validation has too still holds the validation's value: the training's is not to be had.
            values = {name: value for name, value in values.items() if self._evaluated.get(name) != value}
            if values:
                self._receive(values, self._ended_epoch)
            self._ended_epoch = None
            self._evaluated = {}

    def ends(self, trainer: pl.Trainer) -> None:
        """Take what waits for a next moment of the training, which will not come where the training failed."""
        self.step_is_over()
        self.training_goes_on(trainer)
