"""What comes late or at the wrong time: other runs' rows, merges, uploads, values; and too much of what is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lightning_lde
from lightning_lde import Lake, Recorder
from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage, parse_hot_path
from lightning_lde.recording import _recorder, sync_spools
from lightning_lde.recording._blocks import MetricBlock
from lightning_lde.recording._spool import Rows, SpoolFolder, SpoolHeader
from lightning_lde.schema import new_run_id
from lightning_lde.testing import Fault, FaultKind, FaultyStore

WAIT_S = 30.0


def until(condition: Callable[[], object]) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """What the user is told meanwhile."""
    words: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield words
    words += [str(one.message) for one in caught if issubclass(one.category, RecordingWarning)]


class Gate:
    """A store that lets nobody through to some paths while it is shut."""

    def __init__(self, store: Any, *, only: str = "") -> None:
        self._store = store
        self.only = only
        self.open = threading.Event()
        self.waiting = threading.Event()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        if name not in {"put", "put_file"}:
            return attribute

        def through(path: str, *arguments: Any, **options: Any) -> Any:
            if self.only in path:
                self.waiting.set()
                self.open.wait(WAIT_S)
            return attribute(path, *arguments, **options)

        return through


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    return Lake(lake_path).create()


def open_recorder(lake: Lake | Path, **options: Any) -> Recorder:
    where = lake.storage if isinstance(lake, Lake) else lake
    words = {"project": "p", "flush_every_s": 0.05, "system_metrics_every_s": None}
    recorder = Recorder(where, **{**words, **options})
    recorder.start_segment("fit")
    return recorder


def steps_of(lake: Lake, name: str = "a") -> list[int]:
    query = "select step from metrics where name = ? order by step"
    found: list[int] = lake.sql(query, [name]).column("step").to_pylist()
    return found


def states_of(lake: Lake) -> list[str]:
    found: list[str] = lake.sql("select status from runs").column("status").to_pylist()
    return found


# Orphans of other runs --------------------------------------------------------------------------------------


def leave_orphans(root: Path, lake: Lake, count: int) -> str:
    """Spool files of a process that is gone.

    Returns:
        The run's id.
    """
    run = new_run_id()
    folder = SpoolFolder(root, run)
    for number in range(count):
        rows = np.zeros((1, 5))
        rows[:, 1] = number
        file = folder.new_file(SpoolHeader(lake.storage.absolute_url, "p", "2026-11-21", run, run, number))
        file.append(Rows(metrics=[MetricBlock(("orphan",), None, "logged", 0, rows)]))
        file.close()
    folder.close()
    return run


def test_orphans_of_other_runs_hold_up_no_heartbeat_and_no_end(lake: Lake, lake_path: Path, own_spool: Path) -> None:
    orphan = leave_orphans(own_spool, lake, 30)
    gate = Gate(lake.storage.store, only=orphan)
    lake.storage.store = gate
    reader = Lake(lake_path)
    try:
        with told() as words:
            recorder = open_recorder(lake)
            assert gate.waiting.wait(WAIT_S)  # an orphan is on its way, and the lake does not answer
            heartbeats = set()
            for step in range(5):
                recorder.log({"a": float(step)}, step=step)
                until(lambda: steps_of(reader) == list(range(step + 1)))  # noqa: B023
                heartbeats |= {row["heartbeat_at"] for row in reader.sql("select heartbeat_at from runs").to_pylist()}
            assert recorder.finish_segment("finished")
        assert words == []
        assert len(heartbeats) > 1
        assert states_of(reader) == ["finished"]
        assert steps_of(reader, "orphan") == []
    finally:
        gate.open.set()
    until(lambda: [*sync_spools(own_spool, lambda url, *_: LakeStorage(url))] or list(own_spool.iterdir()) == [])
    until(lambda: steps_of(reader, "orphan") == list(range(30)))
    assert list(own_spool.iterdir()) == []


def test_a_slow_lake_gets_this_runs_rows_before_all_orphans(lake: Lake, lake_path: Path, own_spool: Path) -> None:
    orphan = leave_orphans(own_spool, lake, 60)
    lake.storage.store = FaultyStore(
        lake.storage.store, lambda _, path: Fault(FaultKind.DELAY, 0.1) if orphan in path else None
    )
    reader = Lake(lake_path)
    recorder = open_recorder(lake)
    until(lambda: steps_of(reader, "orphan"))
    recorder.log({"a": 0.0}, step=0)
    until(lambda: steps_of(reader) == [0])
    assert len(steps_of(reader, "orphan")) < 60
    assert recorder.finish_segment("finished")
    assert len(steps_of(reader, "orphan")) < 60
    lake.storage.store.heal()
    until(lambda: [*sync_spools(own_spool, lambda url, *_: LakeStorage(url))] or list(own_spool.iterdir()) == [])
    assert steps_of(reader, "orphan") == list(range(60))


# Merges -----------------------------------------------------------------------------------------------------


def is_merged(path: str) -> bool:
    file = parse_hot_path(path)
    return file is not None and file.first != file.last


def slowed(lake: Lake, delay_s: float) -> FaultyStore:
    """Let merges of metrics take that long."""

    def fault(_: str, path: str) -> Fault | None:
        return Fault(FaultKind.DELAY, delay_s) if "/metrics/" in path and is_merged(path) else None

    store = FaultyStore(lake.storage.store, fault)
    lake.storage.store = store
    return store


def merged_files(lake_path: Path, table: str) -> list[Path]:
    return [
        path for path in lake_path.glob(f"hot/{table}/*/*/*.parquet") if is_merged(str(path.relative_to(lake_path)))
    ]


def test_a_slow_merge_is_no_incomplete_run(lake: Lake, lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recorder, "FINISH_TIMEOUT_S", 1.0)
    slowed(lake, 3.0)
    reader = Lake(lake_path)
    with told() as words:
        recorder = open_recorder(lake)
        for step in range(3):
            recorder.log({"a": float(step)}, step=step)
            until(lambda: len(steps_of(reader)) == step + 1)  # noqa: B023
        assert recorder.finish_segment("finished")
        assert merged_files(lake_path, "metrics") == []
        assert states_of(reader) == ["finished"]
        assert steps_of(reader) == [0, 1, 2]
        until(lambda: merged_files(lake_path, "metrics"))  # it comes, late
    assert words == []
    assert steps_of(reader) == [0, 1, 2]


def test_a_segment_may_begin_while_the_last_one_is_still_merged(
    lake: Lake, lake_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recorder, "FINISH_TIMEOUT_S", 1.0)
    slow = slowed(lake, 1.5)
    reader = Lake(lake_path)
    recorder = open_recorder(lake)
    with told() as words:
        for segment in range(2):
            for step in range(3):
                recorder.log({"a": 1.0}, step=3 * segment + step)
                until(lambda: 3 * segment + step in steps_of(reader))  # noqa: B023
            assert recorder.finish_segment("finished")
            recorder.start_segment("again")
        slow.heal()
        monkeypatch.setattr(_recorder, "FINISH_TIMEOUT_S", 30.0)
        assert recorder.finish_segment("finished")
    assert words == []
    assert steps_of(reader) == list(range(6))
    assert reader.sql("select count(*) as n from metrics").to_pylist() == [{"n": 6}]
    assert list(own_spool.iterdir()) == []


def test_a_small_segment_does_not_write_a_large_one_again(lake: Lake, lake_path: Path) -> None:
    store = FaultyStore(lake.storage.store)
    lake.storage.store = store
    recorder = open_recorder(lake)
    chance = np.random.default_rng(0)
    for step in range(12_000):
        recorder.log(dict(zip(map(str, range(100)), chance.standard_normal(100).tolist(), strict=True)), step=step)
    assert recorder.finish_segment("finished")
    large = max(lake_path.glob("hot/metrics/*/*/*.parquet"), key=lambda path: path.stat().st_size)
    before = large.stat()
    store.calls.clear()
    for segment in range(3):
        recorder.start_segment("test")
        for step in range(3):
            recorder.log({"a": 1.0}, step=3 * segment + step)
            time.sleep(0.1)
        assert recorder.finish_segment("finished")
    assert large.exists()
    assert (large.stat().st_ino, large.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [call for call in store.calls if call.path.endswith(large.name)] == []
    assert max(path.stat().st_size for path in lake_path.glob("hot/metrics/*/*/*.parquet") if path != large) < 100_000
    found = Lake(lake_path)
    assert found.sql("select count(*) as n from metrics").to_pylist() == [{"n": 1_200_009}]
    assert steps_of(found) == list(range(9))
    assert len(list(lake_path.glob("hot/metrics/*/*/*.parquet"))) <= 4


# Wrong values -----------------------------------------------------------------------------------------------

FLOOD = 20_000


@pytest.mark.parametrize("odd", ["text", None, [1.0], 1j, 2**60 + 1], ids=str)
def test_a_value_that_is_always_wrong_is_one_event(lake_path: Path, odd: object) -> None:
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as recorder:
        for step in range(FLOOD):
            recorder.log({"a": 1.0, "odd": odd}, step=step)
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(FLOOD))
    assert lake.sql("select kind, count(*) as n from events group by kind").to_pylist() == [{"kind": "refused", "n": 1}]


def refusals(lake: Lake) -> list[str]:
    query = "select message from events where kind = 'refused' order by time"
    found: list[str] = lake.sql(query).column("message").to_pylist()
    return found


def test_wrong_values_of_many_names_are_a_hundred_events_and_one(lake_path: Path) -> None:
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as recorder:
        for step in range(FLOOD):
            recorder.log({"a": 1.0, f"odd {step}": "text"}, step=step)
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(FLOOD))
    *messages, last = refusals(lake)
    assert len(set(messages)) == len(messages) == 100
    assert all("odd" in message for message in messages)
    assert "more than" in last


FLOODS: dict[str, Callable[[int], dict[str, Any]]] = {
    "digits": lambda step: {"values": {"a": 1.0, "odd": 2**60 + 1 + 2 * step}, "step": step},
    "epochs": lambda step: {"values": {"a": 1.0}, "step": step, "epoch": 2**60 + step},
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_values_wrong_in_always_another_way_are_at_most_a_hundred_events_and_one(
    lake_path: Path, flood: Callable[[int], dict[str, Any]]
) -> None:
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as recorder:
        for step in range(FLOOD):
            recorder.log(**flood(step))
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(FLOOD))
    messages = refusals(lake)
    assert 1 <= len(messages) == len(set(messages)) <= 101
    assert sum("more than" in message for message in messages) == (len(messages) == 101)


def test_wrong_rows_are_a_bounded_number_of_events(lake_path: Path) -> None:
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as recorder:
        row: Any = object()
        for step in range(1000):
            recorder.record("events", row)
            recorder.record(f"table {step}", row)
        recorder.log({"a": 1.0}, step=0)
    lake = Lake(lake_path)
    assert steps_of(lake) == [0]
    assert 1 <= lake.sql("select * from events").num_rows <= 101


# Late uploads -----------------------------------------------------------------------------------------------


def test_a_file_whose_upload_ends_late_has_its_row(
    lake: Lake, lake_path: Path, own_spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recorder, "UPLOAD_TIMEOUT_S", 0.3)
    source = tmp_path / "last.ckpt"
    source.write_bytes(os.urandom(10_000))
    gate = Gate(lake.storage.store, only=hashlib.sha256(source.read_bytes()).hexdigest())
    lake.storage.store = gate
    reader = Lake(lake_path)
    try:
        recorder = open_recorder(lake, name="me")
        recorder.log({"a": 0.0}, step=0)
        recorder.save_file(source, path="last.ckpt", kind="checkpoint", score=0.5)
        with told() as words:
            assert not recorder.finish_segment("finished")
        assert len(words) == 1
        assert reader.sql("select * from artifacts").num_rows == 0
    finally:
        gate.open.set()
    until(lambda: reader.sql("select path, score from artifacts").to_pylist() == [{"path": "last.ckpt", "score": 0.5}])
    assert reader.read_artifact("me", "last.ckpt") == source.read_bytes()
    assert states_of(reader) == ["finished"]
    assert steps_of(reader) == [0]
    until(lambda: not list(own_spool.rglob("*.spool")))


def test_a_file_whose_upload_ends_in_the_next_segment_has_its_row(
    lake: Lake, lake_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_recorder, "UPLOAD_TIMEOUT_S", 0.3)
    source = tmp_path / "last.ckpt"
    source.write_bytes(b"1" * 10_000)
    gate = Gate(lake.storage.store, only=hashlib.sha256(source.read_bytes()).hexdigest())
    lake.storage.store = gate
    reader = Lake(lake_path)
    try:
        recorder = open_recorder(lake)
        recorder.save_file(source, path="last.ckpt", kind="checkpoint")
        with told():
            assert not recorder.finish_segment("finished")
        recorder.start_segment("test")
    finally:
        gate.open.set()
    monkeypatch.setattr(_recorder, "UPLOAD_TIMEOUT_S", 30.0)
    assert recorder.finish_segment("finished")
    assert reader.sql("select path, segment from artifacts").to_pylist() == [{"path": "last.ckpt", "segment": 0}]
    assert states_of(reader) == ["finished"]


# Values at the wrong time, and what is no dict --------------------------------------------------------------


def test_values_before_the_first_segment_are_said_once(lake_path: Path, own_spool: Path) -> None:
    recorder = Recorder(lake_path, project="p", system_metrics_every_s=None)
    threads = {thread.name for thread in threading.enumerate()}
    with told() as words:
        for step in range(1000):
            recorder.log({"a": 1.0}, step=step)
    assert len(words) == 1
    assert "segment" in words[0]
    assert not lake_path.exists()
    assert list(own_spool.iterdir()) == []
    assert {thread.name for thread in threading.enumerate()} <= threads
    with told() as words:
        recorder.start_segment("fit")
        recorder.log({"b": 1.0}, step=0)
        assert recorder.finish_segment("finished")
    assert words == []
    assert steps_of(Lake(lake_path), "b") == [0]


def test_values_after_the_last_segment_are_said_once(lake_path: Path, own_spool: Path) -> None:
    recorder = open_recorder(lake_path)
    recorder.log({"a": 1.0}, step=0)
    assert recorder.finish_segment("finished")
    before = sorted(lake_path.rglob("*"))
    with told() as words:
        for step in range(1, 1000):
            recorder.log({"a": 1.0}, step=step)
        lightning_lde.log({"a": 1.0}, step=1)  # no run is open, so this is nothing to be told of
        assert recorder.finish_segment("finished")
    assert len(words) == 1
    assert "segment" in words[0]
    assert sorted(lake_path.rglob("*")) == before
    assert steps_of(Lake(lake_path)) == [0]
    assert list(own_spool.iterdir()) == []


@pytest.mark.parametrize("odd", [None, [1], "loss", 1.0, {1.0}, ("loss", 1.0)], ids=str)
def test_log_says_what_it_takes(lake_path: Path, odd: Any) -> None:
    with pytest.raises(TypeError, match="log takes a dict"):
        lightning_lde.log(odd)
    with Recorder(lake_path, project="p", system_metrics_every_s=None):
        with pytest.raises(TypeError, match="log takes a dict"):
            lightning_lde.log(odd)
        lightning_lde.log({"a": 1.0}, step=0)
    lake = Lake(lake_path)
    assert steps_of(lake) == [0]
    assert states_of(lake) == ["finished"]
    assert json.loads(lake.sql("select summary from runs").to_pylist()[0]["summary"])["a"]["last"] == 1.0
