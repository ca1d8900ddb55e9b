"""The callback: translates Lightning's hooks into calls of a recorder, nothing else."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_lde import reproducing
from lightning_lde._lightning import CallbackBase, SessionOptions, TrainerSession, trainers, update_bases
from lightning_lde.capture import FINGERPRINTS, redact_text
from lightning_lde.errors import ConfigurationError, RecordingWarning, tell
from lightning_lde.lake import LakeStorage
from lightning_lde.policy import check_level
from lightning_lde.recording import check_interval
from lightning_lde.schema import RunStatus

if TYPE_CHECKING:
    import pytorch_lightning as pl

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


class LDECallback(CallbackBase):
    """Records every run of a Trainer into a lake: code, data, model, environment, seeds, metrics, files.

    One callback in one Trainer is one run; each ``fit``, ``validate``, ``test`` and ``predict`` is a
    segment of it. Writing happens in a background thread, and a lake that cannot be reached costs the
    training nothing. Making the callback does no input or output.

    A module whose ``test_step`` or ``validation_step`` returns a dict with the key ``"episodes"``
    (see ``lightning_lde.fewshot.EpisodeResults``) gets one row per evaluated few-shot task.

    Training that goes on from a checkpoint goes on in the run that wrote it, if lake, project, names, module class,
    hyper-parameters and seed are the same: no step is lost and none is there twice. Otherwise it is a new run with
    a link to the first one.

    Args:
        lake: A folder, ``s3://bucket/prefix``, or any URL that fsspec knows.
        project: The project, a partition of the lake.
        experiment: A group of runs within the project.
        name: A name for people; the id tells runs apart.
        tags: Free words about the run.
        storage_options: fsspec's options for the lake's protocol, for S3 as s3fs spells them.
        artifacts: ``"checkpoints"`` keeps the checkpoints that are on the disk when a fit ends, well or not;
            ``"all"`` keeps each as soon as it is written, also those that Lightning deletes or replaces later;
            ``"none"`` keeps no files.
        data_fingerprint: ``"cheap"`` tells data sets apart by a sample of what is larger than 64 MiB; ``"exact"``
            reads all of it in the background, and the end of a fit waits for that for some time; a hash of each sample
            is kept with it, so that ``lde data history`` can say which samples came and went.
        data_patience_s: Seconds that the end of a fit waits at most for the data to be read; None for as long as the
            fit took, but at least 20 s, and at most 20 s (``"cheap"``) or ten minutes (``"exact"``). Ctrl-C ends it.
        flush_every_s: Seconds between two writes of the background thread.
        system_metrics_every_s: Seconds between two readings of processor, memory, GPUs, throughput and time spent
            waiting for data; None for none.
        on_resume: ``"continue"`` goes on in the run whose checkpoint is resumed, ``"new"`` always makes a new run.
        on_error: ``"warn"`` says once what could not be recorded, ``"raise"`` raises.
        capture: ``"minimal"`` records no diff, no values of the command line and no environment variables;
            ``"standard"``; ``"full"`` records all that is no secret. The lake's policy may ask for less.

    Raises:
        ConfigurationError: If ``artifacts``, ``capture``, ``data_fingerprint``, ``on_resume`` or ``on_error`` is not
            one of its words, an interval is no positive number of seconds, or ``data_patience_s`` is negative.
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
        data_fingerprint: str = "cheap",
        data_patience_s: float | None = None,
        flush_every_s: float = 5.0,
        system_metrics_every_s: float | None = 10.0,
        on_resume: str = "continue",
        on_error: str = "warn",
        capture: str = "standard",
    ) -> None:
        super().__init__()
        update_bases()
        _check_word("artifacts", artifacts, {"all", "checkpoints", "none"})
        _check_word("on_error", on_error, {"warn", "raise"})
        check_level(capture)
        _check_word("on_resume", on_resume, {"continue", "new"})
        _check_word("data_fingerprint", data_fingerprint, set(FINGERPRINTS))
        check_interval("flush_every_s", flush_every_s)
        if data_patience_s is not None:
            _check_patience(data_patience_s)
        if system_metrics_every_s is not None:
            check_interval("system_metrics_every_s", system_metrics_every_s)
        storage = LakeStorage(reproducing.lake_address(lake), storage_options)
        self._state_key = self._generate_state_key(lake=storage.url, project=project)
        recording = {
            "flush_every_s": flush_every_s,
            "system_metrics_every_s": system_metrics_every_s,
            "on_error": on_error,
            "capture": capture,
        }
        self._options = SessionOptions(
            storage=storage,
            place=f"{storage.absolute_url} {project}",
            identity={"project": project, "experiment": experiment, "name": name, "tags": tags},
            recording=recording,
            artifacts=artifacts,
            continue_run=on_resume == "continue",
            data_fingerprint=data_fingerprint,
            data_patience_s=data_patience_s,
        )
        self._on_error = on_error
        self._forget_runs()

    def _forget_runs(self) -> None:
        self._sessions: weakref.WeakKeyDictionary[pl.Trainer, TrainerSession] = weakref.WeakKeyDictionary()
        self._latest: tuple[weakref.ref[pl.Trainer], TrainerSession] | None = None
        self._broken = False

    def __getstate__(self) -> dict[str, Any]:
        # A process that is spawned for training gets the settings; runs, their threads and locks stay here.
        return {name: value for name, value in vars(self).items() if name not in {"_sessions", "_latest", "_broken"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget_runs()

    @property
    def run_id(self) -> str | None:
        """The id of the latest Trainer's run, None before it begins and on ranks other than zero."""
        recorder = None if self._latest is None else self._latest[1].recorder
        return None if recorder is None else recorder.run_id

    def _of(self, trainer: pl.Trainer) -> TrainerSession:
        """The run of a Trainer; one callback may serve several, also one inside another."""
        if self._latest is not None and self._latest[0]() is trainer:
            return self._latest[1]
        session = self._sessions.get(trainer)
        if session is None:
            session = self._sessions[trainer] = TrainerSession(self._options, self._guarded)
        self._latest = (weakref.ref(trainer), session)
        return session

    # Lightning's hooks, in the order in which they come -----------------------------------------

    @_harmless
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Listen to what goes to the loggers, where there are any."""
        self._of(trainer).listen(trainer)

    @_harmless
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment and capture what is known before the first batch."""
        self._of(trainer).open(trainer, pl_module, "fit")

    @_harmless
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Describe the data of training and validation; training begins."""
        session = self._of(trainer)
        session.describe_loaders(trainer, "train", trainer.train_dataloader)
        session.describe_loaders(trainer, "val", trainer.val_dataloaders)
        if facts := session.facts(trainer):
            facts.weights_will_change()
            facts.clock.resumes()

    @_harmless
    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A training step begins."""
        self._of(trainer).batch_starts(trainer, batch)

    @_harmless
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A training step is done; take its metrics where no logger carries them."""
        self._of(trainer).batch_ends(trainer)

    @_harmless
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment where validation was called for itself."""
        session = self._of(trainer)
        if trainer.state.fn == "validate":
            session.open(trainer, pl_module, "validate")
        session.describe_loaders(trainer, "val", trainer.val_dataloaders)
        if facts := session.facts(trainer):
            facts.clock.pauses()
        if sampler := session.sampler(trainer):
            sampler.evaluation_starts(trainer)

    @_harmless
    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment for a test."""
        session = self._of(trainer)
        session.open(trainer, pl_module, "test")
        session.describe_loaders(trainer, "test", trainer.test_dataloaders)
        if sampler := session.sampler(trainer):
            sampler.evaluation_starts(trainer)

    @_harmless
    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open a segment for a prediction."""
        session = self._of(trainer)
        session.open(trainer, pl_module, "predict")
        session.describe_loaders(trainer, "predict", trainer.predict_dataloaders)

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
        if facts := self._of(trainer).facts(trainer):
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
        if facts := self._of(trainer).facts(trainer):
            facts.take_episodes(trainer, "test", outputs, dataloader_idx)

    @_harmless
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample metrics where no logger carries them; training goes on."""
        self._of(trainer).look_for_checkpoints(trainer)
        if sampler := self._of(trainer).sampler(trainer):
            sampler.evaluation_ends(trainer)
        facts = self._of(trainer).facts(trainer)
        if facts is not None and trainer.state.fn == "fit":
            facts.clock.resumes()

    @_harmless
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the end of an epoch for the sampling of its metrics."""
        self._of(trainer).look_for_checkpoints(trainer)
        if sampler := self._of(trainer).sampler(trainer):
            sampler.epoch_ends(trainer)

    @_harmless
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample the metrics of the epoch before."""
        if sampler := self._of(trainer).sampler(trainer):
            sampler.training_goes_on(trainer)

    @_harmless
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample the metrics of the last epoch; training ends."""
        self._of(trainer).look_for_checkpoints(trainer)
        if facts := self._of(trainer).facts(trainer):
            facts.clock.pauses()
        if sampler := self._of(trainer).sampler(trainer):
            sampler.training_goes_on(trainer)

    @_harmless
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sample metrics where no logger carries them."""
        if sampler := self._of(trainer).sampler(trainer):
            sampler.evaluation_ends(trainer)

    @_harmless
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Fingerprint the weights that the fit ended with."""
        if facts := self._of(trainer).facts(trainer):
            facts.describe_end(trainer, pl_module)

    @_harmless
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep in the checkpoint which run wrote it, and how far it was."""
        self._of(trainer).keep_in(checkpoint)

    @_harmless
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember the run whose checkpoint is resumed."""
        self._of(trainer).find_in(trainer, checkpoint)

    @_harmless
    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the segment of a training that ended well."""
        self._of(trainer).close(trainer, RunStatus.FINISHED, stop_reason=trainers.stop_reason(trainer))

    @_harmless
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the segment of a training that did not; Lightning calls no teardown then."""
        self._of(trainer).fail(trainer, exception)

    @property
    def state_key(self) -> str:
        """Tells the callbacks of different lakes apart in a Trainer."""
        # Lightning asks for it in every hook.
        return self._state_key

    # Errors ---------------------------------------------------------------------------------------

    def _guarded(self, function: Callable[..., None]) -> Callable[..., None]:
        """A function whose errors become one warning, as those of hooks do."""

        def guarded(*args: Any) -> None:
            try:
                function(*args)
            except Exception as error:
                self._give_up("log_metrics", error)

        return guarded

    def _give_up(self, hook: str, error: Exception) -> None:
        # An error in on_exception would replace the user's own.
        if self._on_error == "raise" and hook != "on_exception":
            raise error
        if not self._broken:
            self._broken = True
            message = f"LDECallback.{hook} could not record everything: {type(error).__name__}: {error}"
            tell(redact_text(message), RecordingWarning)


def _check_patience(seconds: float) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise ConfigurationError(f"data_patience_s is {seconds!r}: give seconds, zero or more, or None")


def _check_word(name: str, value: str, allowed: set[str]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}: give one of {', '.join(sorted(allowed))}")
