"""The recorder: takes the facts of one run and brings them to the lake from a thread of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lightning_lde.capture import redact, redact_text
from lightning_lde.errors import ConfigurationError, RecordingWarning, tell
from lightning_lde.lake import LakeStorage
from lightning_lde.recording._buffer import Buffer, blocks_to_arrow
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._process import describe_process
from lightning_lde.recording._sender import Sender
from lightning_lde.recording._spool import SpoolHeader, spool_root
from lightning_lde.recording._summary import Summary
from lightning_lde.recording._sync import sync_spools
from lightning_lde.recording._writer import LakeWriter
from lightning_lde.schema import (
    Artifact,
    Event,
    Record,
    Run,
    RunStatus,
    new_run_id,
    records_to_arrow,
    storable_text,
    utc_now,
)

if TYPE_CHECKING:
    import pyarrow as pa

FINISH_TIMEOUT_S = 30.0
UPLOAD_TIMEOUT_S = 300.0
FINISH_PATIENCE_S = 5.0
SPOOL_EVERY_S = 1.0
LONGEST_FLUSH_S = 60.0
LONGEST_INTERVAL_S = 3600.0
LARGEST_RUNNING_SUMMARY = 1000
_SHARE_OF_AGE = 1 / 20


class Recorder:
    """Records one run into a lake without ever making the training wait or fail.

    A fact costs an append to a buffer. A thread of its own empties the buffer every second into a
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
    ) -> None:
        check_interval(flush_every_s)
        storage = lake if isinstance(lake, LakeStorage) else LakeStorage(lake, storage_options)
        self.run_id = new_run_id()
        self._storage = storage
        self._on_error = on_error
        self._flush_every_s = flush_every_s
        now = utc_now()
        project = _words(project) or ""
        self._header = SpoolHeader(storage.absolute_url, project, now.date().isoformat(), self.run_id, number=0)
        self._writer = LakeWriter(storage, self._header)
        self._buffer = Buffer()
        self._summary = Summary()
        self._outbox: Outbox | None = None
        self._rows = Sender("lde-rows", self._say_that_rows_wait)
        self._files = Sender("lde-files")
        self._failure: Exception | None = None
        self._orphans_sent = False
        self._said: set[tuple[str, str]] = set()
        self._warned = False
        self._wake = threading.Event()
        self._final: dict[str, Any] | None = None
        self._thread: threading.Thread | None = None
        self._run_lock = threading.Lock()
        self._run = Run(
            run_id=self.run_id,
            segment=-1,
            revision=0,
            project=project,
            experiment=_words(experiment),
            name=_words(name),
            tags=redact({str(key): str(value) for key, value in (tags or {}).items()}),
            status=RunStatus.RUNNING,
            started_at=now,
            heartbeat_at=now,
            heartbeat_every_s=flush_every_s,
        )

    def __enter__(self) -> Recorder:
        self.start_segment("run")
        describe_process(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
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
        """The number of the present segment, from zero."""
        return self._run.segment

    @property
    def run(self) -> Run:
        """The run's present state."""
        return self._run

    @property
    def is_open(self) -> bool:
        """Whether a segment is being recorded."""
        return self._thread is not None

    def start_segment(self, stage: str) -> None:
        """Begin a segment; its first rows reach the lake at once, in the background.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"``, ``"predict"`` or a word of the caller's.
        """
        self._change(segment=self._run.segment + 1, status=RunStatus.RUNNING, stage=stage, ended_at=None)
        self._final = None
        self._thread = threading.Thread(target=self._work, name="lde-spool", daemon=True)
        self._thread.start()

    def update(self, **facts: Any) -> None:
        """Set columns of the run's row, for example ``seed=1`` or ``weights_end_id=…``."""
        self._change(**facts)

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
        self._buffer.add_metrics(
            values,
            segment=self._run.segment,
            step=step,
            global_step=global_step,
            epoch=epoch,
            context=context,
            source=source,
        )

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

        def store() -> None:
            self._writer.open()
            try:
                object_id, size_bytes = self._storage.put_object(source), source.stat().st_size
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

        self._files.add(store)

    def finish_segment(self, status: str, *, stop_reason: str | None = None, exception: str | None = None) -> bool:
        """End the segment: write what is left, then merge the run's files into one per table.

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
        # Files first: who sees the run finished must see its files too.
        stored = self._files.drain(timeout_s=UPLOAD_TIMEOUT_S, patience_s=FINISH_PATIENCE_S)
        now = utc_now()
        self._final = {
            "status": status,
            "stop_reason": stop_reason or self._run.stop_reason,
            "exception": exception or self._run.exception,
            "ended_at": now,
            "duration_s": (now - self._run.started_at).total_seconds(),
        }
        self._wake.set()
        self._thread.join()
        self._thread = None
        sent = self._rows.drain(timeout_s=FINISH_TIMEOUT_S, patience_s=FINISH_PATIENCE_S)
        if sent:
            self._leave_disk()
        complete = stored and sent and self._failure is None
        if not complete:
            self._report(self._failure or self._rows.error or self._files.error)
        return complete

    def _change(self, **facts: Any) -> None:
        with self._run_lock:
            self._run = replace(self._run, **facts)

    # The spool's thread --------------------------------------------------------------------------

    def _work(self) -> None:
        next_flush = 0.0
        while True:
            final = self._final
            try:
                self._spool()
                if final is not None or time.monotonic() >= next_flush:
                    next_flush = time.monotonic() + self._flush_interval_s()
                    self._seal(final)
            except Exception as error:
                self._failure = error
            if final is not None:
                self._rows.add(self._merge)
                return
            self._wake.wait(min(SPOOL_EVERY_S, self._flush_every_s))
            self._wake.clear()

    def _boxes(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(spool_root(), self._header)
        return self._outbox

    def _spool(self) -> None:
        outbox = self._boxes()
        tables, refused = self._buffer.take_records()
        outbox.add(tables)
        for blocks, errors in self._buffer.take_metrics():
            refused += errors
            self._summary.add(blocks)
            outbox.add({"metrics": blocks_to_arrow(self.run_id, blocks)})
            if outbox.is_large():
                self._seal(None)
        for sentence in refused:
            self.add_event("refused", sentence, level="warning")
        if refused:
            outbox.add(self._buffer.take_records()[0])

    def _seal(self, final: Mapping[str, Any] | None) -> None:
        """End the present parcel with the run's state, and have it sent."""
        outbox = self._boxes()
        outbox.add({"runs": self._state(final)})
        outbox.seal()
        self._rows.add(self._send)

    def _state(self, final: Mapping[str, Any] | None) -> pa.Table:
        facts: dict[str, Any] = dict(final or {})
        # Readers take a run for lost after three heartbeats that did not come.
        facts |= {"heartbeat_at": utc_now(), "heartbeat_every_s": 2 * self._flush_interval_s()}
        if len(self._summary) <= LARGEST_RUNNING_SUMMARY or final is not None:
            facts["summary"] = self._summary.as_dict()
        self._change(revision=self._run.revision + 1, **facts)
        return records_to_arrow("runs", [self._run])

    def _flush_interval_s(self) -> float:
        age_s = (utc_now() - self._run.started_at).total_seconds()
        return max(self._flush_every_s, min(age_s * _SHARE_OF_AGE, LONGEST_FLUSH_S))

    # The sender's thread -------------------------------------------------------------------------

    def _send(self) -> None:
        self._writer.send(self._boxes())
        if not self._orphans_sent:
            self._orphans_sent = True
            here = self._storage.absolute_url
            for _ in sync_spools(spool_root(), lambda url: self._storage if url == here else None):
                pass

    def _merge(self) -> None:
        # A merge that fails leaves small files, which read as well.
        with contextlib.suppress(Exception):
            self._writer.merge()

    def _leave_disk(self) -> None:
        outbox = self._boxes()
        outbox.close()
        self._header = replace(self._header, number=outbox.next_number)
        self._outbox = None

    def _say_that_rows_wait(self, error: Exception) -> None:
        place = "in memory" if self._outbox is None or self._outbox.path is None else f"in {self._outbox.path}"
        message = f"the lake at {self._storage.url} cannot be written now, rows wait {place}: {error}"
        if not self._warned:
            tell(message, RecordingWarning)

    def _report(self, error: Exception | None) -> None:
        reason = error or f"the lake did not answer within {FINISH_TIMEOUT_S:.0f} s"
        message = f"run {self.run_id} is not completely in the lake at {self._storage.url}: {reason}"
        if self._outbox is not None and self._outbox.path is not None:
            message += f"; the rest waits in {self._outbox.path}, send it with: lde sync"
        told, self._warned = self._warned, True
        self._failure = None
        if self._on_error == "raise":
            raise OSError(message)
        if not told:
            tell(message, RecordingWarning)


def check_interval(flush_every_s: object) -> None:
    """Refuse an interval that is no positive number of seconds up to an hour.

    Raises:
        ConfigurationError: If it is anything else.
    """
    number = isinstance(flush_every_s, (int, float)) and not isinstance(flush_every_s, bool)
    if not number or not 0 < flush_every_s <= LONGEST_INTERVAL_S:  # type: ignore[operator]
        raise ConfigurationError(
            f"flush_every_s is {flush_every_s!r}: give seconds, more than 0 and at most {LONGEST_INTERVAL_S:.0f}"
        )


def _words(value: object) -> str | None:
    return None if value is None else redact_text(storable_text(str(value)))


def words_of(error: BaseException) -> str:
    """An error's class and message without secrets; the class alone where it has no words."""
    try:
        return redact_text(f"{type(error).__name__}: {error}")
    except Exception:
        return type(error).__name__
