"""How facts are found out beside a training: in small pieces, and no longer than the end of the run allows."""

from __future__ import annotations

import threading
import time

FINGERPRINTS = ("cheap", "exact")
"""How data may be fingerprinted: what is large by a sample, or all of it."""

_WORK_S = 0.002
_REST_S = 0.001


class HurriedError(Exception):
    """The rest is not to be found out: the run ends."""


class Pace:
    """Whether to read everything, and how to give way to other threads.

    Python lets one thread run at a time, and one that computes keeps it for 5 ms before it gives way. Whoever works
    beside a training rests after each piece instead.

    Args:
        fingerprint: ``"cheap"`` or ``"exact"``.
        gently: Whether to give way to other threads.
        by_sample: Whether to keep a hash of each sample of what is read exactly.

    Attributes:
        reason: Why `hurry` was called.
        read_bytes: How much was read since `begin`.
        expected_bytes: How much of that is known to be read in all.

    Example:
        >>> Pace(fingerprint="exact").exact
        True
    """

    def __init__(self, *, fingerprint: str = "cheap", gently: bool = False, by_sample: bool = False) -> None:
        self.exact = fingerprint == "exact"
        self.by_sample = by_sample and self.exact
        self._gently = gently
        self._rested_at = time.perf_counter()
        self._hurried = threading.Event()
        self.reason = ""
        self.read_bytes = 0
        self.expected_bytes = 0

    @property
    def is_gentle(self) -> bool:
        """Whether a training goes on beside."""
        return self._gently

    @property
    def is_hurried(self) -> bool:
        """Whether `hurry` was called."""
        return self._hurried.is_set()

    def hurry(self, reason: str = "") -> None:
        """Let the work come to its end, from another thread; what is not read by then stays unread.

        Args:
            reason: Why, in words that stay the same from run to run.
        """
        self.reason = reason
        self._hurried.set()

    def begin(self) -> None:
        """Begin with other data: nothing of it is read yet."""
        self.read_bytes = self.expected_bytes = 0

    def expect(self, n_bytes: int) -> None:
        """Note that so much more is going to be read."""
        self.expected_bytes += n_bytes

    def read(self, n_bytes: int) -> None:
        """Note that so much more was read, and give way as `breathe` does.

        Raises:
            HurriedError: If the rest is not to be done.
        """
        self.read_bytes += n_bytes
        self.breathe()

    def breathe(self) -> None:
        """Called between two pieces of work.

        Raises:
            HurriedError: If the rest is not to be done.
        """
        if self._hurried.is_set():
            raise HurriedError
        if self._gently and time.perf_counter() - self._rested_at > _WORK_S:
            time.sleep(_REST_S)
            self._rested_at = time.perf_counter()
