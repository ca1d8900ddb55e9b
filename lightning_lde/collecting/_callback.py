"""The callback that watches the diversity of a training's batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde._lightning import CallbackBase, trainers, update_bases
from lightning_lde.collecting._batches import Samples
from lightning_lde.collecting._watch import BatchWatch
from lightning_lde.diversity import DiversityMonitor, MonitorReport, Probe
from lightning_lde.errors import ConfigurationError, DataError, DiversityWarning, RecordingWarning, tell

if TYPE_CHECKING:
    import pytorch_lightning as pl

__all__ = ["DiversityCallback", "update_bases"]


class DiversityCallback(CallbackBase):
    """Watches how diverse the batches of a training are, logs it, and warns where they bring nothing new.

    Every few batches it embeds the samples of one with a probe of its own and hands them to a `DiversityMonitor`.
    Weights, gradients and random states stay what they are without it, to the bit. An error never ends a training:
    it is told once, and the batch is left out.

    Logged through ``self.log`` of the module, so that loggers get it, and `LDECallback` puts it into the lake:
    ``diversity/coefficient`` with ``_low`` and ``_high``, ``diversity/effective``, ``diversity/regions``,
    ``diversity/unseen``, ``diversity/missing``, ``diversity/stopped``, and ``diversity/share/CLASS`` for each class.

    Two `DiversityWarning` come once each: where diversity has stopped growing, with the kinds of which more would add
    most; and at that moment, or at the end of an epoch, for expected classes that are missing or rare. In a data set
    that is shuffled diversity stops growing early: from there on more of the same adds nothing.

    Args:
        every_n_batches: Embed the first batch of every so many.
        epochs: Epochs that are watched; in later ones the same samples come again.
        probe: What embeds samples; None for an untrained Conv4 whose statistics fit the first batch. Samples that are
            no images are taken as they are then.
        monitor: Settings of the monitor, such as ``DiversityMonitor(expected=range(10), growth=0.5)``; each fit gets a
            copy of it.
        samples: Finds the samples of a batch, as `samples_of` does; give one where batches have a form of their own.
        seed: Of the untrained probe.
        prefix: What stands before the names of metrics.
        shares: The most classes whose shares are logged, those that came first.

    Raises:
        ConfigurationError: If a number is below 1 (``shares``: below 0).

    Example::

        monitor = DiversityMonitor(expected=range(10))
        trainer = Trainer(callbacks=[LDECallback("./lake"), DiversityCallback(monitor=monitor)])
    """

    def __init__(
        self,
        *,
        every_n_batches: int = 10,
        epochs: int = 1,
        probe: Probe | None = None,
        monitor: DiversityMonitor | None = None,
        samples: Callable[[Any], Samples] | None = None,
        seed: int = 0,
        prefix: str = "diversity",
        shares: int = 50,
    ) -> None:
        super().__init__()
        update_bases()
        for name, value, least in (
            ("every_n_batches", every_n_batches, 1),
            ("epochs", epochs, 1),
            ("shares", shares, 0),
        ):
            if value < least:
                raise ConfigurationError(f"{name}={value!r}, expected at least {least}.")
        self._every, self._epochs, self._prefix, self._shares = every_n_batches, epochs, prefix, shares
        self._new_watch: Callable[[], BatchWatch] = _Recipe(probe, monitor, samples, seed)
        self._begin()

    def _begin(self) -> None:
        self.watch = self._new_watch()
        self._told: set[str] = set()
        self._values: dict[str, float] = {}
        self._broken = False

    @property
    def report(self) -> MonitorReport:
        """How diverse the batches of the latest fit are so far."""
        return self.watch.report()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        self._begin()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Embed a batch before the training step can change it in place."""
        if trainer.is_global_zero and self._is_watched(trainer) and batch_idx % self._every == 0:
            self._guarded(self._take, batch)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log what is known where Lightning would hand it on."""
        if self._values and self._is_watched(trainer) and trainers.may_log_this_step(trainer):
            self._guarded(self._log, pl_module, on_step=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log how the epoch ended, and say what is missing."""
        if self._values and self._is_watched(trainer):
            self._guarded(self._log, pl_module, on_step=False)
            self._guarded(self._tell_missing, self.report)

    def _is_watched(self, trainer: pl.Trainer) -> bool:
        return trainer.current_epoch < self._epochs and not self._broken

    def _take(self, batch: Any) -> None:
        update = self.watch.take(batch)
        if update.observations or not self._values:
            report = self.report
            self._values = values_of(report, shares=self._shares)
            if update.alarm:
                self._tell_once("stopped", report.warnings[0])
                self._tell_missing(report)

    def _log(self, pl_module: pl.LightningModule, *, on_step: bool) -> None:
        pl_module.log_dict(
            {f"{self._prefix}/{name}": value for name, value in self._values.items()},
            on_step=on_step,
            on_epoch=not on_step,
            batch_size=1,
            rank_zero_only=True,
        )

    def _tell_missing(self, report: MonitorReport) -> None:
        if any(one.missing for one in report.classes):
            self._tell_once("missing", report.warnings[-1])

    def _tell_once(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            tell(message, DiversityWarning)

    def _guarded(self, function: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call a function whose errors become one warning; what is no fault of one batch ends the watch."""
        try:
            function(*args, **options)
        except Exception as error:
            self._broken = not isinstance(error, DataError)
            if "error" not in self._told:
                self._told.add("error")
                rest = "it watches no longer" if self._broken else "batches like it are left out"
                message = f"DiversityCallback: {type(error).__name__}: {error} The training goes on; {rest}."
                tell(message, RecordingWarning)


class _Recipe:
    """Makes a watch for each fit; it can be sent to another process."""

    def __init__(
        self,
        probe: Probe | None,
        monitor: DiversityMonitor | None,
        samples: Callable[[Any], Samples] | None,
        seed: int,
    ) -> None:
        self._probe, self._monitor, self._samples, self._seed = probe, monitor, samples, seed

    def __call__(self) -> BatchWatch:
        monitor = copy.deepcopy(self._monitor)
        return BatchWatch(probe=self._probe, monitor=monitor, samples=self._samples, seed=self._seed)


def values_of(report: MonitorReport, *, shares: int) -> dict[str, float]:
    """The figures of a report that are logged, by name.

    Args:
        report: The report.
        shares: The most classes whose shares are among them.
    """
    found = report.coefficient
    named: Mapping[str, float | None] = {
        "coefficient": None if found is None else found.value,
        "coefficient_low": None if found is None else found.low,
        "coefficient_high": None if found is None else found.high,
        "effective": report.effective,
        "regions": float(len(report.regions)),
        "unseen": report.unseen,
        "missing": float(sum(one.missing for one in report.classes)),
        "stopped": float(report.stopped),
        **{f"share/{one.label}": one.share for one in report.classes[:shares]},
    }
    return {name: value for name, value in named.items() if value is not None}
