"""The thread that reads the machine now and then."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from lightning_lde.errors import ConfigurationError
from lightning_lde.system._probes import Probe, open_probes, take
from lightning_lde.system._progress import StepClock

__all__ = ["SystemMonitor"]

FIRST_AFTER_S = 1.0
WORTH_A_LAST_S = 1.0
LONGEST_STOP_S = 2.0

_log = logging.getLogger("lightning_lde")


class SystemMonitor:
    """Hands values of the machine and the training to a receiver, from a thread of its own.

    The first reading comes a second after the start, the last one at the stop where the one before is older than a
    second. Nothing that goes wrong here reaches the caller: a probe that fails is left out from then on.

    Args:
        receive: Gets each reading, values by name (``docs/system-metrics.md``), in the monitor's thread.
        every_s: Seconds between two readings.
        clock: The clock that the training feeds, for throughput and waiting.
        probes: Opens what is read, in the monitor's thread.

    Raises:
        ConfigurationError: If ``every_s`` is not above zero and finite.

    Example::

        with SystemMonitor(lambda values: run.log(values, context="system")):
            ...
    """

    def __init__(
        self,
        receive: Callable[[Mapping[str, float]], None],
        *,
        every_s: float = 10.0,
        clock: StepClock | None = None,
        probes: Callable[[], AbstractContextManager[list[Probe]]] = open_probes,
    ) -> None:
        if not (math.isfinite(every_s) and 0 < every_s <= threading.TIMEOUT_MAX):
            raise ConfigurationError(f"every_s={every_s!r}: give seconds between two readings, above zero")
        self._receive = receive
        self._every_s = every_s
        self._clock = clock
        self._open_probes = probes
        self._watch: _Watch | None = None

    def start(self) -> None:
        """Begin to read; no effect while that goes on. A stopped monitor may be started again."""
        if self._watch is not None and self._watch.is_alive():
            return
        watch = _Watch(self._receive, self._every_s, self._clock, self._open_probes)
        try:
            watch.start()
        except RuntimeError as error:
            _log.debug("system metrics: no thread: %s", error)
            return
        self._watch = watch

    def stop(self) -> None:
        """Read a last time and end, within two seconds; no effect where nothing runs."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def __enter__(self) -> SystemMonitor:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


class _Watch(threading.Thread):
    """One life of a monitor, from start to stop."""

    def __init__(
        self,
        receive: Callable[[Mapping[str, float]], None],
        every_s: float,
        clock: StepClock | None,
        open_probes: Callable[[], AbstractContextManager[list[Probe]]],
    ) -> None:
        super().__init__(name="lde-system", daemon=True)
        self._receive = receive
        self._every_s = every_s
        self._clock = clock
        self._open_probes = open_probes
        self._stopping = threading.Event()
        self._abandoned = False

    def stop(self) -> None:
        self._stopping.set()
        if self is not threading.current_thread():
            self.join(LONGEST_STOP_S)
        # A driver that hangs is not waited for, and what it says later is not heard.
        self._abandoned = True

    def run(self) -> None:
        try:
            with self._open_probes() as probes:
                self._read_until_stopped([*probes, *([self._clock.reading] if self._clock else [])])
        except Exception as error:
            _log.debug("system metrics: ended: %s", error)

    def _read_until_stopped(self, probes: list[Probe]) -> None:
        read_at = time.monotonic()
        pause_s = min(FIRST_AFTER_S, self._every_s)
        while True:
            stopping = self._stopping.wait(pause_s)
            if stopping and time.monotonic() - read_at < WORTH_A_LAST_S:
                return
            self._read(probes)
            if stopping:
                return
            read_at = time.monotonic()
            pause_s = self._every_s

    def _read(self, probes: list[Probe]) -> None:
        values = take(probes)
        if not values or self._abandoned:
            return
        try:
            self._receive(values)
        except Exception as error:
            _log.debug("system metrics: a reading was refused: %s", error)
