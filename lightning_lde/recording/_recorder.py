"""The recorder: takes the facts of one run and brings them to the lake from threads of its own."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

# Here, where modules are imported anyway, and not by a thread that would hold up the first steps of a training.
import psutil  # noqa: F401
import pyarrow.compute
import pyarrow.parquet

from lightning_lde import current
from lightning_lde.capture import redact
from lightning_lde.errors import RecordingWarning, tell
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import _ending
from lightning_lde.recording._buffer import Buffer
from lightning_lde.recording._delivery import Delivery
from lightning_lde.recording._journal import Journal
from lightning_lde.recording._process import describe_process
from lightning_lde.recording._resume import Moment, RunState
from lightning_lde.recording._sender import Sender
from lightning_lde.recording._signals import ending_on_sigterm
from lightning_lde.recording._spool import SpoolHeader
from lightning_lde.recording._words import check_interval, safe_words, words_of
from lightning_lde.schema import (
    Artifact,
    Event,
    Record,
    Run,
    RunStatus,
    new_run_id,
    odd_fields,
    records_to_arrow,
    utc_now,
)
from lightning_lde.system import StepClock, SystemMonitor

if TYPE_CHECKING:
    import pyarrow as pa

FACTS_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 30.0
UPLOAD_TIMEOUT_S = 300.0
FINISH_PATIENCE_S = 5.0
INTERRUPTED_TIMEOUT_S = 10.0
SPOOL_EVERY_S = 0.5
LONGEST_FLUSH_S = 60.0
LARGEST_RUNNING_SUMMARY = 1000
LARGEST_BUFFER = 1 << 17
LARGEST_REFUSED = 100
DURABLE_TIMEOUT_S = 5.0
START_TIMEOUT_S = 1.0
_SHARE_OF_AGE = 1 / 20
_LARGEST_STEP = 1 << 53


class Recorder:
    """Records one run into a lake without ever making the training wait or fail.

    A fact costs an append to a buffer. A thread of its own empties the buffer twice a second into a
    spool on the local disk, which survives the death of the process, and sends what lies there to the
    lake every ``flush_every_s`` seconds, later less often, together with a heartbeat. What the lake
    does not take waits in the spool; ``lde sync``, or the next run on the machine, sends what a dead
    process left. A run has one or more segments (a fit, then a test); when a segment ends, the run's
    files in the lake are merged into one per table.

    Without Lightning it is used with ``with``; the callback calls its methods one by one.

    Args:
        lake: A folder, ``s3://bucket/prefix``, any URL that fsspec knows, or an open storage.
        project: The project, a partition of the lake.
        experiment: A group of runs within the project.
        name: A name for people; the id tells runs apart.
        tags: Free words about the run.
        flush_every_s: Seconds between two writes to the lake in the first minutes of a run; a twentieth of
            its age later, at most a minute.
        storage_options: fsspec's options for the lake's protocol, for S3 as s3fs spells them.
        on_error: ``"warn"`` says once what could not be written, ``"raise"`` raises at the end of the segment.
        system_metrics_every_s: Seconds between two readings of processor, memory, disk, network and GPUs, on a
            thread of their own; None for none.
        resume: What ``checkpoint_state`` returned when a checkpoint was written: the run goes on from there.

    Attributes:
        run_id: The run's id.
        moment: Asked where the training stands, by `log_now` and for system metrics; None says that nothing is to
            be logged now.
        clock: Fed by a training loop, it adds throughput and waiting for data to the system metrics.

    Raises:
        ConfigurationError: If ``flush_every_s`` is no positive number of seconds up to an hour.
        LakeURLError: If the address or the storage options cannot be understood.

    Example:
        >>> import tempfile
        >>> from lightning_lde import Lake
        >>> folder = tempfile.mkdtemp()
        >>> with Recorder(folder, project="demo", name="sum") as run:
        ...     for step in range(3):
        ...         run.log({"total": float(step)}, step=step)
        >>> Lake(folder).sql("select max(value) as highest from metrics").to_pylist()
        [{'highest': 2.0}]
    """

    def __init__(
        self,
        lake: str | os.PathLike[str] | LakeStorage,
        *,
        project: str,
        experiment: str | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        flush_every_s: float = 5.0,
        storage_options: Mapping[str, Any] | None = None,
        on_error: str = "warn",
        system_metrics_every_s: float | None = 10.0,
        resume: Mapping[str, Any] | None = None,
    ) -> None:
        check_interval("flush_every_s", flush_every_s)
        if system_metrics_every_s is not None:
            check_interval("system_metrics_every_s", system_metrics_every_s)
        storage = lake if isinstance(lake, LakeStorage) else LakeStorage(lake, storage_options)
        self._storage = storage
        self._on_error = on_error
        self._flush_every_s = flush_every_s
        self._began = time.monotonic()
        now = utc_now()
        writer = new_run_id()
        run = Run(
            run_id=writer,
            segment=-1,
            revision=0,
            project=safe_words(project) or "",
            experiment=safe_words(experiment),
            name=safe_words(name),
            tags=redact({str(key): str(value) for key, value in (tags or {}).items()}),
            status=RunStatus.RUNNING,
            started_at=now,
            heartbeat_at=now,
            heartbeat_every_s=flush_every_s,
        )
        self._resumes = RunState.from_dict(resume)
        self._run = run if self._resumes is None else replace(run, **self._resumes.applied_to(run))
        self._age_before_s = 0.0 if self._resumes is None else self._resumes.age_s
        self._run_lock = threading.Lock()
        self.run_id = self._run.run_id
        header = SpoolHeader(
            lake=storage.absolute_url,
            project=self._run.project,
            day=now.date().isoformat(),
            run_id=self.run_id,
            writer=writer,
            number=0,
            options=storage.public_options,
        )
        self._buffer = Buffer()
        self._journal = Journal(header, self._buffer, self._refused)
        self._journal.summary.restore(self._run.summary)
        self._delivery = Delivery(storage, self._journal, self._refused)
        self._facts = Sender("lde-facts")
        self._failure: Exception | None = None
        self._said: set[tuple[str, str]] = set()
        self._wake = threading.Event()
        self._asked: deque[threading.Event] = deque()
        self._final: dict[str, Any] | None = None
        self._said_closed = False
        self._is_disowned = False
        self._on_sigterm: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        self._thread: threading.Thread | None = None
        self.moment: Callable[[], Moment | None] = Moment
        self.clock = StepClock()
        self._monitor: SystemMonitor | None = None
        if system_metrics_every_s is not None:
            self._monitor = SystemMonitor(self._log_system, every_s=system_metrics_every_s, clock=self.clock)
        _living.add(self)

    def __enter__(self) -> Recorder:
        self._on_sigterm = ending_on_sigterm()
        self._on_sigterm.__enter__()
        self.start_segment("run")
        self.describe_later(lambda: describe_process(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end(error)
        finally:
            self._on_sigterm.__exit__(None, None, None)

    def _end(self, error: BaseException | None) -> None:
        if error is None:
            self.finish_segment(RunStatus.FINISHED)
            return
        if isinstance(error, SystemExit) and error.code in (None, 0):
            self.finish_segment(RunStatus.FINISHED)
            return
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        text = words_of(error)
        self.add_event("exception", text, level="warning" if interrupted else "error")
        # An error of the lake must not replace the user's own.
        with contextlib.suppress(OSError):
            self.finish_segment(RunStatus.INTERRUPTED if interrupted else RunStatus.FAILED, exception=text)

    @property
    def segment(self) -> int:
        """The number of the present segment: from zero, or a larger number where a run goes on from a checkpoint."""
        return self._run.segment

    @property
    def run(self) -> Run:
        """The run's present state."""
        return self._run

    @property
    def is_open(self) -> bool:
        """Whether a segment is being recorded."""
        return self._thread is not None

    @property
    def is_resuming(self) -> bool:
        """Whether the run goes on from a checkpoint and it is not said yet at which step."""
        return self._resumes is not None

    def start_segment(self, stage: str) -> None:
        """Begin a segment; its first rows reach the local disk before this returns, and the lake in the background.

        From then on a process that dies leaves a run that readers take for lost. A disk that does not answer holds
        the caller up for a second at most.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"``, ``"predict"`` or a word of the caller's.
        """
        self._change(segment=self._run.segment + 1, status=RunStatus.RUNNING, stage=stage, ended_at=None)
        self._final = None
        self._thread = threading.Thread(target=self._work, name="lde-spool", daemon=True)
        # At the end of a process none can be started; the work is done at the segment's end then.
        with contextlib.suppress(RuntimeError):
            _ending.begin(self._thread, self._wake)
            self._wait_for_disk(START_TIMEOUT_S)
        if self._monitor is not None:
            self._monitor.start()
        current.opened(self)

    def resume(self, state: Mapping[str, Any] | None) -> None:
        """Let the next segment go on from a checkpoint that an earlier segment of this run wrote.

        Args:
            state: What ``checkpoint_state`` returned then.
        """
        self._resumes = RunState.from_dict(state)

    def goes_on_at(self, moment: Moment) -> None:
        """Note where the training begins that goes on from a checkpoint; without this, it is not known.

        Args:
            moment: Where it stands before its first step.
        """
        self._note_resume(moment)

    def checkpoint_state(self, *, identity: str | None = None) -> dict[str, Any]:
        """What a checkpoint has to keep, so that training which goes on from it goes on in this run.

        All points up to here are on the local disk when this returns: none before the checkpoint can be lost
        with the process.

        Args:
            identity: What must be equal for a training to be the same run.

        Returns:
            Plain words, numbers and dicts, for the argument ``resume``.
        """
        until = self._buffer.mark()
        self.make_durable()
        first = ("weights_start_id", "dataset_config_id", "pipeline_config_id")
        return RunState(
            run_id=self.run_id,
            started_at=self._run.started_at.isoformat(),
            segment=self.segment,
            until=until,
            age_s=self._age_s(),
            identity=identity,
            facts={name: value for name in first if (value := getattr(self._run, name)) is not None},
            summary=self._journal.summary_of_at_most(LARGEST_RUNNING_SUMMARY) or {},
        ).as_dict()

    def _note_resume(self, moment: Moment) -> None:
        resumes, self._resumes = self._resumes, None
        if resumes is not None:
            self.record("resumes", resumes.as_row(self.segment, moment))

    def make_durable(self) -> None:
        """Wait until all points that were logged are on the local disk, some milliseconds as a rule."""
        self._wait_for_disk(DURABLE_TIMEOUT_S)

    def _wait_for_disk(self, timeout_s: float) -> None:
        if self._thread is None or not self._thread.is_alive():
            return
        done = threading.Event()
        self._asked.append(done)
        self._wake.set()
        done.wait(timeout_s)

    def update(self, **facts: Any) -> None:
        """Set columns of the run's row, for example ``seed=1`` or ``weights_end_id=…``."""
        self._change(**facts)

    def describe_later(self, task: Callable[[], None]) -> threading.Event:
        """Find out facts in the background, one task after the other; the segment's end waits for them.

        Args:
            task: What to do; its error becomes an event of the run.

        Returns:
            What is set when the task is done.
        """
        done = threading.Event()

        def describe() -> None:
            try:
                task()
            except Exception as error:
                self.say_once("capture", f"a fact of the run could not be captured: {words_of(error)}")
            finally:
                done.set()

        self._facts.add(describe)
        return done

    def record(self, table: str, *records: Record) -> None:
        """Add rows of any table."""
        self._buffer.add(table, *records)

    def log(
        self,
        values: Mapping[str, Any],
        *,
        step: int | None = None,
        global_step: int | None = None,
        epoch: int | None = None,
        context: str | None = None,
        source: str = "logged",
    ) -> None:
        """Add the values of metrics at a moment.

        Args:
            values: Number, or tensor of one element, by name. Tensors are not waited for.
            step: The logger's step.
            global_step: Optimizer steps so far.
            epoch: The epoch.
            context: ``"train"``, ``"val"``, ``"test"`` or ``"system"``.
            source: ``"logged"`` for exact values, ``"sampled"`` for values read between steps.
        """
        if step is not None and (type(step) is not int or not -_LARGEST_STEP <= step <= _LARGEST_STEP):
            step = self._whole_number(step)
        if global_step is not None and (type(global_step) is not int or abs(global_step) > _LARGEST_STEP):
            global_step = self._whole_number(global_step)
        if epoch is not None and (type(epoch) is not int or abs(epoch) > _LARGEST_STEP):
            epoch = self._whole_number(epoch)
        if self._resumes is not None and self.moment is Moment:
            # Nobody will come and say at which step it goes on.
            self._note_resume(Moment())
        if context is not None and type(context) is not str:
            context = str(context)
        waiting = self._buffer.add_metrics(values, self._run.segment, step, global_step, epoch, context, source)
        if waiting > LARGEST_BUFFER or self._thread is None:
            self._hold_up()

    def log_now(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Add the values of metrics at the present moment of the training.

        Args:
            values: Number, or tensor of one element, by name. Tensors are not waited for.
            step: Another step than the training's.
        """
        moment = self.moment()
        if moment is not None:
            at = moment.step if step is None else step
            self.log(values, step=at, global_step=moment.global_step, epoch=moment.epoch, context=moment.context)

    def add_event(self, kind: str, message: str, *, level: str = "info") -> None:
        """Note a moment of the run."""
        event = Event(run_id=self.run_id, segment=self.segment, time=utc_now(), level=level, kind=kind, message=message)
        self._buffer.add("events", event)

    def say_once(self, kind: str, message: str) -> None:
        """Note something as a warning, however often it happens."""
        if (kind, message) not in self._said:
            self._said.add((kind, message))
            self.add_event(kind, message, level="warning")

    def save_file(
        self,
        source: Path,
        *,
        path: str,
        kind: str,
        score: float | None = None,
        weights_id: str | None = None,
    ) -> None:
        """Store a file of the run; it is read in the background and must stay until the segment is finished.

        Args:
            source: The file.
            path: The path under which the run keeps it.
            kind: ``"checkpoint"`` or another word.
            score: What a checkpoint was chosen by.
            weights_id: The fingerprint of the weights in it.
        """
        segment = self.segment

        def store(storage: LakeStorage) -> None:
            try:
                object_id, size_bytes = storage.put_object(source), source.stat().st_size
            except FileNotFoundError:
                self.add_event("artifact", f"{path} was gone before it could be stored", level="warning")
                return
            artifact = Artifact(
                run_id=self.run_id,
                segment=segment,
                path=path,
                kind=kind,
                size_bytes=size_bytes,
                object_id=object_id,
                score=score,
                weights_id=weights_id,
                recorded_at=utc_now(),
            )
            self._buffer.add("artifacts", artifact)
            if not self.is_open:
                self._send_late_rows()

        self._delivery.store(store)

    def _send_late_rows(self) -> None:
        """The segment was finished without this file; its row follows."""
        self._journal.spool()
        self._journal.seal(functools.partial(self._state, None))
        self._delivery.send()

    def finish_segment(self, status: str, *, stop_reason: str | None = None, exception: str | None = None) -> bool:
        """End the segment: write what is left, then merge the run's files into one per table.

        It takes at most some minutes where files have to be uploaded, and seconds where the process was asked to end.

        Args:
            status: A word of ``RunStatus``.
            stop_reason: Why the training ended.
            exception: The error's text where it failed.

        Returns:
            Whether all of it is in the lake.

        Raises:
            OSError: If the lake could not be written and ``on_error`` is ``"raise"``.
        """
        if self._thread is None:
            return True
        current.closed(self)
        self._note_resume(Moment())
        if self._monitor is not None:
            self._monitor.stop()
        hurry = status in {RunStatus.INTERRUPTED, RunStatus.REQUEUED}
        final = {
            "status": status,
            "stop_reason": stop_reason or self._run.stop_reason,
            "exception": exception or self._run.exception,
        }
        try:
            complete = self._close(final, INTERRUPTED_TIMEOUT_S if hurry else UPLOAD_TIMEOUT_S)
        except BaseException:
            # Ctrl-C while it waited: what is not in the lake is in the spool, and the user should know.
            self._final = self._final or {**final, "ended_at": utc_now(), "duration_s": self._age_s()}
            self._wake.set()
            thread, self._thread = self._thread, None
            if thread is not None and thread.is_alive():
                thread.join(1.0)
            self._delivery.complain(self.run_id, "the end was not waited for", raises=False)
            raise
        if not complete:
            failure, self._failure = self._failure, None
            self._delivery.complain(self.run_id, failure, raises=self._on_error == "raise")
        return complete

    def _close(self, final: dict[str, Any], limit_s: float) -> bool:
        """Wait for facts and files, stop the spool's thread, and wait for the lake."""
        self._facts.drain(timeout_s=min(limit_s, FACTS_TIMEOUT_S), patience_s=FINISH_PATIENCE_S)
        # Files first: who sees the run finished must see its files too.
        stored = self._delivery.wait_for_files(timeout_s=limit_s, patience_s=FINISH_PATIENCE_S)
        self._final = {**final, "ended_at": utc_now(), "duration_s": self._age_s()}
        thread = self._thread
        self._wake.set()
        if thread is not None and thread.is_alive():
            thread.join()
        elif thread is not None:
            self._work()
        self._thread = None
        rows_s = min(limit_s, FINISH_TIMEOUT_S)
        sent = self._delivery.wait_for_rows(timeout_s=rows_s, patience_s=FINISH_PATIENCE_S)
        return stored and sent and self._failure is None and not self._journal.dropped

    def _change(self, **facts: Any) -> None:
        with self._run_lock:
            self._run = replace(self._run, **facts)

    def _disown(self) -> None:
        """Become a recorder that does nothing: this is a forked child, and the run is the parent's."""
        self._journal.forget()
        self._thread = None
        self._monitor = None
        self._is_disowned = True
        # Another thread of the parent may have held their locks at that moment.
        self._buffer = Buffer()
        self._journal = Journal(self._journal.header, self._buffer, self._refused)
        self._delivery = Delivery(self._storage, self._journal, self._refused)
        self._facts = Sender("lde-facts")
        self._run_lock = threading.Lock()

    def _age_s(self) -> float:
        """Seconds that the run was recorded for, by whichever process, whatever happens to the clock meanwhile."""
        return self._age_before_s + time.monotonic() - self._began

    def _log_system(self, values: Mapping[str, float]) -> None:
        step, global_step, epoch, _ = self.moment() or Moment()
        self.log(values, step=step, global_step=global_step, epoch=epoch, context="system", source="sampled")

    def _refused(self, sentence: str) -> None:
        known = len(self._said)
        if known < LARGEST_REFUSED:
            self.say_once("refused", sentence)
        else:
            self.say_once("refused", f"more than {LARGEST_REFUSED} different things were refused")

    def _whole_number(self, step: object) -> int | None:
        try:
            number = operator.index(step)  # type: ignore[arg-type]
        except TypeError:
            self._refused(f"steps and epochs are whole numbers, no {type(step).__name__}: it was left out")
            return None
        if abs(number) > _LARGEST_STEP:
            self._refused(f"a step of {number.bit_length()} bits is too large: it was left out")
            return None
        return number

    def _hold_up(self) -> None:
        """Let who logs wait for the disk: it fills the buffer faster than another thread empties it."""
        if self._thread is not None:
            self.make_durable()
        elif self._is_disowned:
            self._buffer.take_metrics()
        elif not self._said_closed:
            self._said_closed = True
            tell(
                "values were logged while no segment of the run was open: they wait for the next one", RecordingWarning
            )

    # The spool's thread --------------------------------------------------------------------------

    def _work(self) -> None:
        next_flush = 0.0
        while True:
            final = self._final
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            try:
                self._journal.spool()
                if final is not None or self._journal.is_large() or time.monotonic() >= next_flush:
                    next_flush = time.monotonic() + self._flush_interval_s()
                    self._journal.seal(functools.partial(self._state, final))
                    self._delivery.send()
            except Exception as error:
                self._failure = error
            for done in asked:
                done.set()
            if final is not None or _ending.is_ending():
                return
            self._wake.wait(min(SPOOL_EVERY_S, self._flush_every_s))
            self._wake.clear()

    def _state(self, final: Mapping[str, Any] | None) -> pa.Table:
        facts: dict[str, Any] = dict(final or {})
        # Readers take a run for lost after three heartbeats that did not come.
        facts |= {"heartbeat_at": utc_now(), "heartbeat_every_s": 2 * self._flush_interval_s()}
        summary = self._journal.summary_of_at_most(LARGEST_RUNNING_SUMMARY if final is None else None)
        if summary is not None:
            facts["summary"] = summary
        self._change(revision=self._run.revision + 1, **facts)
        try:
            return records_to_arrow("runs", [self._run])
        except Exception:
            odd = odd_fields(self._run)
            self._refused(f"facts of the run cannot be stored, they were left out: {', '.join(odd)}")
            self._change(**odd)
            return records_to_arrow("runs", [self._run])

    def _flush_interval_s(self) -> float:
        age_s = time.monotonic() - self._began
        return max(self._flush_every_s, min(age_s * _SHARE_OF_AGE, LONGEST_FLUSH_S))


_living: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _disown_all() -> None:
    for recorder in list(_living):
        recorder._disown()


os.register_at_fork(after_in_child=_disown_all)
