"""The callback: translates Lightning's hooks into calls of a recorder, nothing else."""

from __future__ import annotations

import functools
import os
import shlex
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from lightning_lde._lightning import MetricSampler, MetricTap, RunFacts, trainers
from lightning_lde.errors import ConfigurationError, RecordingWarning, tell
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Recorder, check_interval, words_of
from lightning_lde.schema import RunStatus

__all__ = ["LDECallback"]

_Hook = TypeVar("_Hook", bound=Callable[..., None])


def _harmless(hook: _Hook) -> _Hook:
    """Make a hook that never ends a training: its errors become one warning."""

    @functools.wraps(hook)
    def guarded(self: LDECallback, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            self._give_up(hook.__name__, error)

    return guarded  # type: ignore[return-value]


class LDECallback(pl.Callback):
    """Records every run of a Trainer into a lake: code, data, model, environment, seeds, metrics, files.

    One callback in one Trainer is one run; each ``fit``, ``validate``, ``test`` and ``predict`` is a
    segment of it. Writing happens in a background thread, and a lake that cannot be reached costs the
    training nothing. Making the callback does no input or output.

    A module whose ``test_step`` or ``validation_step`` returns a dict with the key ``"episodes"``
    (see ``lightning_lde.fewshot.EpisodeResults``) gets one row per evaluated few-shot task.

    Args:
        lake: A folder, ``s3://bucket/prefix``, or any URL that fsspec knows.
        project: The project, a partition of the lake.
        experiment: A group of runs within the project.
        name: A name for people; the id tells runs apart.
        tags: Free words about the run.
        storage_options: fsspec's options for the lake's protocol, for S3 as s3fs spells them.
        artifacts: ``"checkpoints"`` keeps the checkpoints that are on the disk when a fit ends, well or not;
            ``"none"`` keeps no files.
        flush_every_s: Seconds between two writes of the background thread.
        on_error: ``"warn"`` says once what could not be recorded, ``"raise"`` raises.

    Raises:
        ConfigurationError: If ``artifacts`` or ``on_error`` is not one of its words.
        LakeURLError: If the address or the storage options cannot be understood.

    Example::

        trainer = Trainer(callbacks=[LDECallback("./lake", project="digits")])
        trainer.fit(model, datamodule=data)
    """

    def __init__(
        self,
        lake: str | os.PathLike[str],
        *,
        project: str = "default",
        experiment: str | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        artifacts: str = "checkpoints",
        flush_every_s: float = 5.0,
        on_error: str = "warn",
    ) -> None:
        super().__init__()
        _check_word("artifacts", artifacts, {"checkpoints", "none"})
        _check_word("on_error", on_error, {"warn", "raise"})
        check_interval(flush_every_s)
        self._storage = LakeStorage(lake, storage_options)
        self._identity: dict[str, Any] = {
            "project": project,
            "experiment": experiment,
            "name": name,
            "tags": tags,
        }
        self._artifacts = artifacts
        self._flush_every_s = flush_every_s
        self._on_error = on_error
        self._resumed_from: str | None = None
        self._forget_run()

    def _forget_run(self) -> None:
        self._recorder: Recorder | None = None
        self._trainer_of_run: weakref.ref[pl.Trainer] | None = None
        self._tap: MetricTap | None = None
        self._facts: RunFacts | None = None
        self._sampler: MetricSampler | None = None
        self._broken = False

    def __getstate__(self) -> dict[str, Any]:
        # A process that is spawned for training gets the settings; a run, its thread and locks stay here.
        clean = type(self).__new__(type(self))
        clean.__dict__.update(self.__dict__)
        clean._forget_run()
        return clean.__dict__

    @property
    def run_id(self) -> str | None:
        """The id of the run, None before it begins and on ranks other than zero."""
        return None if self._recorder is None else self._recorder.run_id

    # Lightning's hooks, in the order in which they come -----------------------------------------

    @_harmless
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen to what goes to the loggers, where there are any."""
        listening = any(not trainers.is_dummy(logger) for logger in trainer.loggers)
        if listening and trainer.is_global_zero and not trainers.is_silent(trainer):
            folder = getattr(trainer.loggers[0], "log_dir", None) or trainer.default_root_dir
            self._tap = MetricTap(functools.partial(self._on_logged, trainer), folder=str(folder))
            trainer.loggers = [*trainer.loggers, self._tap]

    @_harmless
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment and capture what is known before the first batch."""
        self._open(trainer, pl_module, "fit")

    @_harmless
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Describe the data of training and validation."""
        self._describe_loaders(trainer, "train", trainer.train_dataloader)
        self._describe_loaders(trainer, "val", trainer.val_dataloaders)

    @_harmless
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment where validation was called for itself."""
        if trainer.state.fn == "validate":
            self._open(trainer, pl_module, "validate")
        self._describe_loaders(trainer, "val", trainer.val_dataloaders)
        if sampler := self._sampling(trainer):
            sampler.evaluation_starts(trainer)

    @_harmless
    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment for a test."""
        self._open(trainer, pl_module, "test")
        self._describe_loaders(trainer, "test", trainer.test_dataloaders)
        if sampler := self._sampling(trainer):
            sampler.evaluation_starts(trainer)

    @_harmless
    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment for a prediction."""
        self._open(trainer, pl_module, "predict")
        self._describe_loaders(trainer, "predict", trainer.predict_dataloaders)

    @_harmless
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the rows of evaluated few-shot tasks, if the module returns any."""
        if facts := self._describing(trainer):
            facts.take_episodes(trainer, "val", outputs, dataloader_idx)

    @_harmless
    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the rows of evaluated few-shot tasks, if the module returns any."""
        if facts := self._describing(trainer):
            facts.take_episodes(trainer, "test", outputs, dataloader_idx)

    @_harmless
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample metrics where no logger carries them."""
        if sampler := self._sampling(trainer):
            sampler.evaluation_ends(trainer)

    @_harmless
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the end of an epoch for the sampling of its metrics."""
        if sampler := self._sampling(trainer):
            sampler.epoch_ends(trainer)

    @_harmless
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample the metrics of the epoch before."""
        if sampler := self._sampling(trainer):
            sampler.training_goes_on(trainer)

    @_harmless
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample the metrics of the last epoch."""
        if sampler := self._sampling(trainer):
            sampler.training_goes_on(trainer)

    @_harmless
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample metrics where no logger carries them."""
        if sampler := self._sampling(trainer):
            sampler.evaluation_ends(trainer)

    @_harmless
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fingerprint the weights that the fit ended with."""
        if facts := self._describing(trainer):
            facts.describe_end(trainer, pl_module)

    @_harmless
    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the segment of a training that ended well."""
        self._close(trainer, RunStatus.FINISHED, stop_reason=trainers.stop_reason(trainer))

    @_harmless
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the segment of a training that did not; Lightning calls no teardown then."""
        interrupted = isinstance(exception, (KeyboardInterrupt, SystemExit)) or trainers.is_sigterm(exception)
        text = words_of(exception)
        if self._recorder is not None and self._recorder.is_open:
            self._recorder.add_event("exception", text, level="warning" if interrupted else "error")
        self._close(trainer, RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED, exception=text)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the run that wrote it."""
        return {"run_id": self.run_id}

    @property
    def state_key(self) -> str:
        """Tells the callbacks of different lakes apart in a Trainer and in its checkpoints."""
        return self._generate_state_key(lake=self._storage.url, project=self._identity["project"])

    @_harmless
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember the run whose checkpoint is resumed, whichever lake it was recorded to."""
        states = {key: state for key, state in checkpoint.get("callbacks", {}).items() if key.startswith("LDECallback")}
        state: dict[str, Any] = states.get(self.state_key) or next(iter(states.values()), {})
        self._resumed_from = state.get("run_id")

    # Opening and closing ------------------------------------------------------------------------

    def _open(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if trainers.is_silent(trainer) or not trainer.is_global_zero:
            return
        first = self._trainer_of_run is None or self._trainer_of_run() is not trainer
        if first or self._recorder is None:
            self._trainer_of_run = weakref.ref(trainer)
            self._recorder = Recorder(
                self._storage, flush_every_s=self._flush_every_s, on_error=self._on_error, **self._identity
            )
        self._sampler = MetricSampler(functools.partial(self._recorder.log, source="sampled"))
        self._facts = RunFacts(self._recorder)
        resumed_from, self._resumed_from = self._resumed_from, None
        if resumed_from == self._recorder.run_id:
            resumed_from = None
        self._recorder.start_segment(stage)
        self._facts.describe_run(trainer, module, resumed_from=resumed_from)
        if first:
            rank_zero_info(f"LDE: recording run {self._recorder.run_id} to {self._storage.url}")

    def _close(self, trainer: pl.Trainer, status: str, **facts: str | None) -> None:
        if self._tap is not None:
            trainer.loggers = [logger for logger in trainer.loggers if logger is not self._tap]
            self._tap = None
        if self._recorder is None or not self._recorder.is_open:
            return
        if self._artifacts == "checkpoints" and self._facts is not None and trainer.state.fn == "fit":
            try:
                self._facts.save_checkpoints(trainer)
            except OSError as error:
                self._recorder.say_once("artifact", f"checkpoints could not be looked up: {error}")
        run_id = self._recorder.run_id
        if self._recorder.finish_segment(status, **facts):
            rank_zero_info(f"LDE: run {run_id} {status}: lde show {shlex.quote(self._storage.url)} {run_id}")
        else:
            rank_zero_info(f"LDE: run {run_id} {status}; part of it is not in the lake yet")

    def _give_up(self, hook: str, error: Exception) -> None:
        # An error in on_exception would replace the user's own.
        if self._on_error == "raise" and hook != "on_exception":
            raise error
        if not self._broken:
            self._broken = True
            message = f"LDECallback.{hook} could not record everything: {type(error).__name__}: {error}"
            tell(message, RecordingWarning)

    # What there is to record ----------------------------------------------------------------------

    @_harmless
    def _on_logged(self, trainer: pl.Trainer, metrics: Mapping[str, Any], step: int | None) -> None:
        if self._describing(trainer) and self._recorder is not None:
            self._recorder.log(
                {name: value for name, value in metrics.items() if name != "epoch"},
                step=step,
                global_step=trainer.global_step,
                epoch=trainer.current_epoch,
                context=trainers.context(trainer),
            )

    def _describing(self, trainer: pl.Trainer) -> RunFacts | None:
        """The facts of the open segment, None where nothing is to be recorded now."""
        silent = self._recorder is None or not self._recorder.is_open or trainer.sanity_checking
        return None if silent else self._facts

    def _describe_loaders(self, trainer: pl.Trainer, role: str, loaders: object) -> None:
        if facts := self._describing(trainer):
            facts.describe_loaders(role, loaders)

    def _sampling(self, trainer: pl.Trainer) -> MetricSampler | None:
        return self._sampler if self._tap is None and self._describing(trainer) else None


def _check_word(name: str, value: str, allowed: set[str]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}: give one of {', '.join(sorted(allowed))}")
