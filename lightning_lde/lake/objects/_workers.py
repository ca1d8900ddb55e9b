"""A few threads that do pieces of work, with a bound on the bytes that wait for them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

THREADS = 8
MOST_BYTES = 64 << 20
"""What may be in memory at once of the contents that are worked on."""

_Result = TypeVar("_Result")


class Workers:
    """Threads that work on contents.

    Args:
        pool: The threads.
        most_bytes: What may wait or be worked on at once; a larger content goes alone.
    """

    def __init__(self, pool: ThreadPoolExecutor, most_bytes: int = MOST_BYTES) -> None:
        self._pool = pool
        self._most_bytes = most_bytes
        self._bytes = 0
        self._changed = threading.Condition()

    def submit(self, size_bytes: int, work: Callable[[], _Result]) -> Future[_Result]:
        """Have something done as soon as there is room for it.

        Args:
            size_bytes: The bytes that it holds in memory until it is done.
            work: What to do.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes or self._bytes + size_bytes <= self._most_bytes)
            self._bytes += size_bytes
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            # At the end of a process no thread can be started any more, and a run may still have to store its files.
            future = _done_here(work)
        future.add_done_callback(lambda _: self._release(size_bytes))
        return future

    def _release(self, size_bytes: int) -> None:
        with self._changed:
            self._bytes -= size_bytes
            self._changed.notify_all()


def _done_here(work: Callable[[], _Result]) -> Future[_Result]:
    future: Future[_Result] = Future()
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
    return future


@contextlib.contextmanager
def workers() -> Iterator[Workers]:
    """Threads until the end of a block; where it fails, what has not begun is not done."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="lde-objects")
    try:
        yield Workers(pool)
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
