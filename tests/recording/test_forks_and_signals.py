"""Forks, signals, Ctrl-C at any moment, and programs that just end: the run is whole, and nobody hangs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import _recorder, sync_spools
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import SpoolFile

HANG_S = 60

HEAD = """
import faulthandler, json, os, signal, sys, threading, time
from pathlib import Path
import lightning_lde
from lightning_lde import Lake, Recorder
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import _recorder
from lightning_lde.testing import Fault, FaultKind, FaultyStore

def say(**words):
    print(json.dumps(words), flush=True)

def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
"""


class Program:
    """A process of its own that runs some lines of Python and says things in JSON.

    Args:
        lines: The program.
        arguments: Its words.
    """

    def __init__(self, lines: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD + lines, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> dict[str, Any]:
        """The next thing that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=HANG_S)[1]
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> tuple[int, str]:
        """Wait for its end.

        Returns:
            Its exit code and what it wrote to standard error.
        """
        _, errors = self.process.communicate(timeout=HANG_S)
        return self.process.returncode, errors

    def kill(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.communicate()


Start: TypeAlias = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs that do not outlive the test."""
    programs: list[Program] = []

    def begin(lines: str, *arguments: object) -> Program:
        programs.append(Program(lines, *arguments))
        return programs[-1]

    yield begin
    for program in programs:
        program.kill()


def steps_of(lake: Lake, name: str = "a") -> list[int]:
    query = "select step from metrics where name = ? order by step"
    found: list[int] = lake.sql(query, [name]).column("step").to_pylist()
    return found


def states_of(lake: Lake) -> list[str]:
    found: list[str] = lake.sql("select status from runs").column("status").to_pylist()
    return found


# Ctrl-C between buffer and disk -----------------------------------------------------------------------------


def interrupting(monkeypatch: pytest.MonkeyPatch, place: type, name: str, *, before: bool) -> list[str]:
    """Let Ctrl-C come once, before or after a method did its work, where the main thread is the one to call it.

    Returns:
        The names of the threads that called it.
    """
    real: Callable[..., Any] = getattr(place, name)
    callers: list[str] = []

    def interrupted(*arguments: Any) -> Any:
        mine = threading.current_thread() is threading.main_thread() and "MainThread" not in callers
        callers.append(threading.current_thread().name)
        if mine and before:
            raise KeyboardInterrupt
        result = real(*arguments)
        if mine:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(place, name, interrupted)
    return callers


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("place", "name"), [(SpoolFile, "append"), (Outbox, "add")])
def test_ctrl_c_on_the_way_to_the_disk_loses_and_doubles_nothing(
    lake_path: Path, monkeypatch: pytest.MonkeyPatch, place: type, name: str, before: bool
) -> None:
    callers = interrupting(monkeypatch, place, name, before=before)
    monkeypatch.setattr(_recorder, "LARGEST_BUFFER", 50)
    recorder = Recorder(lake_path, project="p", flush_every_s=600, system_metrics_every_s=None)
    recorder.start_segment("run")
    count = 0
    try:
        for _ in range(500):
            count += 1
            recorder.log({"a": float(count)}, step=count)
            if count % 100 == 0:
                recorder.checkpoint_state()
    except KeyboardInterrupt:
        pass
    recorder.finish_segment("interrupted")
    lake = Lake(lake_path)
    assert callers  # the way to the disk leads through here
    assert steps_of(lake) == list(range(1, count + 1))
    assert json.loads(lake.sql("select summary from runs").to_pylist()[0]["summary"])["a"]["last"] == count


# A slow disk and a small buffer: the main thread is nearly always on its way between the two.
BUSY = """
from lightning_lde.recording._spool import SpoolFile
real = SpoolFile.append
def slow(*words):
    time.sleep(0.002)
    real(*words)
    time.sleep(0.002)
SpoolFile.append = slow
_recorder.LARGEST_BUFFER = 500
values, count = {f"m{n}": 0.5 for n in range(50)}, 0
try:
    with Recorder(sys.argv[1], project="p", flush_every_s=0.2, system_metrics_every_s=None) as run:
        say(up=True)
        while True:
            run.log(values, step=count)
            count += 1
except KeyboardInterrupt:
    pass
say(count=count)
"""


@pytest.mark.parametrize("seed", range(3))
def test_ctrl_c_at_a_random_moment_loses_and_doubles_nothing(start: Start, lake_path: Path, seed: int) -> None:
    program = start(BUSY, lake_path)
    program.hear()
    time.sleep(0.3 + random.Random(seed).random() * 0.3)
    program.process.send_signal(signal.SIGINT)
    count = program.hear()["count"]
    assert program.end() == (0, "")
    lake = Lake(lake_path)
    found = steps_of(lake, "m49")
    assert found == list(range(len(found)))
    assert len(found) - count in (0, 1)  # the signal may come between the log and the count
    assert lake.sql("select count(*) as n from metrics").to_pylist() == [{"n": 50 * len(found)}]
    assert states_of(lake) == ["interrupted"]


# Forks ------------------------------------------------------------------------------------------------------

FORK = """
lake, spool, child = sys.argv[1], Path(os.environ["LDE_SPOOL_DIR"]), sys.argv[2]
flush_every_s = 4 if child == "leaves nothing" else 600

def files():
    found = [path for folder in (lake, spool) for path in Path(folder).rglob("*")]
    return sorted((str(path), path.stat().st_ino, path.stat().st_size) for path in found)

with Recorder(lake, project="p", flush_every_s=flush_every_s, system_metrics_every_s=None) as run:
    until(lambda: run.run.code_id is not None)
    run.log({"a": 0.0}, step=0)
    run.checkpoint_state()
    if child == "leaves nothing":
        until(lambda: not list(spool.glob("*/*.spool")))  # the parent has sent all there was
    else:
        until(lambda: (Path(lake) / "hot" / "runs").exists())
        time.sleep(1.2)  # the threads have written all there was
    before = files()
    pid = os.fork()
    if pid == 0:
        if child.startswith("leaves"):
            sys.exit(0)
        if child == "fails":
            raise ValueError("in the child")
        for step in range(1000):
            run.log({"child": 1.0}, step=step)
            lightning_lde.log({"child": 1.0}, step=step)
        run.add_event("child", "was here")
        run.checkpoint_state()
        run.finish_segment("failed")
        if child == "records":
            with Recorder(lake + "-of-child", project="p", system_metrics_every_s=None) as own:
                own.log({"a": 0.0}, step=0)
        os._exit(0)
    ended, deadline = 0, time.monotonic() + 20
    while not ended and time.monotonic() < deadline:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    untouched = files() == before
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    say(hung=not ended, untouched=untouched)
    run.log({"a": 1.0}, step=1)
    lightning_lde.log({"a": 2.0}, step=2)
    run.checkpoint_state()
    say(has_spool=bool(list(spool.glob("*/*.spool"))))
"""


@pytest.mark.parametrize("child", ["leaves", "leaves nothing", "fails", "logs", "records"])
def test_a_forked_child_leaves_its_parents_run_alone(
    start: Start, lake_path: Path, own_spool: Path, child: str
) -> None:
    program = start(FORK, lake_path, child)
    assert program.hear() == {"hung": False, "untouched": True}
    assert program.hear() == {"has_spool": True}
    code, errors = program.end()
    assert code == 0
    assert ("in the child" in errors) == (child == "fails")
    lake = Lake(lake_path)
    assert steps_of(lake) == [0, 1, 2]
    assert lake.sql("select count(*) as n from metrics").to_pylist() == [{"n": 3}]
    assert states_of(lake) == ["finished"]
    assert lake.sql("select count(*) as n from events").to_pylist() == [{"n": 0}]
    assert list(own_spool.iterdir()) == []
    if child == "records":
        assert steps_of(Lake(f"{lake_path}-of-child")) == [0]


FORK_UNDER_LOAD = """
sys.setswitchinterval(1e-5)
run = Recorder(sys.argv[1], project="p", flush_every_s=0.05, system_metrics_every_s=None)
run.start_segment("run")
stop = threading.Event()
def load(name):
    while not stop.is_set():
        run.log({name: 1.0}, step=1)
        run.describe_later(lambda: None)
threads = [threading.Thread(target=load, args=(name,)) for name in "xy"]
for thread in threads:
    thread.start()
hung = None
for number in range(40):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(10)
        run.log({"child": 1.0}, step=1)
        lightning_lde.log({"child": 1.0})
        run.add_event("child", "was here")
        run.update(name="child")
        run.checkpoint_state()
        run.describe_later(lambda: None)
        run.save_file(Path("none"), path="none", kind="other")
        run.finish_segment("finished")
        os._exit(0)
    ended, deadline = 0, time.monotonic() + 15
    while not ended and time.monotonic() < deadline:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.001)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        hung = number
        break
