"""A spool on a disk that several machines share, where a lock may be known to one of them only."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import _spool, sync_spools


def open_recorder(lake: LakeStorage | Path) -> Recorder:
    recorder = Recorder(lake, project="p", flush_every_s=60.0, system_metrics_every_s=None)
    recorder.start_segment("fit")
    return recorder


def sync(spool: Path) -> int:
    return len(list(sync_spools(spool, lambda url, _: LakeStorage(url))))


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of other machines are not seen here."""
    monkeypatch.setattr(_spool.fcntl, "flock", lambda *_: None)


@pytest.mark.usefixtures("without_locks")
def test_a_run_that_lives_on_another_machine_is_left_alone(
    lake_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = open_recorder(lake_path)
    recorder.log({"a": 1.0}, step=0)
    recorder.make_durable()
    monkeypatch.setattr(_spool, "_this_boot", lambda: b"another machine")
    assert sync(own_spool) == 0
    monkeypatch.undo()
    monkeypatch.setenv("LDE_SPOOL_DIR", str(own_spool))
    assert recorder.finish_segment("finished")
    assert Lake(lake_path).sql("select count(*) as n from metrics").to_pylist() == [{"n": 1}]


@pytest.mark.usefixtures("without_locks")
def test_what_a_machine_left_that_is_silent_is_sent(
    lake_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = open_recorder(lake_path)
    recorder.log({"a": 1.0}, step=0)
    recorder.make_durable()
    [folder] = own_spool.iterdir()
    long_ago = time.time() - 2000
    for path in folder.iterdir():
        os.utime(path, (long_ago, long_ago))
    monkeypatch.setattr(_spool, "_this_boot", lambda: b"another machine")
    assert sync(own_spool) > 0
    assert Lake(lake_path).sql("select count(*) as n from metrics").to_pylist() == [{"n": 1}]
    recorder.finish_segment("finished")


def test_a_run_shows_that_it_lives_however_little_it_logs(
    lake_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spool, "_SIGN_EVERY_S", 0.05)
    recorder = open_recorder(lake_path)
    [lock] = own_spool.rglob("lock")
    seen = set()
    deadline = time.monotonic() + 10
    while len(seen) < 3 and time.monotonic() < deadline:
        seen.add(lock.stat().st_mtime_ns)
        time.sleep(0.1)
    recorder.finish_segment("finished")
    assert len(seen) >= 3


def test_rows_that_were_taken_out_of_the_spool_hold_up_nothing(lake_path: Path, own_spool: Path) -> None:
    recorder = open_recorder(lake_path)
    recorder.log({"a": 1.0}, step=0)
    recorder.make_durable()
    for path in own_spool.rglob("*.spool"):
        path.unlink()
    recorder.log({"b": 1.0}, step=1)
    assert recorder.finish_segment("finished")
    recorder.start_segment("test")
    recorder.log({"c": 1.0}, step=2)
    assert recorder.finish_segment("finished")
    lake = Lake(lake_path)
    assert lake.sql("select name from metrics").to_pylist() == [{"name": "c"}]
    assert lake.sql("select message from events where kind = 'refused'").to_pylist() != []
