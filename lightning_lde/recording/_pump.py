"""The thread that empties a run's buffer into its spool, and has what lies there sent."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde.recording import _ending
from lightning_lde.recording._delivery import Delivery
from lightning_lde.recording._journal import Journal
from lightning_lde.recording._present import PresentRun

if TYPE_CHECKING:
    import pyarrow as pa

SPOOL_EVERY_S = 0.5
START_TIMEOUT_S = 1.0
DURABLE_TIMEOUT_S = 5.0
LARGEST_RUNNING_SUMMARY = 1000
LARGEST_WAITING = 1 << 23
"""Values that wait in memory for a disk that does not answer, at most: a value takes some ten bytes."""


class SpoolPump:
    """One thread for each segment of a run.

    Args:
        journal: What it empties into the spool.
        delivery: What sends the spool's parcels.
        present: The run, for its heartbeats.

    Attributes:
        stint: The work on the open segment, None where none is open.
        failure: The error of the last round that failed, None where none did.
    """

    def __init__(self, journal: Journal, delivery: Delivery, present: PresentRun) -> None:
        self._journal = journal
        self._delivery = delivery
        self._present = present
        self._hangs = False
        self.stint: _Stint | None = None
        self.failure: Exception | None = None

    def begin(self) -> None:
        """Begin a segment; its first rows are on the disk when this returns, unless the disk takes over a second."""
        self.stint = _Stint(self)
        # At the end of a process none can be started; the work is done at the segment's end then.
        with contextlib.suppress(RuntimeError):
            _ending.begin(self.stint, self.stint.wake)
            self.wait_for_disk(START_TIMEOUT_S)

    def end(self, ending: Mapping[str, Any], timeout_s: float) -> bool:
        """Do what is left to do for the segment, with its last state; whether that was done in time."""
        stint, self.stint = self.stint, None
        if stint is None:
            return True
        stint.ending = ending
        stint.wake.set()
        if not stint.is_alive():
            stint.work()
            return True
        stint.join(timeout_s)
        return not stint.is_alive()

    def wait_for_disk(self, timeout_s: float = DURABLE_TIMEOUT_S) -> bool:
        """Wait until all that was recorded is on the local disk; whether it is."""
        stint = self.stint
        if stint is None or not stint.is_alive():
            return False
        done = threading.Event()
        stint.asked.append(done)
        stint.wake.set()
        return done.wait(timeout_s)

    def wake(self) -> None:
        """Have what was recorded written to the disk now, and not half a second later; nobody waits for it."""
        if (stint := self.stint) is not None:
            stint.wake.set()

    def hold_up(self, waiting: int) -> None:
        """Let who logs wait, because it fills the buffer faster than the disk takes it.

        A disk that does not answer is waited for once. Then values gather in memory, and are dropped and counted
        where they become too many.

        Args:
            waiting: How many values wait in the buffer.
        """
        if self.stint is not None and not self.stint.is_alive():
            self._journal.spool()
        elif not self._hangs:
            self._hangs = not self.wait_for_disk()
        elif waiting > LARGEST_WAITING:
            self._journal.drop()

    def spool(self, ending: Mapping[str, Any] | None, *, flush: bool) -> None:
        """Empty the buffer into the spool.

        Args:
            ending: The last state of the segment, None while it goes on.
            flush: Whether the present parcel shall be sent; a large one always is.
        """
        self._journal.spool()
        self._journal.show_alive()
        self._hangs = False
        if flush or self._journal.is_large():
            self.seal(ending)
            self._delivery.send()
        elif self._present.has_news:
            self._journal.note(self._state({}, None))

    def seal(self, ending: Mapping[str, Any] | None = None) -> None:
        """End the present parcel with a state of the run."""
        summary = self._journal.summary_of_at_most(LARGEST_RUNNING_SUMMARY if ending is None else None)
        self._journal.seal(self._state(ending or {}, summary))

    def _state(self, ending: Mapping[str, Any], summary: Mapping[str, Any] | None) -> Callable[[], pa.Table]:
        return functools.partial(self._present.next_state, ending, summary, self._journal.refuse)

    def pause_s(self) -> float:
        """Seconds between two rounds."""
        return min(SPOOL_EVERY_S, self._present.flush_interval_s())

    def flush_interval_s(self) -> float:
        """Seconds between two parcels."""
        return self._present.flush_interval_s()


class _Stint(threading.Thread):
    """The work on one segment: round after round until its last state is there."""

    def __init__(self, pump: SpoolPump) -> None:
        super().__init__(name="lde-spool", daemon=True)
        self._pump = pump
        self.wake = threading.Event()
        self.asked: deque[threading.Event] = deque()
        self.ending: Mapping[str, Any] | None = None

    def run(self) -> None:
        self.work()

    def work(self) -> None:
        next_flush = 0.0
        while True:
            ending = self.ending
            asked = [self.asked.popleft() for _ in range(len(self.asked))]
            flush = ending is not None or time.monotonic() >= next_flush
            if flush:
                next_flush = time.monotonic() + self._pump.flush_interval_s()
            try:
                self._pump.spool(ending, flush=flush)
            except Exception as error:
                self._pump.failure = error
            for done in asked:
                done.set()
            if ending is not None or _ending.is_ending():
                return
            self.wake.wait(self._pump.pause_s())
            self.wake.clear()
