from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest

from lightning_lde.errors import ConfigurationError
from lightning_lde.system import Probe, StepClock, SystemMonitor, _monitor

from .nvml import Device, Nvml

HANG_GUARD_S = 60


@pytest.fixture(autouse=True)
def no_warnings_in_threads(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    yield
    assert not list(recwarn)


def opens(*probes: Probe) -> Callable[[], object]:
    @contextmanager
    def open_probes() -> Iterator[list[Probe]]:
        yield list(probes)

    return open_probes


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lde-system"]


def one() -> dict[str, float]:
    return {"one": 1.0}


@pytest.mark.parametrize("every_s", [0, -1, float("nan"), float("inf"), 1e30])
def test_an_interval_that_cannot_work_is_refused(every_s: float) -> None:
    with pytest.raises(ConfigurationError, match="every_s"):
        SystemMonitor(print, every_s=every_s)


def test_readings_come_from_a_thread_of_its_own_until_the_stop() -> None:
    seen: Queue[tuple[str, Mapping[str, float]]] = Queue()
    monitor = SystemMonitor(
        lambda values: seen.put((threading.current_thread().name, values)), every_s=0.01, probes=opens(one)
    )
    assert not threads()
    monitor.start()
    monitor.start()
    assert len(threads()) == 1
    assert threads()[0].daemon
    for _ in range(3):
        assert seen.get(timeout=HANG_GUARD_S) == ("lde-system", {"one": 1.0})
    monitor.stop()
    assert not threads()
    read = seen.qsize()
    monitor.stop()
    assert seen.qsize() == read


def test_a_stopped_monitor_can_be_started_again() -> None:
    seen: Queue[Mapping[str, float]] = Queue()
    opened = []

    @contextmanager
    def probes() -> Iterator[list[Probe]]:
        opened.append("in")
        yield [one]
        opened.append("out")

    monitor = SystemMonitor(seen.put, every_s=0.01, probes=probes)
    for _ in range(2):
        with monitor:
            seen.get(timeout=HANG_GUARD_S)
        while not seen.empty():
            seen.get()
    assert opened == ["in", "out"] * 2


def test_the_first_reading_does_not_wait_for_the_interval() -> None:
    seen: Queue[Mapping[str, float]] = Queue()
    with SystemMonitor(seen.put, every_s=100_000, probes=opens(one)):
        seen.get(timeout=HANG_GUARD_S)


def test_the_stop_reads_a_last_time_where_the_one_before_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_monitor, "FIRST_AFTER_S", 100_000)
    for worth_s, readings in ((0.0, 1), (1000.0, 0)):
        monkeypatch.setattr(_monitor, "WORTH_A_LAST_S", worth_s)
        seen: list[Mapping[str, float]] = []
        monitor = SystemMonitor(seen.append, every_s=100_000, probes=opens(one))
        monitor.start()
        monitor.stop()
        assert len(seen) == readings


def test_a_stop_before_the_first_reading_does_not_wait() -> None:
    monitor = SystemMonitor(print, every_s=100_000)
    monitor.start()
    monitor.stop()
    assert not threads()


def test_a_receiver_that_raises_neither_ends_the_thread_nor_reaches_the_caller() -> None:
    calls: Queue[int] = Queue()

    def refuse(values: Mapping[str, float]) -> None:
        calls.put(1)
        raise OSError("no")

    with SystemMonitor(refuse, every_s=0.01, probes=opens(one)):
        for _ in range(3):
            calls.get(timeout=HANG_GUARD_S)


def test_a_probe_that_fails_once_is_left_out_and_the_others_go_on() -> None:
    seen: Queue[Mapping[str, float]] = Queue()
    asked = []

    def fails() -> dict[str, float]:
        asked.append(1)
        if len(asked) == 2:
            raise OSError("gone")
        return {"fails": 1.0}

    with SystemMonitor(seen.put, every_s=0.01, probes=opens(fails, one)):
        readings = [dict(seen.get(timeout=HANG_GUARD_S)) for _ in range(5)]
    assert readings == [{"fails": 1.0, "one": 1.0}, *([{"one": 1.0}] * 4)]
    assert len(asked) == 2


def test_a_source_that_cannot_be_opened_ends_quietly() -> None:
    @contextmanager
    def broken() -> Iterator[list[Probe]]:
        raise OSError("nothing here")
        yield []

    monitor = SystemMonitor(print, every_s=0.01, probes=broken)
    monitor.start()
    monitor.stop()
    assert not threads()


def test_where_there_is_nothing_to_read_nothing_is_received() -> None:
    seen: list[Mapping[str, float]] = []
    asked: Queue[int] = Queue()

    def empty() -> dict[str, float]:
        asked.put(1)
        return {}

    with SystemMonitor(seen.append, every_s=0.01, probes=opens(empty)):
        for _ in range(3):
            asked.get(timeout=HANG_GUARD_S)
    assert seen == []


