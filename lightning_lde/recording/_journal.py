"""From the buffer to numbered parcels: what a run recorded becomes durable on the local disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lde.capture import people_here
from lightning_lde.recording._blocks import MetricBlock
from lightning_lde.recording._buffer import Buffer
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._notes import Notes
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._run_files import RunFile
from lightning_lde.recording._spool import Rows, SpoolHeader, spool_root
from lightning_lde.recording._summary import Summary

if TYPE_CHECKING:
    import pyarrow as pa


class Journal:
    """Empties a run's buffer into its outbox. Any thread may call, one works at a time.

    Signals are handled on the main thread and may end any of its calls in the middle, so while a run is open another
    thread calls.

    Args:
        header: Where the rows belong; its number is the first parcel's.
        buffer: What the run has recorded.
        refuse: Called with a sentence for each row or value that cannot be stored.
        governance: What all rows pass before they are written.

    Attributes:
        header: Where the rows belong that come next.
        summary: Of the metric values that are in the spool.
        refuse: What was given.
        governance: What was given.
        notes: Of files that the lake has not taken.
    """

    def __init__(
        self, header: SpoolHeader, buffer: Buffer, refuse: Callable[[str], None], governance: Governance
    ) -> None:
        self.header = header
        self.summary = Summary()
        self._buffer = buffer
        self.refuse = refuse
        self.governance = governance
        self.notes = Notes()
        self._dropped = 0
        self._left_in: Path | None = None
        self._outbox: Outbox | None = None
        self._taken: list[MetricBlock] = []
        self._lock = threading.RLock()

    @property
    def outbox(self) -> Outbox:
        """The parcels, on the disk from the first use on."""
        with self._lock:
            if self._outbox is None:
                # Whoever sends what is left here may be somebody else on another machine.
                self.header = replace(self.header, people=people_here())
                self._outbox = Outbox(spool_root(), self.header)
            return self._outbox

    @property
    def path(self) -> Path | None:
        """The folder on the disk where rows wait, None where they wait in memory."""
        return self._left_in if self._outbox is None else self._outbox.path

    @property
    def place(self) -> tuple[Path, int] | None:
        """The folder on the disk and its file system, None where there is none; whoever asks waits for no disk."""
        outbox = self._outbox
        return None if outbox is None else outbox.place

    @property
    def is_on_disk(self) -> bool:
        """Whether all that is not sent yet is on the disk."""
        return self._outbox is not None and self._outbox.is_on_disk

    @property
    def dropped(self) -> int:
        """Metric values that neither disk, memory nor lake could take."""
        return self._dropped + (0 if self._outbox is None else self._outbox.dropped)

    def spool(self) -> None:
        """Make everything durable that was recorded until now."""
        with self._lock:
            stored = self.notes.stored()
            self.spool_metrics()
            self._spool_records()
            self._spool_records()
            self.notes.write(self.outbox.path, self.header, self.governance)
            self.notes.are_on_disk(stored, self.outbox.next_header.number - 1)

    def owns(self, file: RunFile) -> bool:
        """Whether a file that was stored is this run's to record, and not of one who found its note meanwhile."""
        note = self.notes.note_of(file)
        return note is None or (self.outbox.path is not None and note.exists())

    def spool_metrics(self) -> None:
        """Make the metric values durable that were logged until now."""
        with self._lock:
            self._taken += self._buffer.take_metrics()
            if self._taken:
                rows = self.governance.apply(Rows(metrics=self._taken))
                self.outbox.add(rows)
                self._taken = []
                # Under the names that are written, and not under those that were logged.
                self.summary.add(rows.metrics)
            self._tell(self._buffer.take_refused())

    def drop(self) -> None:
        """Let go of the metric values that nobody has taken yet, without waiting for the disk."""
        self._dropped += self._buffer.drop_metrics()

    def _spool_records(self) -> None:
        tables, refused = self._buffer.take_records()
        self.outbox.add(self.governance.apply(Rows(tables, objects=self._buffer.take_objects())))
        self._tell(refused)

    def summary_of_at_most(self, names: int | None) -> dict[str, dict[str, float]] | None:
        """A copy of the summary, None where it has more names than that."""
        # Without the journal's lock, which is held while the disk writes.
        return self.summary.as_dict() if names is None or len(self.summary) <= names else None

    def show_alive(self) -> None:
        """Let other machines with the same disk know that the run lives."""
        if self._outbox is not None:
            self._outbox.show_alive()

    def is_large(self) -> bool:
        """Whether the present parcel should be sent before its time."""
        return self.outbox.is_large()

    def note(self, state: Callable[[], pa.Table]) -> None:
        """Make the state of the run durable, within the present parcel.

        Args:
            state: Makes the row of the table ``runs``.
        """
        with self._lock:
            self.outbox.add(self.governance.apply(Rows({"runs": state()})))

    def seal(self, state: Callable[[], pa.Table]) -> None:
        """End the present parcel with the state of the run.

        Args:
            state: Makes the row of the table ``runs``.
        """
        with self._lock:
            self.note(state)
            self.outbox.seal()

    def forget(self) -> None:
        """Let go of the disk without touching it, in a forked child."""
        if self._outbox is not None:
            self._outbox.forget()

    def close(self) -> None:
        """Leave the disk; a later use begins with the next number."""
        with self._lock:
            if self._outbox is not None:
                self._left_in = None if self._outbox.is_done else self._outbox.path
                self._dropped += self._outbox.dropped
                self._outbox.close()
                self.header = self._outbox.next_header
                self._outbox = None

    def _tell(self, refused: list[str]) -> None:
        for sentence in refused:
            self.refuse(sentence)