stop.set()
for thread in threads:
    thread.join()
say(hung=hung)
os._exit(0)
"""


def test_a_child_that_is_forked_while_others_log_hangs_nowhere(start: Start, lake_path: Path) -> None:
    program = start(FORK_UNDER_LOAD, lake_path)
    found = program.hear()
    code, errors = program.end()
    assert (found, code) == ({"hung": None}, 0), errors


# Ends of a program ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"), [(0, "finished"), (None, "finished"), (3, "interrupted"), ("no more", "interrupted")]
)
def test_sys_exit_ends_a_run_as_its_code_says(lake_path: Path, code: Any, status: str) -> None:
    def program() -> None:
        with Recorder(lake_path, project="p", system_metrics_every_s=None) as recorder:
            recorder.log({"a": 0.0}, step=0)
            sys.exit(code)

    with pytest.raises(SystemExit) as caught:
        program()
    assert caught.value.code == code
    lake = Lake(lake_path)
    assert states_of(lake) == [status]
    assert steps_of(lake) == [0]


TERMINATED = """
with Recorder(sys.argv[1], project="p", system_metrics_every_s=None) as run:
    for step in range(1000):
        run.log({"a": float(step)}, step=step)
    say(up=True)
    while True:
        step += 1
        run.log({"a": float(step)}, step=step)
        time.sleep(0.001)
