"""Lakes that stay away, in whatever words they say so: what was recorded stays sendable, and nothing is left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.errors import RecordingWarning, RowsError
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.stores import Store
from lightning_lde.recording import sync_spools
from lightning_lde.testing import Fault, FaultKind, FaultyStore


class ClientError(Exception):
    """What botocore, google and azure raise: no OSError."""


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    return Lake(lake_path).create()


def faulty(lake: Lake, error: Callable[[str], Exception]) -> FaultyStore:
    store = FaultyStore(lake.storage.store, lambda *_: Fault(FaultKind.BEFORE, error=error))
    lake.storage.store = store
    return store


def opened(lake: Lake, **options: Any) -> Recorder:
    words = {"project": "p", "flush_every_s": 0.05, "system_metrics_every_s": None}
    recorder = Recorder(lake.storage, **{**words, **options})
    recorder.start_segment("fit")
    return recorder


def steps_of(lake: Lake | Path) -> list[int]:
    where = lake if isinstance(lake, Lake) else Lake(lake)
    found: list[int] = where.sql("select step from metrics where name = 'a' order by step").column("step").to_pylist()
    return found


def sync(spool: Path) -> list[str | None]:
    return [outcome.error for outcome in sync_spools(spool, lambda url, _: LakeStorage(url))]


@pytest.mark.parametrize("error", [ClientError, ValueError, MemoryError])
def test_an_outage_in_a_clients_own_words_puts_nothing_aside(
    lake: Lake, lake_path: Path, own_spool: Path, error: Callable[[str], Exception]
) -> None:
    store = faulty(lake, error)
    store.heal()
    recorder = opened(lake)
    recorder.log({"a": 1.0}, step=0)
    while not [call for call in store.calls if call.operation == "put"]:
        time.sleep(0.01)
    store.plan(lambda *_: Fault(FaultKind.BEFORE, error=error))
    for step in range(1, 20):
        recorder.log({"a": 1.0}, step=step)
        time.sleep(0.01)
    store.heal()
    assert recorder.finish_segment("finished")
    assert list(own_spool.rglob("*.refused")) == []
    assert steps_of(lake_path) == list(range(20))


@pytest.mark.parametrize("error", [ClientError, OSError])
def test_what_is_given_up_is_an_orphan_that_a_sync_in_the_same_process_sends(
    lake: Lake, lake_path: Path, own_spool: Path, error: Callable[[str], Exception]
) -> None:
    store = faulty(lake, error)
    recorder = opened(lake)
    recorder.log({"a": 1.0}, step=0)
    with pytest.warns(RecordingWarning, match="lde sync"):
        assert not recorder.finish_segment("finished")
    store.heal()
    assert set(sync(own_spool)) == {None}
    assert steps_of(lake_path) == [0]
    assert Lake(lake_path).sql("select status from runs").to_pylist() == [{"status": "finished"}]


def test_a_later_segment_sends_what_an_earlier_one_could_not(lake: Lake, lake_path: Path, own_spool: Path) -> None:
    store = faulty(lake, OSError)
    recorder = opened(lake)
    recorder.log({"a": 1.0}, step=0)
    with pytest.warns(RecordingWarning):
        recorder.finish_segment("finished")
    store.heal()
    recorder.start_segment("test")
    recorder.log({"a": 2.0}, step=1)
    assert recorder.finish_segment("finished")
    assert steps_of(lake_path) == [0, 1]
    assert list(own_spool.iterdir()) == []


def test_runs_that_were_given_up_leave_no_thread_and_no_recorder(lake: Lake) -> None:
    faulty(lake, OSError)
    before = threading.active_count()
    recorders = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(3):
            recorder = opened(lake, name=str(number))
            recorder.log({"a": 1.0}, step=0)
            recorder.finish_segment("finished")
            recorders.append(weakref.ref(recorder))
    del recorder
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    gc.collect()
    assert threading.active_count() <= before
    assert [one() for one in recorders] == [None] * 3


def test_files_that_were_not_stored_are_named(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"weights")
    faulty(lake, OSError)
    recorder = opened(lake)
    recorder.save_file(tmp_path / "last.ckpt", path="checkpoints/last.ckpt", kind="checkpoint")
    with pytest.warns(RecordingWarning, match=r"files that are not stored.*: checkpoints/last\.ckpt"):
        assert not recorder.finish_segment("finished")


def test_a_file_that_cannot_be_read_holds_up_no_other(lake: Lake, lake_path: Path, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "folder").mkdir()
    recorder = opened(lake)
    recorder.save_file(tmp_path / "folder", path="folder", kind="other")
    recorder.save_file(tmp_path / "good", path="good", kind="other")
    assert recorder.finish_segment("finished")
    reader = Lake(lake_path)
    assert reader.sql("select path from artifacts").to_pylist() == [{"path": "good"}]
    [event] = reader.sql("select message from events where kind = 'artifact'").to_pylist()
    assert "folder could not be read" in event["message"]


def test_rows_that_no_storage_would_take_are_told_apart_from_a_storage_that_is_away(lake: Lake) -> None:
    import pyarrow as pa

    unwritable = pa.table({"value": pa.nulls(1, pa.null())}).append_column("union", _union())
    place: dict[str, Any] = {"project": "p", "day": date(2026, 1, 1), "writer": "w", "first": 0}
    with pytest.raises(RowsError, match="rows of metrics cannot be written"):
        lake.storage.append("metrics", unwritable, **place)


def _union() -> Any:
    import pyarrow as pa

    return pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])


AWAY_AT_THE_END = """
import atexit, sys, time, warnings
{first}
from lightning_lde import Recorder
from lightning_lde.recording import _recorder
_recorder.INTERRUPTED_TIMEOUT_S = _recorder.FINISH_TIMEOUT_S = 0.5
_recorder.FINISH_PATIENCE_S = 0.2
warnings.simplefilter("ignore")

