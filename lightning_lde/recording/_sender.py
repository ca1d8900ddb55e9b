"""A thread that does one thing after the other with the lake, and tries again what fails."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from lightning_lde.recording import _ending

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
TROUBLE_AFTER_S = 2.0


class Sender:
    """Tasks in their order, each repeated until it succeeds. The thread lives only while there are tasks.

    Args:
        name: The thread's name.
        on_trouble: Called once, with the error, when a task has failed for ``TROUBLE_AFTER_S``.
    """

    def __init__(self, name: str, on_trouble: Callable[[Exception], None] | None = None) -> None:
        self._name = name
        self._on_trouble = on_trouble
        self._tasks: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._failing_since: float | None = None
        self._failures = 0
        self._urged = threading.Event()
        self.error: Exception | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no thread works on the tasks, because there are none or none could be started."""
        return self._thread is None

    def add(self, task: Callable[[], None]) -> None:
        """Do this after all that was added before."""
        with self._changed:
            self._tasks.append(task)
            self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            # At the end of a process none can be started; `drain` works itself then.
            with contextlib.suppress(RuntimeError):
                _ending.begin(thread, self._urged)
                self._thread = thread

    def drain(self, *, timeout_s: float, patience_s: float) -> bool:
        """Wait until all is done.

        Args:
            timeout_s: Seconds to wait at most.
            patience_s: Seconds after which a task that only fails is given up.

        Returns:
            Whether all is done. What is not will go on being tried.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._begin()
            alone = self._thread is None
        if alone:
            return self._work_once()
        with self._changed:
            failures = self._failures
            self._urged.set()
            while self._tasks:
                now = time.monotonic()
                since = self._failing_since
                # However long it has failed, it is tried once more: the lake may just be back.
                failing = since is not None and self._failures > failures
                if now >= deadline or (failing and since is not None and now - since >= patience_s):
                    return False
                self._changed.wait(min(deadline - now, FIRST_PAUSE_S))
        return True

    def abandon(self) -> None:
        """Leave what is not done to others; a task that is being done is not stopped."""
        with self._changed:
            self._tasks.clear()
            self._failing_since = None
            self._urged.set()

    def _work_once(self) -> bool:
        """Do what there is on the caller's thread, each task once."""
        while self._tasks:
            self.error = _attempt(self._tasks[0])
            if self.error is not None:
                return False
            self._tasks.popleft()
        return True

    def _work(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            with self._changed:
                if not self._tasks:
                    self._thread = None
                    self._changed.notify_all()
                    return
                task = self._tasks[0]
            failure = _attempt(task)
            with self._changed:
                self.error = failure
                if failure is None:
                    if self._tasks and self._tasks[0] is task:
                        self._tasks.popleft()
                    self._failing_since = None
                    pause_s = FIRST_PAUSE_S
                    continue
                if not self._tasks:
                    continue
                self._failing_since = self._failing_since or time.monotonic()
                self._failures += 1
            self._complain(failure)
            if _ending.is_ending():
                return
            if self._urged.wait(pause_s):
                self._urged.clear()
                pause_s = FIRST_PAUSE_S
            else:
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _complain(self, failure: Exception) -> None:
        since = self._failing_since
        if self._on_trouble is not None and since is not None and time.monotonic() - since >= TROUBLE_AFTER_S:
            self._on_trouble(failure)
            self._on_trouble = None


def _attempt(task: Callable[[], None]) -> Exception | None:
    try:
        task()
    except Exception as error:
        return error
    return None