"""


def test_sigterm_ends_a_run_as_interrupted_with_all_points(start: Start, lake_path: Path, own_spool: Path) -> None:
    program = start(TERMINATED, lake_path)
    program.hear()
    time.sleep(0.3)
    program.process.terminate()
    code, errors = program.end()
    assert code == 143, errors
    lake = Lake(lake_path)
    found = steps_of(lake)
    assert len(found) > 1000
    assert found == list(range(len(found)))
    assert states_of(lake) == ["interrupted"]
    assert list(own_spool.iterdir()) == []


def test_a_program_that_handles_sigterm_itself_goes_on_doing_so(lake_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with Recorder(lake_path, project="p", system_metrics_every_s=None):
            os.kill(os.getpid(), signal.SIGTERM)
            while not heard:
                time.sleep(0.01)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert states_of(Lake(lake_path)) == ["finished"]


def test_the_handling_of_sigterm_is_as_it_was_when_the_run_is_over(lake_path: Path) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with (
        Recorder(lake_path, project="p", system_metrics_every_s=None),
        Recorder(lake_path, project="p", system_metrics_every_s=None),
    ):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_run_in_another_thread_leaves_signals_alone(lake_path: Path) -> None:
    seen: list[object] = []

    def work() -> None:
        with Recorder(lake_path, project="p", system_metrics_every_s=None) as recorder:
            recorder.log({"a": 0.0}, step=0)
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]
    assert steps_of(Lake(lake_path)) == [0]


# The lake hangs from the moment on that the block is left.
AWAY = """
lake = Lake(sys.argv[1]).create()
faulty = FaultyStore(lake.storage.store)
lake.storage.store = faulty
with Recorder(lake.storage, project="p", system_metrics_every_s=None, on_error=sys.argv[2]) as run:
    until(lambda: (Path(sys.argv[1]) / "hot" / "runs").exists())
    until(lambda: run.run.code_id is not None)
    faulty.plan(lambda *_: Fault(FaultKind.DELAY, 1000))
    for step in range(100):
        run.log({"a": float(step)}, step=step)
    if sys.argv[3] == "file":
        run.save_file(Path(sys.executable), path="file", kind="other")
    say(leaving=True)
"""


@pytest.mark.parametrize("waits_for", ["rows", "file"])
@pytest.mark.parametrize("on_error", ["warn", pytest.param("raise", marks=pytest.mark.slow)])
def test_ctrl_c_while_the_end_waits_for_the_lake_says_where_the_rest_lies(
    start: Start, lake_path: Path, own_spool: Path, on_error: str, waits_for: str
) -> None:
    program = start(AWAY, lake_path, on_error, waits_for)
    program.hear()
    time.sleep(1.0)
    program.process.send_signal(signal.SIGINT)
    code, errors = program.end()
    assert code == -signal.SIGINT, errors
    assert "KeyboardInterrupt" in errors
    assert "lde sync" in errors
    assert str(own_spool) in errors
    assert [outcome.error for outcome in sync_spools(own_spool, lambda url, *_: LakeStorage(url))] != []
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(100))
    assert states_of(lake) in (["finished"], ["interrupted"])
    assert list(own_spool.iterdir()) == []


NEVER_CLOSED = """
import atexit
if sys.argv[2] == "no threads":
    real = threading.Thread.start
    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")
    # As Python 3.12 has it at the end of a process.
    atexit.register(setattr, threading.Thread, "start", refuse)
run = Recorder(sys.argv[1], project="p", system_metrics_every_s=None)
run.start_segment("run")
for step in range(90):
    run.log({"a": float(step)}, step=step)
until(lambda: (Path(sys.argv[1]) / "hot" / "runs").exists())
time.sleep(0.6)  # no thread is busy any more
for step in range(90, 100):
    run.log({"a": float(step)}, step=step)
"""


@pytest.mark.parametrize("threads", ["threads", "no threads"])
def test_a_program_that_never_closes_its_run_leaves_it_whole(
    start: Start, lake_path: Path, own_spool: Path, threads: str
) -> None:
    assert start(NEVER_CLOSED, lake_path, threads).end() == (0, "")
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(100))
    assert states_of(lake) == ["interrupted"]
    assert list(own_spool.iterdir()) == []


def test_a_recorder_works_where_no_thread_can_be_started(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("lde-"):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Recorder(lake_path, project="p") as recorder:
        for step in range(100):
            recorder.log({"a": float(step)}, step=step)
        recorder.checkpoint_state()
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(100))
    assert states_of(lake) == ["finished"]
