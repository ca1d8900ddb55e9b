"""One measurement of the ingest benchmark: feed a store as fast as it takes, and watch the memory."""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path

from _bench import report
from _stores import STORES
from _values import KINDS, NAMES, checksum, chunks, rows_of

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_SAMPLE_EVERY_S = 0.05


class Memory:
    """Samples the resident memory of this process from a thread; Linux only, elsewhere it stays empty."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._statm = Path("/proc/self/statm")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def now_mb(self) -> float | None:
        return int(self._statm.read_bytes().split()[1]) * _PAGE / 1e6 if self._statm.exists() else None

    def start(self) -> None:
        if self._statm.exists():
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        begun = time.perf_counter()
        while not self._stop.wait(_SAMPLE_EVERY_S):
            self.samples.append((time.perf_counter() - begun, self.now_mb() or 0.0))


def peak_mb() -> float | None:
    """The highest resident memory since this program began; ru_maxrss would count the parent's too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status.read_text().splitlines() if "VmHWM" in line)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store", choices=STORES)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    sums = dict.fromkeys(NAMES, 0)
    log_s = make_s = 0.0

    rows_of(next(chunks(options.kind, options.steps))[1])  # the loop's own memory belongs to the baseline
    memory = Memory()
    before_import_mb = memory.now_mb()
    begun = time.perf_counter()
    feed, finish = STORES[options.store](Path.cwd())
    opened = time.perf_counter()
    opened_mb = memory.now_mb()
    memory.start()
    process_s = time.process_time()
    for first, matrix in chunks(options.kind, options.steps):
        start = time.perf_counter()
        rows = rows_of(matrix)
        for column, name in enumerate(NAMES):
            sums[name] = (sums[name] + checksum(first, matrix[:, column])) % 2**64
        ready = time.perf_counter()
        feed(first, rows)
        log_s += time.perf_counter() - ready
        make_s += ready - start
    fed = time.perf_counter()
    finish()
    ended = time.perf_counter()
    memory.stop()
    report(
        {
            "points": options.steps * len(NAMES),
            "open_s": opened - begun,
            "log_s": log_s,
            "make_s": make_s,
            "finish_s": ended - fed,
            "whole_s": ended - opened,
            "process_cpu_s": time.process_time() - process_s,
            "before_import_mb": before_import_mb,
            "opened_mb": opened_mb,
            "peak_mb": peak_mb(),
            "sampled_peak_mb": max((mb for _, mb in memory.samples), default=None),
            "memory_mb": _thinned(memory.samples),
            "checksums": {name: str(value) for name, value in sums.items()},
            "ended": ended,
        }
    )


def _thinned(samples: list[tuple[float, float]], keep: int = 100) -> list[tuple[float, float]]:
    """The highest sample of each of some hundred spans."""
    width = max(1, -(-len(samples) // keep))
    spans = [samples[begin : begin + width] for begin in range(0, len(samples), width)]
    return [max(span, key=lambda sample: sample[1]) for span in spans]


if __name__ == "__main__":
    main()
