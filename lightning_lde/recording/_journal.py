"""From the buffer to numbered parcels: what a run recorded becomes durable on the local disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_lde.recording._buffer import Buffer
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import Rows, SpoolHeader, spool_root
from lightning_lde.recording._summary import Summary

if TYPE_CHECKING:
    import pyarrow as pa


class Journal:
    """Empties a run's buffer into its outbox. Any thread may call; one works at a time.

    Args:
        header: Where the rows belong; its number is the first parcel's.
        buffer: What the run has recorded.
        refuse: Called with a sentence for each row or value that cannot be stored.
    """

    def __init__(self, header: SpoolHeader, buffer: Buffer, refuse: Callable[[str], None]) -> None:
        self.header = header
        self.summary = Summary()
        self._buffer = buffer
        self._refuse = refuse
        self._outbox: Outbox | None = None
        self._lock = threading.RLock()

    @property
    def outbox(self) -> Outbox:
        """The parcels, on the disk from the first use on."""
        with self._lock:
            if self._outbox is None:
                self._outbox = Outbox(spool_root(), self.header)
            return self._outbox

    @property
    def path(self) -> Path | None:
        """The folder on the disk, None where rows wait in memory."""
        return None if self._outbox is None else self._outbox.path

    @property
    def dropped(self) -> int:
        """Metric values that neither disk, memory nor lake could take."""
        return 0 if self._outbox is None else self._outbox.dropped

    def spool(self) -> None:
        """Make everything durable that was recorded until now."""
        with self._lock:
            self.spool_metrics()
            tables, refused = self._buffer.take_records()
            self.outbox.add(Rows(tables))
            if refused:
                self._tell(refused)
                self.outbox.add(Rows(self._buffer.take_records()[0]))

    def spool_metrics(self) -> None:
        """Make the metric values durable that were logged until now."""
        with self._lock:
            blocks, refused = self._buffer.take_metrics()
            self._tell(refused)
            if blocks:
                self.summary.add(blocks)
                self.outbox.add(Rows(metrics=blocks))

    def is_large(self) -> bool:
        """Whether the present parcel should be sent before its time."""
        return self.outbox.is_large()

    def seal(self, state: Callable[[], pa.Table]) -> None:
        """End the present parcel with the state of the run.

        Args:
            state: Makes the row of the table ``runs``.
        """
        with self._lock:
            self.outbox.add(Rows({"runs": state()}))
            self.outbox.seal()

    def close(self) -> None:
        """Leave the disk; a later use begins with the next number."""
        with self._lock:
            if self._outbox is not None:
                self._outbox.close()
                self.header = self._outbox.next_header
                self._outbox = None

    def _tell(self, refused: list[str]) -> None:
        for sentence in refused:
            self._refuse(sentence)
