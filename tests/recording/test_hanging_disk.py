"""A spool on a disk that does not answer, and a process that can start no thread: the training goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.errors import RecordingWarning
from lightning_lde.recording import _ending, _pump, _recorder
from lightning_lde.recording._outbox import Outbox

HANG_S = 20.0


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """From the moment this is cleared, no write comes to an end until it is set again."""
    answers = threading.Event()
    answers.set()
    add = Outbox.add

    def slow(self: Outbox, rows: object) -> None:
        answers.wait(HANG_S)
        add(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "add", slow)
    yield answers
    answers.set()


def opened(lake_path: Path) -> Recorder:
    recorder = Recorder(lake_path, project="p", flush_every_s=0.05, system_metrics_every_s=None)
    recorder.start_segment("fit")
    return recorder


def test_checkpoints_and_the_end_wait_a_limited_time(
    lake_path: Path, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pump.SpoolPump.wait_for_disk, "__defaults__", (0.3,))
    monkeypatch.setattr(_recorder, "FINISH_TIMEOUT_S", 0.3)
    recorder = opened(lake_path)
    recorder.log({"a": 1.0}, step=0)
    recorder.make_durable()
    hanging.clear()
    recorder.log({"a": 1.0}, step=1)
    time.sleep(0.2)
    began = time.monotonic()
    recorder.checkpoint_state()
    with pytest.warns(RecordingWarning, match="the disk of the spool does not answer"):
        assert not recorder.finish_segment("finished")
    assert time.monotonic() - began < HANG_S / 2


def test_who_logs_much_waits_once_and_memory_stays_bounded(
    lake_path: Path, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pump.SpoolPump.wait_for_disk, "__defaults__", (0.3,))
    monkeypatch.setattr(_recorder, "LARGEST_BUFFER", 100)
    monkeypatch.setattr(_pump, "LARGEST_WAITING", 1000)
    recorder = opened(lake_path)
    hanging.clear()
    recorder.log({"a": 1.0}, step=0)
    time.sleep(0.2)
    began = time.monotonic()
    largest = 0
    for step in range(5000):
        recorder.log({"a": 1.0}, step=step)
        largest = max(largest, recorder._buffer._waiting)
    assert time.monotonic() - began < HANG_S / 2
    assert largest <= 1001
    hanging.set()
    with pytest.warns(RecordingWarning, match=r"\d+ metric values were dropped"):
        assert not recorder.finish_segment("finished")
    kept = Lake(lake_path).sql("select count(*) as n from metrics").to_pylist()[0]["n"]
    assert kept + recorder._journal.dropped == 5001


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_ending, "begin", refuse)


@pytest.mark.usefixtures("no_threads")
def test_without_threads_nobody_waits_for_a_fact_and_nothing_gathers(
    lake_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recorder, "LARGEST_BUFFER", 100)
    recorder = opened(lake_path)
    assert recorder.describe_later(lambda: recorder.update(seed=3)).is_set()
    largest = 0
    for step in range(1000):
        recorder.log({"a": 1.0}, step=step)
        largest = max(largest, recorder._buffer._waiting)
    assert largest <= 101
    assert recorder.finish_segment("finished")
    lake = Lake(lake_path)
    assert lake.sql("select count(*) as n from metrics").to_pylist() == [{"n": 1000}]
    assert lake.sql("select seed from runs").to_pylist() == [{"seed": 3}]
