"""What one Trainer does with one callback: its run, from the first segment to the last."""

from __future__ import annotations

import contextlib
import functools
import shlex
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lightning_utilities.core.rank_zero import rank_zero_info

from lightning_lde import reproducing
from lightning_lde._lightning import _trainer
from lightning_lde._lightning._checkpoints import Checkpoints
from lightning_lde._lightning._facts import RunFacts, settings_of
from lightning_lde._lightning._sampler import MetricSampler
from lightning_lde._lightning._tap import MetricTap
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Moment, Recorder, RunState, has_finished_elsewhere, link_run, words_of
from lightning_lde.schema import Relation, RunStatus, content_id, utc_now

if TYPE_CHECKING:
    import pytorch_lightning as pl

KEPT_IN = "lightning_lde"
"""Where a checkpoint keeps what it has of runs: not among the states of callbacks, which Lightning asks for again."""


@dataclass(frozen=True)
class SessionOptions:
    """How runs are recorded.

    Attributes:
        storage: The lake.
        place: Lake and project; tells runs apart in a checkpoint, whichever class of callback recorded them.
        identity: Project, experiment, name and tags.
        recording: Further arguments of ``Recorder``.
        artifacts: ``"checkpoints"``, ``"all"`` or ``"none"``.
        continue_run: Whether training that goes on from a checkpoint may go on in its run.
        data_fingerprint: ``"cheap"`` or ``"exact"``.
        data_patience_s: Seconds that an end waits for the data to be read; None for what suits.
    """

    storage: LakeStorage
    place: str
    identity: Mapping[str, Any]
    recording: Mapping[str, Any]
    artifacts: str
    continue_run: bool
    data_fingerprint: str = "cheap"
    data_patience_s: float | None = None


