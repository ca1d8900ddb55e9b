"""The end of the process: open runs are closed, and their threads come to an end before the interpreter stops them.

A daemon thread that the interpreter stops inside of native code takes the process down with an abort.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref

# It has an ending of its own, after which no bucket can be reached: registered before ours, it comes after ours.
import pyarrow.fs  # noqa: F401

from lightning_lde import current

ENDING_S = 3.0
_LOOK_S = 0.1

_threads: weakref.WeakKeyDictionary[threading.Thread, threading.Event] = weakref.WeakKeyDictionary()
_ending = threading.Event()
_over = threading.Event()


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


def is_over() -> bool:
    """Whether nobody waits any more: who has more to do should leave it for later."""
    return _over.is_set()


@atexit.register
def _end() -> None:
    for recorder in current.still_open():
        with contextlib.suppress(Exception):
            recorder.finish_segment("interrupted", stop_reason="the program ended")
    _ending.set()
    deadline = time.monotonic() + ENDING_S
    # A thread may begin another one while it ends.
    while (alive := _alive()) and time.monotonic() < deadline:
        for thread, wake in alive:
            wake.set()
            thread.join(_LOOK_S)
    _over.set()


def _alive() -> list[tuple[threading.Thread, threading.Event]]:
    with contextlib.suppress(RuntimeError):
        return [(thread, wake) for thread, wake in list(_threads.items()) if thread.is_alive()]
    return []


# A forked child has none of these threads.
os.register_at_fork(after_in_child=_threads.clear)
