"""What goes wrong costs only itself: bad rows, missing files, slow and failing stores, any identity."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lde import Lake
from lightning_lde.errors import RecordingWarning, StoreError
from lightning_lde.lake import StoredObject
from lightning_lde.recording import Recorder, _delivery, _recorder
from lightning_lde.schema import Episode, Event, utc_now


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    return Lake(lake_path).create()


class Faulty:
    """A store whose puts can be made to fail or to wait."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.failing = 0
        self.gate: threading.Event | None = None
        self.only = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, path: str, data: bytes) -> None:
        if self.only in path:
            if self.gate is not None:
                self.gate.wait(20)
            if self.failing:
                self.failing -= 1
                raise StoreError("503 slow down")
        self._store.put(path, data)


def open_recorder(lake: Lake, **options: Any) -> Recorder:
    recorder = Recorder(lake.storage, project="p", flush_every_s=0.05, **options)
    recorder.start_segment("fit")
    return recorder


def values(lake: Lake, name: str = "a") -> list[float]:
    return lake.sql("select value from metrics where name = ? order by step, value", [name]).column("value").to_pylist()


def statuses(lake: Lake) -> list[str]:
    return lake.sql("select status from runs").column("status").to_pylist()


def test_one_row_that_cannot_be_stored_costs_no_other(lake: Lake) -> None:
    recorder = open_recorder(lake)
    good = Episode(
        run_id=recorder.run_id, segment=0, episode_id="e", method="m", episode_seed=1, episode_index=0, classes=[1],
        ways=1, shots=1, queries=1, loss=0.0, accuracy=1.0,
    )  # fmt: skip
    bad = Episode(**{**vars(good), "episode_seed": 2**70})
    recorder.record("episodes", good, bad, good)
    recorder.log({"a": 1.0}, step=0)
    recorder.finish_segment("finished")
    assert lake.sql("select * from episodes").num_rows == 2
    assert values(lake) == [1.0]
    events = lake.sql("select kind, message from events").to_pylist()
    assert [event["kind"] for event in events] == ["refused"]
    assert "episodes" in events[0]["message"]


def test_values_that_are_no_numbers_are_left_out_and_named(lake: Lake) -> None:
    recorder = open_recorder(lake)
    recorder.log({"a": 1.0, "text": "abc", "vector": torch.ones(2), "none": None}, step=0)
    recorder.log({"a": 2.0, "text": "3.5"}, step=1)
    recorder.finish_segment("finished")
    assert values(lake) == [1.0, 2.0]
    assert values(lake, "text") == [3.5]
    refused = lake.sql("select message from events").column("message").to_pylist()
    assert sorted(message.split("'")[1] for message in refused) == ["none", "text", "vector"]


def test_tensors_and_dicts_may_change_after_they_were_logged(lake: Lake) -> None:
    recorder = open_recorder(lake)
    tensor, reused = torch.zeros(()), {"b": 0.0}
    for step in range(5):
        tensor.fill_(step)
        reused["b"] = float(step)
        recorder.log({"a": tensor}, step=step)
        recorder.log(reused, step=step)
    recorder.finish_segment("finished")
    assert values(lake) == values(lake, "b") == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("name", ["lone \ud800 surrogate", "", "new\nline", "🙂", "x" * 10_000, "null\x00byte"])
def test_any_name_is_stored(lake: Lake, name: str) -> None:
    recorder = open_recorder(lake)
    recorder.log({name: 1.0, "a": 2.0}, step=0)
    recorder.finish_segment("finished")
    assert values(lake) == [2.0]
    assert lake.sql("select count(*) as n from metrics").to_pylist() == [{"n": 2}]


@pytest.mark.parametrize(
    "identity", [{"name": 7}, {"tags": {"path": Path("x"), 3: None}}, {"name": "\ud800"}, {"experiment": "🙂"}]
)
def test_any_identity_is_stored(lake: Lake, identity: dict[str, Any]) -> None:
    open_recorder(lake, **identity).finish_segment("finished")
    assert statuses(lake) == ["finished"]


@pytest.mark.parametrize("project", ["\ud800", "../../x", "", "a/b"])
def test_any_project_is_stored(lake: Lake, project: str) -> None:
    recorder = Recorder(lake.storage, project=project, flush_every_s=0.05)
    recorder.start_segment("fit")
    recorder.finish_segment("finished")
    assert statuses(lake) == ["finished"]


def test_a_file_that_is_gone_is_an_event(lake: Lake, tmp_path: Path) -> None:
    recorder = open_recorder(lake)
    recorder.save_file(tmp_path / "nothing", path="nothing", kind="checkpoint")
    recorder.log({"a": 1.0}, step=0)
    recorder.finish_segment("finished")
    assert statuses(lake) == ["finished"]
    assert values(lake) == [1.0]
    assert "nothing was gone" in lake.sql("select message from events").to_pylist()[0]["message"]


