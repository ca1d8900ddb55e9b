"""The recorder: takes the facts of one run and brings them to the lake from a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.recording._buffer import Buffer, blocks_to_arrow
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import SpoolHeader, spool_root
from lightning_lde.recording._summary import Summary
from lightning_lde.recording._sync import sync_spools
from lightning_lde.recording._writer import LakeWriter
from lightning_lde.schema import Artifact, Event, Record, Run, RunStatus, new_run_id, records_to_arrow, utc_now

if TYPE_CHECKING:
    import pyarrow as pa

FINISH_TIMEOUT_S = 60.0
SPOOL_EVERY_S = 1.0
LONGEST_FLUSH_S = 60.0
_SHARE_OF_AGE = 1 / 20


class Recorder:
    """Records one run into a lake without ever making the training wait or fail.

    A fact costs an append to a buffer. A thread of its own empties the buffer every second into a
    spool on the local disk, which survives the death of the process, and sends what lies there to the
    lake every ``flush_every_s`` seconds, later less often, together with a heartbeat. What the lake
    does not take waits in the spool; ``lde sync``, or the next run on the machine, sends what a dead
    process left. A run has one or more segments (a fit, then a test); when a segment ends, the run's
    files in the lake are merged into one per table.

    Args:
        storage: The lake.
        project: The project, a partition of the lake.
        experiment: A group of runs within the project.
        name: A name for people; the id tells runs apart.
        tags: Free words about the run.
        flush_every_s: Seconds between two writes to the lake in the first minutes of a run; a twentieth of
            its age later, at most a minute.
        on_error: ``"warn"`` says once what could not be written, ``"raise"`` raises at the end of the segment.
    """

    def __init__(
        self,
        storage: LakeStorage,
        *,
        project: str,
        experiment: str | None = None,
        name: str | None = None,
        tags: Mapping[str, str] | None = None,
        flush_every_s: float = 5.0,
        on_error: str = "warn",
    ) -> None:
        self.run_id = new_run_id()
        self._storage = storage
        self._on_error = on_error
        self._flush_every_s = flush_every_s
        now = utc_now()
        self._header = SpoolHeader(storage.absolute_url, project, now.date().isoformat(), self.run_id, number=0)
        self._writer = LakeWriter(storage, self._header)
        self._buffer = Buffer()
        self._summary = Summary()
        self._outbox: Outbox | None = None
        self._pending_files: list[Callable[[], None]] = []
        self._error: Exception | None = None
        self._orphans_sent = False
        self._warned = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._run_lock = threading.Lock()
        self._run = Run(
            run_id=self.run_id,
            segment=-1,
            revision=0,
            project=project,
            experiment=experiment,
            name=name,
            tags=dict(tags or {}),
            status=RunStatus.RUNNING,
            started_at=now,
            heartbeat_at=now,
            heartbeat_every_s=flush_every_s,
        )

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
        self._change(
            segment=self._run.segment + 1, status=RunStatus.RUNNING, stage=stage, ended_at=None, stop_reason=None
        )
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="lde-writer", daemon=True)
        self._thread.start()

    def update(self, **facts: Any) -> None:
        """Set columns of the run's row, for example ``seed=1`` or ``weights_end_id=…``."""
        self._change(**facts)

    def record(self, table: str, *records: Record) -> None:
        """Add rows of any table."""
        self._buffer.add(table, *records)

    def log_metrics(
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
            object_id = self._storage.put_object(source)
            artifact = Artifact(
                run_id=self.run_id,
                segment=segment,
                path=path,
                kind=kind,
                size_bytes=source.stat().st_size,
                object_id=object_id,
                score=score,
                weights_id=weights_id,
                recorded_at=utc_now(),
            )
            self._buffer.add("artifacts", artifact)

        self._pending_files.append(store)

    def finish_segment(self, status: str, *, stop_reason: str | None = None, exception: str | None = None) -> None:
        """End the segment: write what is left, then merge the run's files into one per table.

        Args:
            status: A word of ``RunStatus``.
            stop_reason: Why the training ended.
            exception: The error's text where it failed.

        Raises:
            OSError: If the lake could not be written and ``on_error`` is ``"raise"``.
        """
        if self._thread is None:
            return
        now = utc_now()
        self._change(
            status=status,
            stop_reason=stop_reason,
            exception=exception,
            ended_at=now,
            duration_s=(now - self._run.started_at).total_seconds(),
        )
        self._stopping = True
        self._wake.set()
        self._thread.join(FINISH_TIMEOUT_S)
        unfinished = self._thread.is_alive()
        self._thread = None
        self._report(unfinished)

    def _change(self, **facts: Any) -> None:
        with self._run_lock:
            self._run = replace(self._run, **facts)

    # The writer's thread -------------------------------------------------------------------------

    def _work(self) -> None:
        next_flush = 0.0
        while True:
            stopping = self._stopping
            self._attempt(self._spool)
            if stopping or time.monotonic() >= next_flush or self._boxes().is_large():
                self._attempt(self._flush)
                next_flush = time.monotonic() + self._run.heartbeat_every_s
            if stopping:
                self._leave()
                return
            self._wake.wait(min(SPOOL_EVERY_S, self._flush_every_s))
            self._wake.clear()

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
            self._error = None
        except Exception as error:
            self._error = error

    def _boxes(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(spool_root(), self._header)
        return self._outbox

    def _spool(self) -> None:
        tables = self._buffer.take_records()
        blocks, refused = self._buffer.take_metrics()
        if blocks:
            self._summary.add(blocks)
            tables["metrics"] = blocks_to_arrow(self.run_id, blocks)
        self._boxes().add(tables)
        for sentence in refused:
            self.add_event("metric", sentence, level="warning")

    def _flush(self) -> None:
        failure = self._store_files()
        self._spool()
        outbox = self._boxes()
        outbox.add({"runs": self._heartbeat()})
        outbox.seal()
        self._writer.send(outbox)
        if failure is not None:
            raise failure
        self._adopt_orphans()

    def _store_files(self) -> Exception | None:
        while self._pending_files:
            try:
                self._writer.open()
                self._pending_files[0]()
            except Exception as error:
                return error
            del self._pending_files[0]
        return None

    def _heartbeat(self) -> pa.Table:
        now = utc_now()
        age_s = (now - self._run.started_at).total_seconds()
        every_s = max(self._flush_every_s, min(age_s * _SHARE_OF_AGE, LONGEST_FLUSH_S))
        facts: dict[str, Any] = {"heartbeat_at": now, "heartbeat_every_s": every_s}
        if self._run.ended_at is not None:
            facts["summary"] = self._summary.as_dict()
        self._change(revision=self._run.revision + 1, **facts)
        return records_to_arrow("runs", [self._run])

    def _adopt_orphans(self) -> None:
        """Send what dead runs of this machine left for this lake, once."""
        if self._orphans_sent:
            return
        self._orphans_sent = True
        here = self._storage.absolute_url
        for _ in sync_spools(spool_root(), lambda url: self._storage if url == here else None):
            pass

    def _leave(self) -> None:
        outbox = self._boxes()
        if outbox.first() is not None:
            return
        self._attempt_merge()
        outbox.close()
        self._header = replace(self._header, number=outbox.next_number)
        self._outbox = None

    def _attempt_merge(self) -> None:
        # A merge that fails leaves small files, which read as well.
        with contextlib.suppress(Exception):
            self._writer.merge()

    def _report(self, unfinished: bool) -> None:
        waiting = self._outbox is not None and self._outbox.path
        if self._error is None and not unfinished:
            return
        reason = self._error or f"the lake did not answer within {FINISH_TIMEOUT_S:.0f} s"
        message = f"run {self.run_id} is not completely in the lake at {self._storage.url}: {reason}"
        if waiting:
            message += f"; the rest waits in {waiting}, send it with: lde sync"
        if self._on_error == "raise":
            raise OSError(message)
        if not self._warned:
            self._warned = True
            warnings.warn(message, RecordingWarning, stacklevel=3)
