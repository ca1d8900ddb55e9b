"""The recorder: takes the facts of one run and brings them to the lake from a thread of its own."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import HotFile, LakeStorage
from lightning_lde.recording._buffer import Buffer, MetricBatch
from lightning_lde.recording._summary import Summary
from lightning_lde.schema import (
    Artifact,
    Event,
    Record,
    Run,
    RunStatus,
    new_run_id,
    records_to_arrow,
    utc_now,
)

if TYPE_CHECKING:
    import pyarrow as pa

FINISH_TIMEOUT_S = 60.0


class Recorder:
    """Records one run into a lake without ever making the training wait or fail.

    Facts go into a buffer; a background thread appends them to the lake every ``flush_every_s``
    seconds together with a heartbeat. What could not be written stays in memory for the next
    attempt. A run has one or more segments (a fit, then a test); when a segment ends the run's
    own small files are merged into one per table.

    Args:
        storage: The lake.
        project: The project, a partition of the lake.
        experiment: A group of runs within the project.
        name: A name for people; the id tells runs apart.
        tags: Free words about the run.
        flush_every_s: Seconds between two writes of the background thread.
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
        self._buffer = Buffer(self.run_id)
        self._summary = Summary()
        self._unwritten: dict[str, list[pa.Table]] = defaultdict(list)
        self._files: dict[str, list[HotFile]] = defaultdict(list)
        self._next_number: dict[str, int] = defaultdict(int)
        self._pending_files: list[Callable[[], None]] = []
        self._initialised = False
        self._error: Exception | None = None
        self._warned = False
        self._run_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        now = utc_now()
        self._day = now.date()
        self._project = project
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
            segment=self._run.segment + 1,
            status=RunStatus.RUNNING,
            stage=stage,
            ended_at=None,
            stop_reason=None,
        )
        self._stopping = False
        self._wake.set()
        self._thread = threading.Thread(target=self._write_until_stopped, name="lde-writer", daemon=True)
        self._thread.start()

    def update(self, **facts: Any) -> None:
        """Set columns of the run's row, for example ``seed=1`` or ``weights_end_id=…``."""
        self._change(**facts)

    def record(self, table: str, *records: Record) -> None:
        """Add rows of any table."""
        self._buffer.add(table, *records)

    def log_metrics(
        self,
        values: Mapping[str, float],
        *,
        step: int | None = None,
        global_step: int | None = None,
        epoch: int | None = None,
        context: str | None = None,
        source: str = "logged",
    ) -> None:
        """Add the values of metrics at a moment.

        Args:
            values: Value by name.
            step: The logger's step.
            global_step: Optimizer steps so far.
            epoch: The epoch.
            context: ``"train"``, ``"val"``, ``"test"`` or ``"system"``.
            source: ``"logged"`` for exact values, ``"sampled"`` for values read between steps.
        """
        self._summary.add(values)
        self._buffer.add_metrics(
            MetricBatch(
                self.segment,
                utc_now(),
                values,
                context=context,
                step=step,
                global_step=global_step,
                epoch=epoch,
                source=source,
            )
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
            summary=self._summary.as_dict(),
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

    def _write_until_stopped(self) -> None:
        while True:
            self._wake.wait(self._flush_every_s)
            self._wake.clear()
            stopping = self._stopping
            self._flush()
            if stopping:
                with contextlib.suppress(Exception):
                    self._merge_files()
                return

    def _flush(self) -> None:
        with self._write_lock:
            try:
                if not self._initialised:
                    self._storage.initialise()
                    self._initialised = True
                while self._pending_files:
                    self._pending_files[0]()
                    del self._pending_files[0]
                self._collect()
                self._write()
                self._error = None
            except Exception as error:
                self._error = error

    def _collect(self) -> None:
        for table, rows in self._buffer.drain().items():
            self._unwritten[table].append(rows)
        self._unwritten["runs"] = [self._heartbeat()]

    def _heartbeat(self) -> pa.Table:
        self._change(revision=self._run.revision + 1, heartbeat_at=utc_now())
        return records_to_arrow("runs", [self._run])

    def _write(self) -> None:
        import pyarrow as pa

        # The run's state goes last: whoever sees it finished sees everything else too.
        for table in sorted(self._unwritten, key=lambda name: name == "runs"):
            rows = pa.concat_tables(self._unwritten[table])
            number = self._next_number[table]
            file = self._storage.append(
                table, rows, project=self._project, day=self._day, writer=self.run_id, first=number
            )
            self._next_number[table] = number + 1
            self._files[table].append(file)
            del self._unwritten[table]

    def _merge_files(self) -> None:
        import pyarrow as pa

        if self._unwritten:
            return
        for table, files in self._files.items():
            if len(files) < 2:
                continue
            rows = pa.concat_tables([self._storage.read(file) for file in files])
            merged = self._storage.append(
                table,
                _last_states(rows) if table == "runs" else rows,
                project=self._project,
                day=self._day,
                writer=self.run_id,
                first=files[0].first,
                last=files[-1].last,
            )
            self._files[table] = [merged]
            for file in files:
                self._storage.remove(file)

    def _report(self, unfinished: bool) -> None:
        if self._error is None and not unfinished:
            return
        reason = self._error or f"the lake did not answer within {FINISH_TIMEOUT_S:.0f} s"
        message = f"run {self.run_id} is not completely in the lake at {self._storage.url}: {reason}"
        if self._on_error == "raise":
            raise OSError(message)
        if not self._warned:
            self._warned = True
            warnings.warn(message, RecordingWarning, stacklevel=3)


def _last_states(rows: pa.Table) -> pa.Table:
    """The last state of each segment."""
    segments = rows.column("segment").to_pylist()
    last = {segment: index for index, segment in enumerate(segments)}
    return rows.take(sorted(last.values()))