def test_a_store_that_recovers_gets_everything(lake: Lake) -> None:
    faulty = Faulty(lake.storage.store)
    lake.storage.store = faulty  # type: ignore[assignment]
    recorder = open_recorder(lake)
    recorder.log({"a": 1.0}, step=0)
    time.sleep(0.2)
    faulty.failing = 2
    recorder.log({"a": 2.0}, step=1)
    recorder.finish_segment("finished")
    assert values(lake) == [1.0, 2.0]
    assert statuses(lake) == ["finished"]


def test_finished_is_never_seen_before_the_last_rows(lake: Lake) -> None:
    for attempt in range(8):
        recorder = open_recorder(lake, name=str(attempt))
        for step in range(200):
            recorder.log({"a": float(step)}, step=step)
        done = threading.Event()
        seen: list[int] = []

        def look(name: str = str(attempt), done: threading.Event = done, seen: list[int] = seen) -> None:
            while not seen and not done.wait(0.01):
                query = """select count(*) as n from metrics join runs using (run_id)
                           where runs.name = ? and status = 'finished'"""
                found = lake.sql(query, [name]).to_pylist()[0]["n"]
                if found:
                    seen.append(found)

        reader = threading.Thread(target=look)
        reader.start()
        recorder.finish_segment("finished")
        time.sleep(0.05)
        done.set()
        reader.join()
        assert set(seen) <= {200}


def test_a_lake_slower_than_our_patience_loses_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recorder, "FINISH_TIMEOUT_S", 0.3)
    faulty = Faulty(lake.storage.store)
    lake.storage.store = faulty  # type: ignore[assignment]
    recorder = open_recorder(lake)
    time.sleep(0.2)
    faulty.gate = threading.Event()
    for step in range(40):
        recorder.log({"a": float(step)}, step=step)
    with pytest.warns(RecordingWarning, match="did not answer"):
        recorder.finish_segment("finished")
    recorder.start_segment("test")
    for step in range(40, 80):
        recorder.log({"a": float(step)}, step=step)
        time.sleep(0.002)
    faulty.gate.set()
    recorder.finish_segment("finished")
    assert values(lake) == [float(step) for step in range(80)]
    assert lake.sql("select segment, status from stored.runs order by all").to_pylist()[-1] == {
        "segment": 1, "status": "finished",
    }  # fmt: skip


def test_a_late_end_of_an_upload_does_not_hide_the_heartbeat(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lake.storage.put_artifact

    def slow(source: Path) -> StoredObject:
        time.sleep(1.0)
        return real(source)

    monkeypatch.setattr(lake.storage, "put_artifact", slow)
    source = tmp_path / "big"
    source.write_bytes(b"x")
    recorder = open_recorder(lake)
    recorder.save_file(source, path="big", kind="checkpoint")
    deadline = time.monotonic() + 0.9
    while time.monotonic() < deadline:
        assert set(statuses(lake)) <= {"running"}
        time.sleep(0.02)
    recorder.finish_segment("finished")
    assert lake.read_artifact(recorder.run_id, "big") == b"x"


def test_a_failing_disk_thread_is_reported(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = open_recorder(lake)

    def broken(*_: object) -> None:
        raise RuntimeError("spool broke")

    monkeypatch.setattr(recorder._journal, "spool", broken)
    with pytest.warns(RecordingWarning, match="spool broke"):
        recorder.finish_segment("finished")


def test_who_was_told_by_an_error_is_not_warned_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_lde.recording._sender.TROUBLE_AFTER_S", 0.6)
    (tmp_path / "file").write_text("")
    recorder = Recorder(tmp_path / "file" / "lake", project="p", flush_every_s=0.05, on_error="raise")
    recorder.start_segment("fit")
    with pytest.raises(OSError, match="not completely in the lake"):
        recorder.finish_segment("finished")
    told: list[object] = []
    monkeypatch.setattr(_delivery, "tell", lambda *words: told.append(words))
    time.sleep(1.5)  # the sender goes on trying, and would complain by now
    assert told == []


def test_what_a_fit_said_stays_after_a_test(lake: Lake) -> None:
    recorder = open_recorder(lake)
    recorder.finish_segment("finished", stop_reason="enough")
    recorder.start_segment("test")
    recorder.finish_segment("finished")
    assert lake.sql("select stop_reason, stage from runs").to_pylist() == [{"stop_reason": "enough", "stage": "test"}]


def test_events_may_come_from_any_thread(lake: Lake) -> None:
    recorder = open_recorder(lake)

    def write(number: int) -> None:
        for step in range(500):
            recorder.log({f"m{number}": float(step)}, step=step)
            event = Event(
                run_id=recorder.run_id, segment=0, time=utc_now(), level="info", kind="k", message=f"{number} {step}"
            )
            recorder.record("events", event)

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.finish_segment("finished")
    assert lake.sql("select count(*) as n, count(distinct (name, step)) as d from metrics").to_pylist() == [
        {"n": 2000, "d": 2000}
    ]
    assert lake.sql("select count(distinct message) as n from events").to_pylist() == [{"n": 2000}]
