"""Processes to be killed: forked from one that has imported everything, so that a birth takes milliseconds.

Run as a program this file is the mother; imported it is the side of the tests.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PHASES = ("unborn", "start", "training", "finish", "pause")
OPERATIONS = ("none", "flush", "rewrite")
_LAYOUT = struct.Struct("<qqqqqdd")


@dataclass(frozen=True)
class State:
    """What a child announces; it outlives the child.

    Attributes:
        phase: A word of ``PHASES``.
        operation: What its storage does, a word of ``OPERATIONS``.
        segment: The present segment.
        logged: Steps for which `log` has returned.
        acknowledged: Steps for which `finish_segment` has returned.
        first_at: When the first `log` was called, seconds since the epoch.
        logged_at: When the last `log` returned.
    """

    phase: str
    operation: str
    segment: int
    logged: int
    acknowledged: int
    first_at: float
    logged_at: float


class Board:
    """A few numbers in shared memory with a file behind them."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)

    def set(self, field: int, value: int) -> None:
        struct.pack_into("<q", self._memory, 8 * field, value)

    def set_first(self, when: float) -> None:
        struct.pack_into("<d", self._memory, 40, when)

    def set_logged(self, steps: int) -> None:
        struct.pack_into("<d", self._memory, 48, time.time())
        struct.pack_into("<q", self._memory, 24, steps)

    def read(self) -> State:
        phase, operation, *rest = _LAYOUT.unpack_from(self._memory)
        return State(PHASES[phase], OPERATIONS[operation], *rest)


class Child:
    """A process that runs one program of `programs.py`."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self.folder = folder
        self.board = Board(folder / "board")

    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self, timeout_s: float = 120.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.is_alive():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"the child did not end within {timeout_s} s: {self.complaints()}")
            time.sleep(0.002)

    def complaints(self) -> str:
        """What it wrote to standard error."""
        return (self.folder / "stderr").read_text()

    def report(self) -> dict[str, Any]:
        """What its program returned."""
        path = self.folder / "report"
        assert path.exists(), self.complaints()
        found: dict[str, Any] = json.loads(path.read_text())
        return found


class Nursery:
    """Gives birth to children."""

    def __init__(self) -> None:
        self._mother = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self, program: str, folder: Path, /, **arguments: Any) -> Child:
        """Run a function of `programs.py` in a process of its own.

        Args:
            program: The function's name.
            folder: Where the child leaves its report; it is made.
            arguments: What the function is given, as JSON.
        """
        folder.mkdir(parents=True)
        Board(folder / "board")
        spool = os.environ["LDE_SPOOL_DIR"]
        job = {"program": program, "folder": str(folder), "spool": spool, "arguments": arguments}
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.write(json.dumps(job) + "\n")
        return Child(int(self._mother.stdout.readline()), folder)

    def close(self) -> None:
        assert self._mother.stdin is not None
        self._mother.stdin.close()
        self._mother.wait(20)
        assert self._mother.stdout is not None
        self._mother.stdout.close()


@contextlib.contextmanager
def open_nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()


def _mother() -> None:
    import programs

    # Children that end are forgotten at once, so that a pid that is gone means a process that is gone.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _live(programs, json.loads(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _live(programs: Any, job: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder = Path(job["folder"])
    errors = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    os.environ["LDE_SPOOL_DIR"] = job["spool"]
    try:
        report = getattr(programs, job["program"])(Board(folder / "board"), **job["arguments"])
        (folder / "report.part").write_text(json.dumps(report))
        (folder / "report.part").rename(folder / "report")
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)
    # As a process ends that is killed: nothing is tidied up.
    os._exit(0)


if __name__ == "__main__":
    _mother()
