"""Large temporaries from memory that is at hand, on machines with glibc."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["keep_memory", "kept_memory", "return_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEP = 2**31 - 1
_MOST_MAPPED = 65536
# Whoever sets one of these ends glibc's adapting them to what is freed. They are left where that leads when large
# tensors come and go: blocks up to 32 MB are handed out again, and twice as much may lie free at the end.
_LARGEST_KEPT = 32 << 20

_lock = threading.Lock()
_users = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the process keep the memory of freed tensors, and hand it out again, until this ends.

    By default glibc asks the system for each allocation above 32 MB, and for smaller ones at first, and gives it back
    when it is freed: the system clears each page anew, which for the feature maps of 84 x 84 pixels takes longer than
    the arithmetic. The setting belongs to the process. When the last of those who wanted it ends, free memory is
    returned, and so is from then on each block above 32 MB that finds no free place among older ones. Elsewhere than on
    glibc nothing happens.
    """
    keep_memory()
    try:
        yield
    finally:
        return_memory()


def keep_memory() -> None:
    """Begin what ``kept_memory`` does; each call needs one of ``return_memory``."""
    global _users
    with _lock:
        _users += 1
        if libc := _libc():
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, _KEEP)


def return_memory() -> None:
    """End what ``keep_memory`` began."""
    global _users
    with _lock:
        _users -= 1
        libc = _libc()
        if libc and not _users:
            libc.mallopt(_MMAP_MAX, _MOST_MAPPED)
            libc.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
            libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)
            libc.malloc_trim(0)


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