from lightning_lde.lake.stores import _arrow
put = _arrow.ArrowS3Store.put
def slow(self, path, data):
    time.sleep(0.3)
    put(self, path, data)
_arrow.ArrowS3Store.put = slow

options = dict(key="testing", secret="testing", endpoint_url=sys.argv[1])
recorder = Recorder(sys.argv[2], project="p", flush_every_s=0.05, storage_options=options, system_metrics_every_s=None)
recorder.start_segment("fit")
for step in range(10):
    recorder.log({{"a": 1.0}}, step=step)
    time.sleep(0.06)
{end}
"""


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.parametrize(
    "first", ["from lightning_lde import log", pytest.param("atexit.register(time.sleep, 1.0)", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "end",
    [pytest.param("recorder.finish_segment('finished')", marks=pytest.mark.slow), "pass"],
    ids=["closed", "left open"],
)
def test_a_bucket_that_is_closed_with_the_process_costs_nothing(
    s3_server: Any, own_spool: Path, first: str, end: str
) -> None:
    url = f"s3://{s3_server.new_bucket()}/lake"
    program = AWAY_AT_THE_END.format(first=first, end=end)
    done = subprocess.run([sys.executable, "-c", program, s3_server.endpoint, url], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(own_spool.rglob("*.refused")) == []
    list(sync_spools(own_spool, lambda address, _: LakeStorage(address, s3_server.options)))
    lake = Lake(url, s3_server.options)
    assert steps_of(lake) == list(range(10))
    status = "finished" if "finish" in end else "interrupted"
    assert lake.sql("select status from runs").to_pylist() == [{"status": status}]


def test_a_store_of_fsspec_translates_whatever_its_client_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_lde.errors import StoreError
    from lightning_lde.lake.stores import open_store

    store: Store = open_store("memory://given-up", None)

    def fail(*_: object) -> None:
        raise ClientError("the endpoint cannot be reached")

    monkeypatch.setattr(store._filesystem, "pipe_file", fail)  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="the endpoint cannot be reached"):
        store.put("x", b"1")
