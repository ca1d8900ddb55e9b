"""Threads of runs come to an end before the process does.

A daemon thread that the interpreter stops inside of native code takes the process down with an abort.
"""

from __future__ import annotations

import threading
import time
import weakref

from lightning_lde import current

ENDING_S = 3.0

_threads: weakref.WeakKeyDictionary[threading.Thread, threading.Event] = weakref.WeakKeyDictionary()
_ending = threading.Event()


def begin(thread: threading.Thread, wake: threading.Event) -> None:
    """Start a thread that the end of the process waits for, some seconds at most.

    Args:
        thread: Not started yet.
        wake: What it waits for when it has nothing to do; set at the end, so that it sees ``is_ending``.

    Raises:
        RuntimeError: If no thread can be started any more.
    """
    thread.start()
    _threads[thread] = wake


def is_ending() -> bool:
    """Whether the process ends: who has nothing to do, or only fails, should return."""
    return _ending.is_set()


def _end() -> None:
    _ending.set()
    deadline = time.monotonic() + ENDING_S
    waiting = list(_threads.items())
    for _, wake in waiting:
        wake.set()
    for thread, _ in waiting:
        thread.join(max(0.0, deadline - time.monotonic()))


current.after_closing(_end)