def test_a_driver_that_hangs_is_not_waited_for_nor_heard_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_monitor, "LONGEST_STOP_S", 0.05)
    seen: list[Mapping[str, float]] = []
    entered, released = threading.Event(), threading.Event()

    def hangs() -> dict[str, float]:
        entered.set()
        released.wait(HANG_GUARD_S)
        return {"late": 1.0}

    monitor = SystemMonitor(seen.append, every_s=0.01, probes=opens(hangs))
    monitor.start()
    assert entered.wait(HANG_GUARD_S)
    [thread] = threads()
    monitor.stop()
    assert thread.is_alive()
    released.set()
    thread.join(HANG_GUARD_S)
    assert not thread.is_alive()
    assert seen == []


def test_a_receiver_may_stop_the_monitor() -> None:
    stopped = threading.Event()

    def receive(values: Mapping[str, float]) -> None:
        monitor.stop()
        stopped.set()

    monitor = SystemMonitor(receive, every_s=0.01, probes=opens(one))
    monitor.start()
    [thread] = threads()
    assert stopped.wait(HANG_GUARD_S)
    thread.join(HANG_GUARD_S)
    assert not thread.is_alive()


def test_the_progress_of_the_training_is_in_a_reading() -> None:
    seen: Queue[Mapping[str, float]] = Queue()
    clock = StepClock()
    with SystemMonitor(seen.put, every_s=0.01, clock=clock, probes=opens()):
        clock.batch_starts(None)
        clock.batch_ends()
        assert set(seen.get(timeout=HANG_GUARD_S)) == {"throughput.batches_per_s", "data.wait_percent"}


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_real_reading_has_what_this_machine_has() -> None:
    seen: Queue[Mapping[str, float]] = Queue()
    clock = StepClock()
    with SystemMonitor(seen.put, every_s=0.2, clock=clock):
        clock.batch_starts(None)
        worker = multiprocessing.get_context("spawn").Process(target=burn, args=(0.5,))
        worker.start()
        worker.join(HANG_GUARD_S)
        clock.batch_ends()
        seen.get(timeout=HANG_GUARD_S)
        last = seen.get(timeout=HANG_GUARD_S)
    assert {"cpu.percent", "memory.percent", "process.cpu.percent", "process.memory.rss_bytes"} <= set(last)
    assert {"energy.cpu.joules", "energy.cpu.estimated_joules"} & set(last)
    assert all(isinstance(value, (int, float)) and value >= 0 for value in last.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_no_thread_and_can_stop_and_start() -> None:
    code = """
import os, threading, warnings
warnings.simplefilter("ignore")
from lightning_lde.system import SystemMonitor
seen = []
arrived = threading.Event()
monitor = SystemMonitor(lambda values: (seen.append(values), arrived.set()), every_s=0.05)
monitor.start()
assert arrived.wait(60)
child = os.fork()
if not child:
    def here(): return [t.name for t in threading.enumerate() if t.name == "lde-system"]
    try:
        assert here() == []
        seen.clear(); arrived.clear()
        monitor.start()
        assert here() == ["lde-system"]
        assert arrived.wait(60) and seen[0]["process.children"] == 0
        monitor.stop()
        assert here() == []
    except BaseException as error:
        print(repr(error), flush=True); os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
monitor.stop()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_program_that_never_stops_its_monitor_ends_well() -> None:
    code = """
import time
from lightning_lde.system import SystemMonitor
SystemMonitor(lambda values: None, every_s=0.001).start()
time.sleep(0.5)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_libraries_are_imported_in_the_thread_alone() -> None:
    code = """
import sys
from lightning_lde.system import StepClock, SystemMonitor
SystemMonitor(print)
print([name for name in ("psutil", "pynvml", "torch", "numpy") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def documented() -> set[str]:
    page = (Path(__file__).parents[2] / "docs" / "system-metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))


def test_every_value_stands_in_the_documentation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lightning_lde.system import _probes
    from lightning_lde.system._container import container_probes
    from lightning_lde.system._energy import RaplMeter

    limits = {"memory.max": "9", "memory.current": "3", "cpu.max": "1 1", "cpu.stat": "usage_usec 1", "group": "0::/"}
    limits |= {"name": "package-0", "energy_uj": "1", "max_energy_range_uj": "5"}
    for name, text in limits.items():
        (tmp_path / name).write_text(text)
    nvml = Nvml(Device("GPU-a"), Device("GPU-b", missing={"energy"}))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(_probes, "container_probes", lambda: container_probes(tmp_path, tmp_path / "group"))
    names = set()
    for rapl in (None, RaplMeter([tmp_path])):
        monkeypatch.setattr(_probes.RaplMeter, "find", lambda found=rapl: found)
        clock = StepClock()
        seen: Queue[Mapping[str, float]] = Queue()
        with SystemMonitor(seen.put, every_s=0.05, clock=clock):
            batch = type("Batch", (), {"shape": (3,)})()
            clock.batch_starts(batch)
            clock.batch_ends()
            names |= set(seen.get(timeout=HANG_GUARD_S))
    without_disk = {"disk.read_bytes_per_s", "disk.write_bytes_per_s"} - names
    assert {re.sub(r"gpu\.\d+", "gpu.<i>", name) for name in names} == documented() - without_disk
