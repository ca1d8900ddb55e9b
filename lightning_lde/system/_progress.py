"""How fast the training goes and how long it waits between batches."""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_PAUSED, _WAITING, _WORKING = range(3)

# Where the first tensor of a batch is looked for: entries of one container, and containers in each other.
_BREADTH = 16
_DEPTH = 4

_State = tuple[int, int, float, float, int, float]


class StepClock:
    """Measures throughput and the time between batches; fed by the training's thread, read by another.

    A clock begins paused. Time counts from ``resumes`` or the first ``batch_starts``, and not between ``pauses`` and
    ``resumes``, where validation runs. What passes from the end of a batch to the start of the next is waiting: for
    data, and for what hooks and loggers do in between.

    The training's thread never takes a lock: each call replaces one tuple, which a reader sees whole.

    Args:
        now: A clock that never goes back, in seconds.

    Example:
        >>> ticks = iter([0.0, 1.0, 4.0, 4.0])
        >>> clock = StepClock(now=lambda: next(ticks))
        >>> clock.resumes()
        >>> clock.batch_starts(None)
        >>> clock.batch_ends()
        >>> clock.reading()
        {'throughput.batches_per_s': 0.25, 'data.wait_percent': 25.0}
    """

    def __init__(self, *, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._size = 0
        self._size_of: Callable[[Any], int] | None = None
        # batches, samples, seconds waited, seconds worked, phase, since when
        self._state: _State = (0, 0, 0.0, 0.0, _PAUSED, 0.0)
        self._read = (0, 0, 0.0, 0.0)

    def batch_starts(self, batch: object) -> None:
        """A batch is there and the step begins.

        Args:
            batch: The batch, for the number of its samples: the length of its first tensor. It is not kept.
        """
        now = self._now()
        batches, samples, waited, worked, phase, since = self._state
        if phase == _WAITING:
            waited += now - since
        elif phase == _WORKING:
            worked += now - since
        self._state = (batches, samples, waited, worked, _WORKING, now)
        try:
            self._size = self._size_of(batch)  # type: ignore[misc]
        except Exception:
            self._learn(batch)

    def batch_ends(self) -> None:
        """The step is done; what comes until the next batch is waiting."""
        now = self._now()
        batches, samples, waited, worked, phase, since = self._state
        if phase == _WORKING:
            self._state = (batches + 1, samples + self._size, waited, worked + (now - since), _WAITING, now)

    def pauses(self) -> None:
        """What follows is no training: validation, or the end."""
        batches, samples, waited, worked, _, _ = self._state
        waited, worked = self._spent(self._state, self._now())
        self._state = (batches, samples, waited, worked, _PAUSED, 0.0)

    def resumes(self) -> None:
        """Training goes on, or begins; no effect where it is not paused."""
        batches, samples, waited, worked, phase, _ = self._state
        if phase == _PAUSED:
            self._state = (batches, samples, waited, worked, _WAITING, self._now())

    def reading(self) -> dict[str, float]:
        """Throughput and waiting since the last reading; for one reading thread.

        Returns:
            ``throughput.batches_per_s``, ``throughput.samples_per_s`` where the sizes of batches are known, and
            ``data.wait_percent``; nothing where there was no training since the last reading.
        """
        state = self._state
        batches, samples = state[:2]
        # A step that began after ``state`` was taken can only make the open span a little longer.
        waited, worked = self._spent(state, self._now())
        before, self._read = self._read, (batches, samples, waited, worked)
        waiting_s = waited - before[2]
        active_s = waiting_s + worked - before[3]
        if active_s <= 0:
            return {}
        found = {"throughput.batches_per_s": (batches - before[0]) / active_s}
        if samples:
            found["throughput.samples_per_s"] = (samples - before[1]) / active_s
        found["data.wait_percent"] = min(100.0, max(0.0, 100.0 * waiting_s / active_s))
        return found

    @staticmethod
    def _spent(state: _State, now: float) -> tuple[float, float]:
        """Seconds waited and worked, with what has passed since the state began."""
        _, _, waited, worked, phase, since = state
        if phase == _WAITING:
            waited += now - since
        elif phase == _WORKING:
            worked += now - since
        return waited, worked

    def _learn(self, batch: object) -> None:
        """Find the way to the first tensor of such a batch, so that later ones cost a look-up."""
        try:
            self._size_of = _size_getter(batch) or _unknown
            self._size = self._size_of(batch)
        except Exception:
            self._size = 0


def _unknown(batch: object) -> int:
    return 0


def _length(array: Any) -> int:
    # Three times as quick as len() of a tensor.
    return int(array.shape[0])


def _size_getter(batch: object) -> Callable[[Any], int] | None:
    path = _path_to_tensor(batch, _DEPTH)
    if path is None:
        return None
    if not path:
        return _length
    if len(path) == 1:
        step = operator.itemgetter(path[0])
        return lambda batch: int(step(batch).shape[0])
    steps = [operator.itemgetter(key) for key in path]

    def size(batch: Any) -> int:
        for step in steps:
            batch = step(batch)
        return _length(batch)

    return size


def _path_to_tensor(value: object, depth: int) -> tuple[Any, ...] | None:
    """Keys that lead to the first array with at least one dimension."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return () if len(shape) else None
    if not depth:
        return None
    if isinstance(value, Mapping):
        entries: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        entries = enumerate(value)
    else:
        return None
    for key, entry in itertools.islice(entries, _BREADTH):
        path = _path_to_tensor(entry, depth - 1)
        if path is not None:
            return (key, *path)
    return None
