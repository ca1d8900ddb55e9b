"""The recorder: takes the facts of one run and brings them to the lake from threads of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

# Here, where modules are imported anyway, and not by a thread that would hold up the first steps of a training.
import psutil  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401

from lightning_lde import current, reproducing
from lightning_lde.capture import CapturedCode, redact
from lightning_lde.errors import RecordingWarning, tell
from lightning_lde.lake import LakeStorage
from lightning_lde.policy import check_level
from lightning_lde.recording._buffer import Buffer
from lightning_lde.recording._delivery import Delivery
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._journal import Journal
from lightning_lde.recording._known import secrets_around
from lightning_lde.recording._objects import SmallObject
from lightning_lde.recording._present import PresentRun
from lightning_lde.recording._process import as_written, begin_as_recorded, describe_later_imports, describe_process
from lightning_lde.recording._pump import SpoolPump
from lightning_lde.recording._resume import Moment, RunState
from lightning_lde.recording._run_files import RunFile, Stored
from lightning_lde.recording._sender import Sender
from lightning_lde.recording._signals import ending_on_sigterm
from lightning_lde.recording._spool import SpoolHeader
from lightning_lde.recording._words import LARGEST_STEP, check_interval, safe_words, whole_number, words_of
from lightning_lde.schema import Event, Record, Run, RunStatus, new_run_id, utc_now
from lightning_lde.system import StepClock, SystemMonitor

FACTS_TIMEOUT_S = 30.0
FINISH_TIMEOUT_S = 30.0
UPLOAD_TIMEOUT_S = 300.0
FINISH_PATIENCE_S = 5.0
INTERRUPTED_TIMEOUT_S = 10.0
LARGEST_RUNNING_SUMMARY = 1000
LARGEST_BUFFER = 1 << 17
LARGEST_REFUSED = 100


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
        capture: ``"minimal"`` records no diff, no values of the command line and no environment variables, and
            people only as pseudonyms; ``"standard"``; ``"full"`` records all environment variables too. The lake's
            policy may ask for less.

    Attributes:
        run_id: The run's id.
        moment: Asked where the training stands, by `log_now` and for system metrics; None says that nothing is to
            be logged now.
        growing_code: The code of the present segment and its folders, where modules imported later belong to it.
        clock: Fed by a training loop, it adds throughput and waiting for data to the system metrics.

    Raises:
        ConfigurationError: If ``flush_every_s`` is no positive number of seconds up to an hour, or
            ``capture`` no level.
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
        capture: str = "standard",
    ) -> None:
        check_level(capture)
        check_interval("flush_every_s", flush_every_s)
        if system_metrics_every_s is not None:
            check_interval("system_metrics_every_s", system_metrics_every_s)
        address = reproducing.lake_address(lake)
        storage = address if isinstance(address, LakeStorage) else LakeStorage(address, storage_options)
        self._storage = storage
        self._governance = Governance(capture, secrets_around(storage.given_options))
        self._on_error = on_error
        now = utc_now()
        writer = new_run_id()
        run = Run(
            run_id=writer,
            segment=-1,
            revision=0,
            project=self._governance.without_secrets(safe_words(project) or ""),
            experiment=safe_words(experiment),
            name=safe_words(name),
            tags=redact({str(key): str(value) for key, value in (tags or {}).items()}),
            status=RunStatus.RUNNING,
            started_at=now,
            heartbeat_at=now,
            heartbeat_every_s=flush_every_s,
        )
        self._resumes = RunState.from_dict(resume)
        if self._resumes is not None and not reproducing.opened.may_go_on(self._resumes.run_id):
            run, self._resumes = replace(run, resumed_from=self._resumes.run_id), None
        self._present = PresentRun(run, flush_every_s=flush_every_s, resumes=self._resumes)
        self.run_id = self._present.run.run_id
        self._number_run()
        self.random_state_id: str | None = None
        self.growing_code: tuple[CapturedCode, tuple[Path, Path]] | None = None
        self._said: set[tuple[str, str]] = set()
        self._said_closed = False
        self.is_disowned = False
        header = SpoolHeader(
            lake=storage.absolute_url,
            project=self._present.run.project,
            day=now.date().isoformat(),
            run_id=self.run_id,
            writer=writer,
            number=0,
            options=storage.public_options,
        )
        self._open_ways(header)
        self._journal.summary.restore(self._present.run.summary)
        self._on_sigterm: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        self.moment: Callable[[], Moment | None] = Moment
        self.clock = StepClock()
        self._monitor: SystemMonitor | None = None
        if system_metrics_every_s is not None:
            self._monitor = SystemMonitor(self._log_system, every_s=system_metrics_every_s, clock=self.clock)
        _living.add(self)

    def _number_run(self) -> None:
        """Tell the run apart from others of the same names in this process, and whether it is a reproduction."""
        run = self._present.run
        if self._resumes is None:
            identity = {name: getattr(run, name) for name in ("project", "experiment", "name", "tags")}
            number, reproduces = reproducing.opened.begin(run.run_id, identity, as_written)
            self._present.change(number_in_process=number, reproduces=reproduces)
        else:
            earlier, reproduces = reproducing.opened.go_on(run.run_id)
            self._present.change(number_in_process=earlier, reproduces=reproduces or run.reproduces)

    def _open_ways(self, header: SpoolHeader) -> None:
        """What leads from here to the lake."""
        self._buffer = Buffer()
        self._journal = Journal(header, self._buffer, self._refused, self._governance)
        self._delivery = Delivery(self._storage, self._journal, self._refused)
        self._pump = SpoolPump(self._journal, self._delivery, self._present)
        self._facts = Sender("lde-facts")

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
        return self._present.run.segment

    @property
    def run(self) -> Run:
        """The run's present state."""
        return self._present.run

    @property
    def capture_level(self) -> str:
        """The level of capture: what was given, or less where the lake's policy is known and asks for it."""
        return self._governance.level

    @property
    def is_open(self) -> bool:
        """Whether a segment is being recorded."""
        return self._pump.stint is not None

    @property
    def is_resuming(self) -> bool:
        """Whether the run goes on from a checkpoint and it is not said yet at which step."""
        return self._resumes is not None

    def start_segment(self, stage: str) -> None:
        """Begin a segment; its first rows reach the local disk before this returns, and the lake in the background.

        From then on a process that dies leaves a run that readers take for lost. A disk that does not answer holds
        the caller up for a second at most. In a forked child this does nothing: the run is the parent's.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"``, ``"predict"`` or a word of the caller's.
        """
        if self.is_disowned:
            return
        self._present.begin_segment(stage)
        state = begin_as_recorded(self, reproducing.opened.count_segment(self.run_id))
        self.random_state_id = None if state is None else self.store_bytes(state)
        self._pump.begin()
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
        summary = self._journal.summary_of_at_most(LARGEST_RUNNING_SUMMARY) or {}
        return self._present.at_checkpoint(until=until, identity=identity, summary=summary).as_dict()

    def _note_resume(self, moment: Moment) -> None:
        resumes, self._resumes = self._resumes, None
        if resumes is not None:
            self.record("resumes", resumes.as_row(self.segment, moment))

    def make_durable(self) -> None:
        """Wait until all points that were logged are on the local disk, some milliseconds as a rule."""
        self._pump.wait_for_disk()

    def update(self, **facts: Any) -> None:
        """Set columns of the run's row, for example ``seed=1`` or ``weights_end_id=…``."""
        self._present.change(**facts)

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
        if self._facts.is_idle:
            # No thread can be started, and somebody may wait for this.
            self._facts.drain(timeout_s=0.0, patience_s=0.0)
        return done

    def record(self, table: str, *records: Record) -> None:
        """Add rows of any table."""
        self._buffer.add(table, *records)

    def record_code(self, code: CapturedCode) -> None:
        """Add a row of code and the snapshot that it names; they travel together, since the gate may change both."""
        if code.snapshot is None:
            self.record("code", code.row)
        else:
            item = SmallObject(code.snapshot, at_minimal=False, is_archive=True)
            self._buffer.add_with_object("code", code.row, item)

    def without_known_secrets(self, text: str) -> str:
        """A text without the values that are secrets because of the name under which this process got them."""
        return self._governance.without_known(text)

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
        if step is not None and (type(step) is not int or abs(step) > LARGEST_STEP):
            step = whole_number(step, self._refused)
        if global_step is not None and (type(global_step) is not int or abs(global_step) > LARGEST_STEP):
            global_step = whole_number(global_step, self._refused)
        if epoch is not None and (type(epoch) is not int or abs(epoch) > LARGEST_STEP):
            epoch = whole_number(epoch, self._refused)
        if self._resumes is not None and self.moment is Moment and context != "system":
            # Nobody will come and say at which step it goes on.
            self._note_resume(Moment())
        if context is not None and type(context) is not str:
            context = str(context)
        segment = self._present.run.segment
        waiting = self._buffer.add_metrics(values, segment, step, global_step, epoch, context, source)
        if waiting > LARGEST_BUFFER or self._pump.stint is None:
            self._hold_up(waiting)

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
        """Store a file of the run; it is read in the background.

        It may be deleted or replaced before: a hard link, or a copy where there are no links, keeps it. Who writes
        into it changes what is stored, and an event says so. Where the lake did not take it when the segment is
        finished, a note in the spool lets ``lde sync`` store it.

        Args:
            source: The file.
            path: The path under which the run keeps it.
            kind: ``"checkpoint"`` or another word.
            score: What a checkpoint was chosen by.
            weights_id: The fingerprint of the weights in it; of a checkpoint it is found out where it is not given.
        """
        file = RunFile(
            source=str(source.absolute()),
            # Here already: a note of it may wait on the disk, and who stores it then may know fewer secrets.
            path=self._governance.without_secrets(path),
            kind=kind,
            run_id=self.run_id,
            segment=self.segment,
            score=score,
            weights_id=weights_id,
        )
        self._delivery.store(file.as_it_is_now(), self._record_file)
        # A process that is killed leaves the note of the file.
        self._pump.wake()

    def _record_file(self, file: RunFile, stored: Stored) -> None:
        if stored.warning is not None:
            self.say_once("artifact", stored.warning)
        if stored.artifact is not None:
            self._buffer.add("artifacts", stored.artifact)
        self._journal.notes.is_stored(file, stored.content)
        self._send_late()

    def _send_late(self) -> None:
        if not self.is_open:
            # The segment was finished without this file; its row follows.
            self._pump.spool(None, flush=True)

    def store_later(
        self, name: str, write: Callable[[Path, Callable[[str], str]], None], take: Callable[[str], None]
    ) -> None:
        """Store an object made of words that the lake's policy may change: it is written when the policy is known.

        The level of capture ``"minimal"`` does not take it.

        Args:
            name: What people call it.
            write: Writes it to a file, in the background; gets the file, and what makes a text fit to be written.
            take: Called with the object's id when it is in the lake, to record what names it.
        """

        def taken(object_id: str) -> None:
            take(object_id)
            self._send_late()

        self._delivery.write(name, write, taken)

    def store_bytes(self, data: bytes) -> str:
        """Store an object that later rows name, as it is; it waits in the spool as they do.

        Args:
            data: Its content, some megabytes at most.

        Returns:
            Its id.
        """
        item = SmallObject(data)
        self._buffer.add_object(item)
        return item.object_id

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
        if not self.is_open:
            return True
        current.closed(self)
        self._note_resume(Moment())
        if self._monitor is not None:
            self._monitor.stop()
        hurry = status in {RunStatus.INTERRUPTED, RunStatus.REQUEUED}
        self.describe_later(lambda: describe_later_imports(self))
        facts: dict[str, Any] = {"status": status, "stop_reason": stop_reason, "exception": exception}
        try:
            complete = self._close(facts, INTERRUPTED_TIMEOUT_S if hurry else None)
        except BaseException:
            # Ctrl-C while it waited: what is not in the lake is in the spool, and the user should know.
            self._pump.end(self._present.end(**facts), 1.0)
            self._delivery.complain(self.run_id, "the end was not waited for", raises=False)
            raise
        if not complete:
            failure, self._pump.failure = self._pump.failure, None
            self._delivery.complain(self.run_id, failure, raises=self._on_error == "raise")
        return complete

    def _close(self, facts: dict[str, Any], within_s: float | None) -> bool:
        """Wait for facts and files, stop the spool's thread, and wait for the lake.

        Args:
            facts: What the segment ends with.
            within_s: Seconds for all of it together, at most half of them for facts and files; None where each part
                has its own.
        """
        began = time.monotonic()

        def at_most(seconds: float, share: float = 1.0) -> float:
            return seconds if within_s is None else max(0.0, min(seconds, began + share * within_s - time.monotonic()))

        self._facts.drain(timeout_s=at_most(FACTS_TIMEOUT_S, 0.5), patience_s=FINISH_PATIENCE_S)
        # Files first: who sees the run finished must see its files too.
        stored = self._delivery.wait_for_files(timeout_s=at_most(UPLOAD_TIMEOUT_S, 0.5), patience_s=FINISH_PATIENCE_S)
        if not self._pump.end(self._present.end(**facts), at_most(FINISH_TIMEOUT_S)):
            self._pump.failure = TimeoutError("the disk of the spool does not answer")
            return False
        sent = self._delivery.wait_for_rows(timeout_s=at_most(FINISH_TIMEOUT_S), patience_s=FINISH_PATIENCE_S)
        return stored and sent and self._pump.failure is None and not self._journal.dropped

    def _disown(self) -> None:
        """Become a recorder that does nothing: this is a forked child, and the run is the parent's."""
        self._journal.forget()
        self._monitor = None
        self.is_disowned = True
        # Another thread of the parent may have held their locks at that moment.
        self._present = PresentRun(self._present.run, flush_every_s=1.0, resumes=None)
        self._open_ways(self._journal.header)

    def _log_system(self, values: Mapping[str, float]) -> None:
        step, global_step, epoch, _ = self.moment() or Moment()
        self.log(values, step=step, global_step=global_step, epoch=epoch, context="system", source="sampled")

    def _refused(self, sentence: str) -> None:
        known = len(self._said)
        if known < LARGEST_REFUSED:
            self.say_once("refused", sentence)
        else:
            self.say_once("refused", f"more than {LARGEST_REFUSED} different things were refused")

    def _hold_up(self, waiting: int) -> None:
        """More values wait than should, or no segment is open."""
        if self.is_open:
            self._pump.hold_up(waiting)
        elif self.is_disowned:
            self._buffer.drop_metrics()
        elif not self._said_closed:
            self._said_closed = True
            tell(
                "values were logged while no segment of the run was open: they wait for the next one", RecordingWarning
            )


_living: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _disown_all() -> None:
    for recorder in list(_living):
        recorder._disown()


os.register_at_fork(after_in_child=_disown_all)
