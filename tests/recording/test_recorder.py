"""The recorder: what was recorded is in the lake, whatever the storage does meanwhile."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.errors import RecordingWarning, StoreError
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Recorder


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    return Lake(lake_path).create()


def record(lake: Lake, *, points: int = 100, flush_every_s: float = 0.02, **options: object) -> Recorder:
    words = {"flush_every_s": flush_every_s, "system_metrics_every_s": None, **options}
    recorder = Recorder(lake.storage, project="p", **words)  # type: ignore[arg-type]
    recorder.start_segment("fit")
    for step in range(points):
        recorder.log({"a": step / 2, "b": math.nan}, step=step, epoch=0, context="train")
        if step % 20 == 0:
            time.sleep(0.03)
    return recorder


def test_every_point_arrives_once_and_in_one_file(lake: Lake, lake_path: Path) -> None:
    recorder = record(lake)
    recorder.finish_segment("finished", stop_reason="enough")
    rows = lake.sql("select step, value from metrics where name = 'a' order by step").to_pylist()
    assert rows == [{"step": step, "value": step / 2} for step in range(100)]
    assert len(list(lake_path.glob("hot/metrics/*/*/*.parquet"))) == 1
    run = lake.sql("select * from runs").to_pylist()[0]
    assert (run["status"], run["stop_reason"], run["run_id"]) == ("finished", "enough", recorder.run_id)
    assert run["summary"] == '{"a":{"last":49.5,"max":49.5,"min":0.0},"b":{"last":"NaN"}}'


def test_nan_is_stored_as_nan(lake: Lake) -> None:
    record(lake, points=3).finish_segment("finished")
    assert lake.sql("select count(*) as n from metrics where name = 'b' and isnan(value)").to_pylist() == [{"n": 3}]


def test_a_reader_sees_a_running_run_grow(lake: Lake) -> None:
    recorder = record(lake, points=40, flush_every_s=1.0)
    deadline = time.monotonic() + 10
    while lake.sql("select * from metrics").num_rows < 80 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert lake.sql("select * from metrics").num_rows == 80
    assert lake.sql("select status from runs").to_pylist() == [{"status": "running"}]
    recorder.finish_segment("finished")
    assert lake.sql("select * from metrics").num_rows == 80


def test_readers_during_the_merge_see_each_row_once(lake: Lake) -> None:
    recorder = record(lake, points=60)
    counts: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            counts.append(lake.sql("select count(*) as n from metrics where step < 20").to_pylist()[0]["n"])

    time.sleep(0.2)
    reader = threading.Thread(target=look)
    reader.start()
    recorder.finish_segment("finished")
    time.sleep(0.2)
    stop.set()
    reader.join()
    assert set(counts) == {40}


def test_segments_continue_a_run(lake: Lake) -> None:
    recorder = record(lake, points=10)
    recorder.finish_segment("finished")
    recorder.start_segment("test")
    recorder.log({"test": 1.0}, context="test")
    recorder.finish_segment("finished")
    runs = lake.sql("select segment, stage, status from stored.runs order by segment").to_pylist()
    assert runs == [
        {"segment": 0, "stage": "fit", "status": "finished"},
        {"segment": 1, "stage": "test", "status": "finished"},
    ]
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]
    assert lake.sql("select segment from metrics where name = 'test'").to_pylist() == [{"segment": 1}]


def test_files_of_a_run_come_back(lake: Lake, tmp_path: Path) -> None:
    source = tmp_path / "last.ckpt"
    source.write_bytes(os.urandom(100_000))
    recorder = record(lake, points=1, name="me")
    recorder.save_file(source, path="checkpoints/last.ckpt", kind="checkpoint", score=0.5)
    recorder.finish_segment("finished")
    assert lake.read_artifact("me", "checkpoints/last.ckpt") == source.read_bytes()
    row = lake.sql("select path, kind, size_bytes, score from artifacts").to_pylist()[0]
    assert row == {"path": "checkpoints/last.ckpt", "kind": "checkpoint", "size_bytes": 100_000, "score": 0.5}


class Flaky:
    """A store whose puts fail while ``away``."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.away = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put(self, path: str, data: bytes) -> None:
        if self.away:
            raise StoreError("the lake is away")
        self._store.put(path, data)  # type: ignore[attr-defined]


def test_a_lake_that_comes_back_gets_everything(lake: Lake) -> None:
    flaky = Flaky(lake.storage.store)
    lake.storage.store = flaky  # type: ignore[assignment]
    flaky.away = True
    recorder = record(lake)
    flaky.away = False
    recorder.finish_segment("finished")
    assert lake.sql("select count(distinct step) as n, count(*) as all from metrics where name = 'a'").to_pylist() == [
        {"n": 100, "all": 100}
    ]


def test_a_lake_that_stays_away_is_reported_once(lake: Lake) -> None:
    flaky = Flaky(lake.storage.store)
    lake.storage.store = flaky  # type: ignore[assignment]
    flaky.away = True
    recorder = record(lake, points=2)
    with pytest.warns(RecordingWarning, match="the lake is away"):
        recorder.finish_segment("finished")
    recorder.start_segment("test")
    recorder.finish_segment("finished")  # a second warning would be an error here
    raising = record(lake, points=2, on_error="raise")
    with pytest.raises(OSError, match="the lake is away"):
        raising.finish_segment("finished")


def test_an_unwritable_folder_costs_nothing_but_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recorder = Recorder(LakeStorage(tmp_path / "file"), project="p", flush_every_s=0.02)
    recorder.start_segment("fit")
    recorder.log({"a": 1.0})
    with pytest.warns(RecordingWarning):
        recorder.finish_segment("finished")


KILLED = """
import sys, time
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Recorder
recorder = Recorder(LakeStorage(sys.argv[1]), project="p", flush_every_s=0.05)
recorder.start_segment("fit")
for step in range(100_000):
    recorder.log({"a": float(step)}, step=step)
    time.sleep(0.001)
    if step == 300:
        print("going", flush=True)
"""


def test_kill_9_leaves_a_readable_lake_and_a_lost_run(lake_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(lake_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"going\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    lake = Lake(lake_path)
    steps = lake.sql("select step from metrics order by step").column("step").to_pylist()
    assert len(steps) > 100
    assert steps == list(range(len(steps)))
    time.sleep(0.3)
    assert lake.sql("select status from runs").to_pylist() == [{"status": "lost"}]