class TrainerSession:
    """The run of one Trainer; each fit, validate, test and predict is a segment of it.

    Args:
        options: How it is recorded.
        guard: Makes a function harmless to the training.
    """

    def __init__(self, options: SessionOptions, guard: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
        self._options = options
        self._guard = guard
        self._resumes: RunState | None = None
        self._same_run: str | None = None
        self._has_checkpoint = False
        self._checkpoints: Checkpoints | None = None
        self._opened_at = utc_now()
        self._tap: MetricTap | None = None
        self._facts: RunFacts | None = None
        self._sampler: MetricSampler | None = None
        self.recorder: Recorder | None = None

    # What is open ---------------------------------------------------------------------------------

    def facts(self, trainer: pl.Trainer) -> RunFacts | None:
        """The facts of the open segment, None where nothing is to be recorded now."""
        silent = self.recorder is None or not self.recorder.is_open or _trainer.is_sanity_checking(trainer)
        return None if silent else self._facts

    def sampler(self, trainer: pl.Trainer) -> MetricSampler | None:
        """What reads metrics where no logger carries them, None elsewhere."""
        return self._sampler if self._tap is None and self.facts(trainer) else None

    def describe_loaders(self, trainer: pl.Trainer, role: str, loaders: object) -> None:
        """The data behind loaders, where something is open."""
        if facts := self.facts(trainer):
            facts.describe_loaders(role, loaders)

    def batch_starts(self, trainer: pl.Trainer, batch: object) -> None:
        """A training step begins."""
        recorder = self.recorder
        if self._facts is None or recorder is None or not recorder.is_open:
            return
        if recorder.is_resuming:
            recorder.goes_on_at(_trainer.moment(trainer))
        if self._tap is None and self._sampler is not None:
            self._sampler.step_is_over()
        if self._has_checkpoint:
            # The values of its step, which Lightning logs after it was saved.
            self._has_checkpoint = False
            recorder.make_durable()
        self.look_for_checkpoints(trainer)
        self._facts.clock.batch_starts(batch)

    def batch_ends(self, trainer: pl.Trainer) -> None:
        """A training step is done."""
        if self._facts is None or self.recorder is None or not self.recorder.is_open:
            return
        self._facts.clock.batch_ends()
        self.look_for_checkpoints(trainer)
        if self._tap is None and self._sampler is not None:
            self._sampler.batch_ends(trainer)

    def look_for_checkpoints(self, trainer: pl.Trainer) -> None:
        """Take the checkpoints that were written since; Lightning may delete them in the hook that calls this."""
        if self._checkpoints is not None and self._checkpoints.looks_left and self.facts(trainer):
            self._checkpoints.look(trainer)

    # Opening and closing --------------------------------------------------------------------------

    def listen(self, trainer: pl.Trainer) -> None:
        """Listen to what goes to the loggers, where there are any."""
        self._stop_listening(trainer)
        listening = any(not _trainer.is_dummy(logger) for logger in trainer.loggers)
        if listening and trainer.is_global_zero and not _trainer.is_silent(trainer):
            folder = getattr(trainer.loggers[0], "log_dir", None) or trainer.default_root_dir
            receive = self._guard(functools.partial(self._on_logged, weakref.ref(trainer)))
            self._tap = MetricTap(receive, folder=str(folder))
            trainer.loggers = [*trainer.loggers, self._tap]

    def _stop_listening(self, trainer: pl.Trainer) -> None:
        if self._tap is not None:
            trainer.loggers = [logger for logger in trainer.loggers if logger is not self._tap]
            self._tap = None

    def open(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Begin a segment, of a new run, of the present one or of the one whose checkpoint was loaded.

        Args:
            trainer: The trainer.
            module: What it trains or evaluates.
            stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        """
        if _trainer.is_silent(trainer) or not trainer.is_global_zero:
            return
        if self.recorder is not None and self.recorder.is_open:
            # An error in another callback's on_exception keeps Lightning from telling anybody else.
            self.recorder.finish_segment(RunStatus.FAILED, exception="its end was not told")
        self._opened_at = utc_now()
        settings = settings_of(trainer, module)
        names = {key: self._options.identity[key] for key in ("experiment", "name")}
        self._same_run = content_id("runs", {"settings": settings.identity, **names})
        resumes, self._resumes = self._resumes, None
        recorder, is_new = self._recorder_for(trainer, resumes)
        other = None if resumes is None or resumes.run_id == recorder.run_id else resumes.run_id
        self._sampler = MetricSampler(functools.partial(_log_sampled, recorder))
        self._facts = RunFacts(
            recorder,
            data_fingerprint=self._options.data_fingerprint,
            data_patience_s=self._options.data_patience_s,
        )
        self._checkpoints = None
        if self._options.artifacts != "none":
            self._checkpoints = Checkpoints(recorder, at_once=self._options.artifacts == "all")
        recorder.start_segment(stage)
        self._facts.describe_run(trainer, module, settings, resumed_from=other)
        if is_new:
            word = "recording" if resumes is None or other else "continuing"
            rank_zero_info(f"LDE: {word} run {recorder.run_id} to {self._options.storage.url}")

    def _recorder_for(self, trainer: pl.Trainer, resumes: RunState | None) -> tuple[Recorder, bool]:
        options = self._options
        same = self.recorder is not None and resumes is not None and resumes.run_id == self.recorder.run_id
        goes_on = resumes is not None and not same and self._goes_on(resumes)
        if self.recorder is not None and not goes_on and not self.recorder.is_disowned:
            if same and resumes is not None:
                self.recorder.resume(resumes.as_dict())
            return self.recorder, False
        state = resumes.as_dict() if resumes is not None and goes_on else None
        self.recorder = Recorder(options.storage, resume=state, **options.recording, **options.identity)
        self.recorder.moment = functools.partial(_moment, weakref.ref(trainer))
        return self.recorder, True

    def _goes_on(self, resumes: RunState) -> bool:
        options = self._options
        if not options.continue_run or resumes.identity != self._same_run:
            return False
        if not reproducing.opened.may_go_on(resumes.run_id):
            return False
        return not has_finished_elsewhere(options.storage, options.identity["project"], resumes)

    def fail(self, trainer: pl.Trainer, exception: BaseException) -> None:
        """End the segment of a training that did not end well."""
        interrupted = isinstance(exception, (KeyboardInterrupt, SystemExit)) or _trainer.is_sigterm(exception)
        text = words_of(exception)
        if self.recorder is not None and self.recorder.is_open:
            self.recorder.add_event("exception", text, level="warning" if interrupted else "error")
        status = RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED
        if interrupted and self._is_requeued(trainer):
            status = RunStatus.REQUEUED
        self.close(trainer, status, exception=text)

    def close(self, trainer: pl.Trainer, status: str, **facts: str | None) -> None:
        """End the segment; idempotent.

        Args:
            trainer: The trainer.
            status: A word of ``RunStatus``.
            facts: ``stop_reason`` and ``exception`` where there are any.
        """
        self._resumes = None
        recorder, url = self.recorder, self._options.storage.url
        if recorder is not None and recorder.is_open and self._tap is None and self._sampler is not None:
            with contextlib.suppress(Exception):
                self._sampler.ends(trainer)
        self._stop_listening(trainer)
        self._sampler = None
        if recorder is None or not recorder.is_open:
            return
        if self._facts is not None:
            self._facts.wait_for_data(interrupted=status in {RunStatus.INTERRUPTED, RunStatus.REQUEUED})
        if self._checkpoints is not None and trainer.state.fn == "fit":
            try:
                self._checkpoints.finish(trainer)
            except OSError as error:
                recorder.say_once("artifact", f"checkpoints could not be looked up: {error}")
        if recorder.finish_segment(status, **facts):
            rank_zero_info(f"LDE: run {recorder.run_id} {status}: lde show {shlex.quote(url)} {recorder.run_id}")
        else:
            rank_zero_info(f"LDE: run {recorder.run_id} {status}; part of it is not in the lake yet")

    def _is_requeued(self, trainer: pl.Trainer) -> bool:
        if self._tap is not None:
            return self._tap.requeued
        return self.recorder is not None and _trainer.has_requeue_checkpoint(trainer, since=self._opened_at)

    # Checkpoints ----------------------------------------------------------------------------------

    def keep_in(self, checkpoint: dict[str, Any]) -> None:
        """Keep in a checkpoint which run wrote it, and how far it was."""
        if self.recorder is not None:
            state = self.recorder.checkpoint_state(identity=self._same_run)
            checkpoint.setdefault(KEPT_IN, {})[self._options.place] = state
            self._has_checkpoint = self.recorder.is_open
            if self._checkpoints is not None:
                self._checkpoints.expect()

    def find_in(self, trainer: pl.Trainer, checkpoint: Mapping[str, Any]) -> None:
        """Remember the run whose checkpoint a fit goes on from, whichever lake it was recorded to."""
        if trainer.state.fn != "fit":
            return
        states = checkpoint.get(KEPT_IN, {})
        own = states.get(self._options.place)
        found = RunState.from_dict(own or next(iter(states.values()), None))
        if found is not None and self.facts(trainer) and self.recorder is not None:
            # Strategies that load weights late: the run has begun already, it can only say where it comes from.
            if found.run_id != self.recorder.run_id:
                self.recorder.update(resumed_from=found.run_id)
                link_run(self.recorder, Relation.RESUMED_FROM, "run", found.run_id)
            return
        if found is not None:
            # A run of another lake cannot go on in this one.
            self._resumes = found if own else replace(found, identity=None)

    # Metrics --------------------------------------------------------------------------------------

    def _on_logged(self, trainer_of_run: weakref.ref[pl.Trainer], metrics: Mapping[str, Any], step: int | None) -> None:
        trainer = trainer_of_run()
        if trainer is not None and self.facts(trainer) and self.recorder is not None:
            values = dict(metrics)
            values.pop("epoch", None)
            _, global_step, epoch, context = _trainer.moment(trainer)
            self.recorder.log(values, step=step, global_step=global_step, epoch=epoch, context=context)
            if self._has_checkpoint:
                self.recorder.make_durable()


def _log_sampled(recorder: Recorder, values: Mapping[str, Any], moment: Moment) -> None:
    step, global_step, epoch, context = moment
    recorder.log(values, step=step, global_step=global_step, epoch=epoch, context=context, source="sampled")


def _moment(trainer_of_run: weakref.ref[pl.Trainer]) -> Moment | None:
    """Where the training stands; None during the sanity check, and where its trainer is gone."""
    trainer = trainer_of_run()
    return None if trainer is None or _trainer.is_sanity_checking(trainer) else _trainer.moment(trainer)
