"""The spool: what it took survives kill -9, a lake that is away, torn files, and being sent twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_lde import Lake
from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Recorder, sync_spools
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import (
    Rows,
    SpoolFile,
    SpoolFolder,
    SpoolHeader,
    SpoolRows,
    read_header,
    spool_files,
)
from lightning_lde.schema import Event, new_run_id, records_to_arrow, utc_now

RUN = new_run_id()
HEADER = SpoolHeader("lake", "p/ü", "2026-11-21", RUN, RUN, 3)


def rows(*messages: str) -> Rows:
    events = [
        Event(run_id="r", segment=0, time=utc_now(), level="info", kind="k", message=message) for message in messages
    ]
    return Rows({"events": records_to_arrow("events", events)})


def messages(portions: Iterable[Rows]) -> list[str]:
    tables = [portion.tables["events"] for portion in portions]
    return [message for table in tables for message in table.column("message").to_pylist()]


def send_all(root: Path) -> list[str | None]:
    return [outcome.error for outcome in sync_spools(root, LakeStorage)]


def test_a_file_reads_back(tmp_path: Path) -> None:
    file = SpoolFile(tmp_path / "000003.spool", HEADER)
    file.append(rows("a", "b"))
    file.append(rows("c"))
    assert read_header(file.path) == HEADER
    assert messages(SpoolRows(file.path)) == ["a", "b", "c"]
    file.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.floats(0, 1))
def test_a_torn_file_gives_a_true_beginning(tmp_path: Path, cut: float) -> None:
    whole = [str(n) for n in range(6)]
    path = tmp_path / f"{time.time_ns()}.spool"
    file = SpoolFile(path, HEADER)
    for message in whole:
        file.append(rows(message))
    file.close()
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    try:
        assert read_header(path) == HEADER
    except ValueError:
        return
    portions = SpoolRows(path)
    found = messages(portions)
    assert found == whole[: len(found)]
    assert portions.damage is None  # so dies a process: nothing that was acknowledged is missing
    if cut == 1.0:
        assert found == whole


def test_a_locked_folder_belongs_to_a_live_run(tmp_path: Path) -> None:
    lake = LakeStorage(tmp_path / "lake")
    folder = SpoolFolder(tmp_path / "spool", HEADER.writer)
    file = folder.new_file(replace(HEADER, lake=lake.url))
    file.append(rows("a"))
    file.close()
    assert send_all(tmp_path / "spool") == []
    folder.close()
    assert send_all(tmp_path / "spool") == [None]
    assert not folder.path.exists()
    assert Lake(lake.url).sql("select message from events").to_pylist() == [{"message": "a"}]


def test_sending_twice_is_sending_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    folder = SpoolFolder(tmp_path / "spool", HEADER.writer)
    file = folder.new_file(replace(HEADER, lake=lake.url))
    file.append(rows("a", "b"))
    file.close()
    copy = file.path.read_bytes()
    folder.close()
    send_all(tmp_path / "spool")
    folder.path.mkdir(parents=True)
    file.path.write_bytes(copy)  # as if the process had died between sending and deleting
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send_all, [tmp_path / "spool"] * 4))
    assert lake.sql("select count(*) as n from events").to_pylist() == [{"n": 2}]


def test_files_that_are_no_spools_are_named_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / HEADER.writer
    folder.mkdir(parents=True)
    (folder / "000000.spool").write_bytes(b"something else")
    assert ["not a readable spool" in str(error) for error in send_all(tmp_path / "spool")] == [True]
    assert spool_files(folder)


def test_without_a_disk_rows_wait_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outbox = Outbox(tmp_path / "file", HEADER)
    assert outbox.path is None
    outbox.add(rows("a"))
    outbox.add(rows("b"))
    outbox.seal()
    outbox.add(rows("c"))
    outbox.seal()
    found = []
    while (parcel := outbox.first()) is not None:
        found.append((parcel.number, messages(parcel.rows())))
        outbox.sent(parcel)
    assert found == [(3, ["a", "b"]), (4, ["c"])]


def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path, HEADER)
    outbox.add(rows("a"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SpoolFile, "append", full)
    outbox.add(rows("b"))
    outbox.seal()
    found = []
    while (parcel := outbox.first()) is not None:
        found += messages(parcel.rows())
        outbox.sent(parcel)
    assert found == ["a", "b"]
    outbox.close()


def test_a_lake_that_stays_away_can_be_sent_to_later(tmp_path: Path, own_spool: Path) -> None:
    blocker = tmp_path / "place"
    blocker.write_text("a file where the lake should be")
    recorder = Recorder(LakeStorage(blocker / "lake"), project="p", flush_every_s=0.05)
    recorder.start_segment("fit")
    for step in range(100):
        recorder.log({"a": float(step)}, step=step)
        time.sleep(0.002)
    with pytest.warns(RecordingWarning, match="lde sync"):
        recorder.finish_segment("finished")
    blocker.unlink()
    assert set(send_all(own_spool)) == {None}
    lake = Lake(blocker / "lake")
    assert lake.sql("select count(distinct step) as d, count(*) as n from metrics").to_pylist() == [
        {"d": 100, "n": 100}
    ]
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]


KILLED = """
import sys, time
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Recorder
recorder = Recorder(LakeStorage(sys.argv[1]), project="p", flush_every_s=float(sys.argv[2]))
recorder.start_segment("fit")
for step in range(100_000):
    recorder.log({"a": float(step), "at": time.time()}, step=step)
    time.sleep(0.002)
    if step == 20:
        print("going", flush=True)
"""


@pytest.mark.parametrize(("flush_every_s", "wait_s"), [(60.0, 2.6), (0.05, 0.7), (0.3, 1.5)])
def test_kill_9_costs_at_most_the_last_second(
    lake_path: Path, own_spool: Path, flush_every_s: float, wait_s: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(lake_path), str(flush_every_s)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"going\n"
    time.sleep(wait_s)
    process.send_signal(signal.SIGKILL)
    killed_at = time.time()
    process.wait()
    process.stdout.close()
    assert set(send_all(own_spool)) <= {None}
    lake = Lake(lake_path)
    steps = lake.sql("select step from metrics where name = 'a' order by step").column("step").to_pylist()
    assert steps == list(range(len(steps)))
    last = lake.sql("select max(value) as last from metrics where name = 'at'").to_pylist()[0]["last"]
    assert killed_at - last < 1.5  # a second, and what a busy machine adds
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]


def test_the_next_run_takes_the_orphans_along(lake_path: Path, own_spool: Path) -> None:
    folder = SpoolFolder(own_spool, HEADER.writer)
    for number, lake in enumerate([str(lake_path.absolute()), "/another/lake"]):
        file = folder.new_file(replace(HEADER, lake=lake, number=number))
        file.append(rows(f"orphan {number}"))
        file.close()
    folder.close()
    recorder = Recorder(LakeStorage(lake_path), project="p", flush_every_s=0.05)
    recorder.start_segment("fit")
    # No end waits for the orphans of others.
    deadline = time.monotonic() + 30
    while len(spool_files(folder.path)) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    recorder.finish_segment("finished")
    assert Lake(lake_path).sql("select message from events").to_pylist() == [{"message": "orphan 0"}]
    assert [path.name for path in spool_files(folder.path)] == ["000001.spool"]
