"""Processor, memory, disk and network of the machine, and what this process and its children take of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import psutil

# Finding the children reads all processes of the machine, and there may be hundreds. A tree may take this share of one
# core, and has this much ahead.
_SHARE = 0.0005
_CREDIT_S = 0.1


def host_probes() -> list[Callable[[], Mapping[str, float]]]:
    """The probes of the whole machine.

    Returns:
        Calls that return values by name. Shares and rates are since the call before, first since now.
    """
    with suppress(psutil.Error, OSError):
        psutil.cpu_percent(None)
    return [_cpu, _memory, Rates(_disk), Rates(_network)]


def _cpu() -> dict[str, float]:
    return {"cpu.percent": psutil.cpu_percent(None)}


def _memory() -> dict[str, float]:
    memory = psutil.virtual_memory()
    return {"memory.used_bytes": memory.total - memory.available, "memory.percent": memory.percent}


def _disk() -> dict[str, float]:
    counters = psutil.disk_io_counters()
    if counters is None:
        return {}
    return {"disk.read_bytes_per_s": counters.read_bytes, "disk.write_bytes_per_s": counters.write_bytes}


def _network() -> dict[str, float]:
    # What a process tells another one of the same machine does not use the network.
    cards = [card for name, card in psutil.net_io_counters(pernic=True).items() if not name.lower().startswith("lo")]
    return {
        "network.sent_bytes_per_s": sum(card.bytes_sent for card in cards),
        "network.received_bytes_per_s": sum(card.bytes_recv for card in cards),
    }


class Rates:
    """Makes rates of counters that only grow.

    Args:
        count: Returns counters by the name of their rate. An error in the first call ends in no rates.
        now: A clock in seconds.
    """

    def __init__(self, count: Callable[[], Mapping[str, float]], now: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._now = now
        try:
            self._last = count()
        except Exception:
            self._last = {}
        self._last_at = now()

    def __call__(self) -> dict[str, float]:
        """The rates per second since the call before.

        Returns:
            Rates by name; none of counters that were not there before, and none below zero.
        """
        now, counters = self._now(), self._count()
        elapsed_s = max(now - self._last_at, 1e-6)
        rates = {
            name: max(0.0, value - self._last[name]) / elapsed_s
            for name, value in counters.items()
            if name in self._last
        }
        self._last, self._last_at = counters, now
        return rates


class Growth:
    """How much a sum over processes grew, where one that ends may be missing in one reading and back in the next.

    Args:
        first: The sum at the beginning.
    """

    def __init__(self, first: float) -> None:
        self._base = first
        self._fell = False

    def to(self, total: float, *, at_most: float) -> float:
        """The growth since the call before.

        Args:
            total: The sum now. Lower than before once, it is a gap; twice, something is gone for good.
            at_most: What cannot be exceeded.

        Returns:
            The growth, from zero to ``at_most``.
        """
        if total < self._base and not self._fell:
            self._fell = True
            return 0.0
        grown, self._base, self._fell = total - self._base, total, False
        return min(max(0.0, grown), at_most)


class ProcessTree:
    """Processor time, memory and threads of this process and all that descend from it.

    The time of a process that has ended is in the time of the parent that waited for it, so workers that come and go
    are counted. Where nobody waits for one, its last time is missing.

    Attributes:
        cpu_s: Processor seconds used since this was made.
    """

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self._me = psutil.Process(os.getpid())
        self._children: list[psutil.Process] = []
        self._credit_s = _CREDIT_S
        self._cores = psutil.cpu_count() or 1
        self._time = Growth(self._sum()[0])
        self._last_at = self._credited_at = time.monotonic()

    def __call__(self) -> dict[str, float]:
        """The tree now.

        Where reading it is dear, children are looked for less often; where it stays dear, it is read less often.

        Returns:
            Values by name, or none this time; processor percent is of one core, since the last values.
        """
        now = time.monotonic()
        self._credit_s = min(_CREDIT_S, self._credit_s + _SHARE * (now - self._credited_at))
        self._credited_at = now
        if self._credit_s < -_CREDIT_S:
            return {}
        began_s = time.thread_time()
        total_s, rss_bytes, threads = self._sum()
        self._credit_s -= time.thread_time() - began_s
        elapsed_s = max(now - self._last_at, 1e-6)
        used_s = self._time.to(total_s, at_most=elapsed_s * self._cores)
        self._last_at = now
        self.cpu_s += used_s
        return {
            "process.cpu.percent": 100.0 * used_s / elapsed_s,
            "process.memory.rss_bytes": rss_bytes,
            "process.threads": threads,
            "process.children": len(self._children),
        }

    def _sum(self) -> tuple[float, float, float]:
        """Processor seconds, resident bytes and threads, added up."""
        cpu_s, rss_bytes, threads = _use(self._me)
        alive = []
        for child in self._find_children():
            try:
                used = _use(child)
            except psutil.Error:
                continue
            alive.append(child)
            cpu_s, rss_bytes, threads = cpu_s + used[0], rss_bytes + used[1], threads + used[2]
        self._children = alive
        return cpu_s, rss_bytes, threads

    def _find_children(self) -> list[psutil.Process]:
        if self._credit_s <= 0:
            return [child for child in self._children if child.is_running()]
        return self._me.children(recursive=True)


def _use(process: psutil.Process) -> tuple[float, float, float]:
    with process.oneshot():
        times = process.cpu_times()
        waited_for = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return times.user + times.system + waited_for, process.memory_info().rss, process.num_threads()
