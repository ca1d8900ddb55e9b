from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from lightning_lde.system._host import Growth, ProcessTree, Rates, host_probes

BURN = "import sys; print('on', flush=True)\nwhile True: pass"
BURN_BELOW = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
HOLD = "import sys; held = bytearray(b'x' * 200_000_000); print('on', flush=True); sys.stdin.read()"


@contextmanager
def program(code: str) -> Iterator[subprocess.Popen[str]]:
    """A child that has said that it is at work."""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "on\n"
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        child.communicate()


def children_now() -> int:
    """Other tests may have left servers that run for all of them."""
    return len(psutil.Process().children(recursive=True))


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@pytest.mark.parametrize("code", [BURN, BURN_BELOW], ids=["child", "grandchild"])
def test_the_work_of_children_is_in_the_percent_of_the_process(code: str) -> None:
    began = time.monotonic()
    tree = ProcessTree()
    with program(code) as child:
        burning = [child.pid, *(one.pid for one in psutil.Process(child.pid).children())][-1]
        wait_until(lambda: cpu_s(burning) >= 0.5)
        values = tree()
    assert tree.cpu_s >= 0.5
    assert values["process.cpu.percent"] >= 100 * 0.5 / (time.monotonic() - began)
    assert values["process.children"] >= 1
    assert values["process.threads"] >= 2


def test_the_work_of_a_child_that_came_and_went_counts() -> None:
    tree, before = ProcessTree(), children_now()
    code = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert tree()["process.children"] == before
    assert tree.cpu_s >= 0.4


def test_a_child_that_is_waited_for_later_is_counted_once() -> None:
    tree = ProcessTree()
    with program("import time; print('on', flush=True)\nwhile time.process_time() < 0.5: pass") as child:
        wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        tree()
        as_zombie_s = tree.cpu_s
        child.wait()
        began = time.process_time()
        tree()
        own_s = time.process_time() - began
    assert as_zombie_s >= 0.4
    assert tree.cpu_s - as_zombie_s <= own_s + 0.3


def test_what_ran_before_the_beginning_does_not_count() -> None:
    with program(BURN) as child:
        wait_until(lambda: cpu_s(child.pid) >= 1)
        tree = ProcessTree()
        os.kill(child.pid, 19)
        tree()
        assert tree.cpu_s < 0.9


def test_memory_of_this_process_shows_in_its_resident_bytes() -> None:
    tree = ProcessTree()
    before = tree()["process.memory.rss_bytes"]
    held = bytearray(b"x" * 200_000_000)
    assert tree()["process.memory.rss_bytes"] - before > 150_000_000
    assert len(held) == 200_000_000


def test_memory_of_a_child_shows_in_the_resident_bytes() -> None:
    tree = ProcessTree()
    before = tree()["process.memory.rss_bytes"]
    with program(HOLD):
        assert tree()["process.memory.rss_bytes"] - before > 150_000_000


def test_children_are_looked_for_less_often_where_that_is_dear() -> None:
    tree, before = ProcessTree(), children_now()
    with program(HOLD):
        assert tree()["process.children"] == before + 1
        tree._credit_s = -0.05
        with program(HOLD):
            assert tree()["process.children"] == before + 1
            tree._credit_s = 0.1
            assert tree()["process.children"] == before + 2
        tree._credit_s = -0.05
        assert tree()["process.children"] == before + 1
    assert tree()["process.children"] == before + 0


def test_a_tree_that_stays_dear_is_read_less_often_and_loses_no_time() -> None:
    tree = ProcessTree()
    with program(BURN) as child:
        tree._credit_s = -100.0
        wait_until(lambda: cpu_s(child.pid) >= 0.5)
        assert tree() == {}
        tree._credit_s = 0.1
        assert "process.cpu.percent" in tree()
        assert tree.cpu_s >= 0.5
        for _ in range(10_000):
            if not tree():
                break
        assert -0.2 < tree._credit_s < -0.1


def read_all(probes: list[Callable[[], Mapping[str, float]]]) -> dict[str, float]:
    return {name: value for probe in probes for name, value in probe().items()}


def test_the_machine_is_within_its_bounds() -> None:
    probes = host_probes()
    with program(BURN) as child:
        wait_until(lambda: cpu_s(child.pid) >= 0.5)
        values = read_all(probes)
    total = psutil.virtual_memory().total
    assert 0 < values["cpu.percent"] <= 100
    assert 0 < values["memory.used_bytes"] < total
    assert values["memory.percent"] == pytest.approx(100 * values["memory.used_bytes"] / total, abs=2)


@pytest.mark.skipif(not psutil.disk_io_counters(), reason="this system counts no disk")
def test_what_is_written_shows_in_the_rate_of_the_disk(tmp_path: Path) -> None:
    def counted() -> int:
        return psutil.disk_io_counters().write_bytes

    before = counted()
    probes = host_probes()
    began = time.monotonic()
    with (tmp_path / "large").open("wb") as file:
        file.write(os.urandom(32_000_000))
        file.flush()
        os.fsync(file.fileno())
    values = read_all(probes)
    elapsed_s, written = time.monotonic() - began, counted() - before
    if written < 32_000_000:
        pytest.skip("the temporary folder is on no counted disk")
    assert values["disk.write_bytes_per_s"] * elapsed_s >= 25_000_000


def test_rates_are_per_second_and_never_negative() -> None:
    counters = iter([{"a": 10.0, "b": 5.0}, {"a": 30.0, "b": 1.0, "new": 7.0}, {"a": 30.0, "b": 3.0, "new": 8.0}])
    times = iter([0.0, 4.0, 6.0])
    rates = Rates(lambda: next(counters), lambda: next(times))
    assert rates() == {"a": 5.0, "b": 0.0}
    assert rates() == {"a": 0.0, "b": 1.0, "new": 0.5}


def test_growth_bridges_a_gap_and_takes_a_loss() -> None:
    growth = Growth(100.0)
    assert growth.to(103.0, at_most=10) == 3
    assert growth.to(50.0, at_most=10) == 0  # a worker ended while the sum was made
    assert growth.to(105.0, at_most=10) == 2  # its parent has its time now
    assert growth.to(50.0, at_most=10) == 0
    assert growth.to(51.0, at_most=10) == 0  # gone for good
    assert growth.to(54.0, at_most=10) == 3
    assert growth.to(500.0, at_most=10) == 10
