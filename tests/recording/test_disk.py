"""The spool's disk: full, with room again, and with rows on it that no lake will ever take."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import sync_spools
from lightning_lde.recording._blocks import MetricBlock
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import Rows, SpoolFolder, SpoolHeader, spool_files
from lightning_lde.schema import new_run_id
from lightning_lde.testing import Fault, FaultKind, FaultyStore

WAIT_S = 30.0


def until(condition: Callable[[], object]) -> None:
    """Wait for what must come."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def steps_of(lake: Lake, name: str = "a") -> list[int]:
    query = "select step from metrics where name = ? order by step"
    found: list[int] = lake.sql(query, [name]).column("step").to_pylist()
    return found


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """What the user is told meanwhile."""
    words: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield words
    words += [str(one.message) for one in caught if issubclass(one.category, RecordingWarning)]


# Full disks -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of a quarter of a megabyte with the spool on it."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount: {mounted.stderr.strip()}")
    monkeypatch.setenv("LDE_SPOOL_DIR", str(folder / "spool"))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no block free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def points(first: int, count: int) -> Rows:
    rows = np.zeros((count, 5))
    rows[:, 1] = rows[:, 4] = np.arange(first, first + count)
    return Rows(metrics=[MetricBlock(("a",), None, "logged", 0, rows)])


def taken(outbox: Outbox) -> list[int]:
    """The steps in all parcels, as a sender gets them."""
    outbox.seal()
    found: list[int] = []
    while (parcel := outbox.first()) is not None:
        found += [int(step) for rows in parcel.rows() for block in rows.metrics for step in block.rows[:, 1]]
        outbox.sent(parcel)
    return found


def new_header() -> SpoolHeader:
    writer = new_run_id()
    return SpoolHeader("lake", "p", "2026-11-21", writer, writer, 0)


@pytest.mark.parametrize("height", [1, 10, 60, 500])
def test_a_disk_that_fills_under_an_open_file_costs_no_row(small_disk: Path, height: int) -> None:
    outbox = Outbox(small_disk / "spool", new_header())
    outbox.add(points(0, height))
    ballast = fill(small_disk)
    count = height
    for _ in range(100):
        outbox.add(points(count, height))
        count += height
    ballast.unlink()
    outbox.seal()
    on_disk = set(small_disk.rglob("*.spool"))
    outbox.add(points(count, height))
    outbox.add(points(count + height, height))
    assert set(small_disk.rglob("*.spool")) - on_disk  # there is room, so it is used
    assert taken(outbox) == list(range(count + 2 * height))
    outbox.close()
    assert list((small_disk / "spool").iterdir()) == []


def test_a_disk_that_is_full_before_a_file_is_begun_is_used_when_it_has_room(small_disk: Path) -> None:
    outbox = Outbox(small_disk / "spool", new_header())
    ballast = fill(small_disk)
    outbox.add(points(0, 10))
    outbox.seal()
    outbox.add(points(10, 10))
    assert list(small_disk.rglob("*.spool")) == []
    ballast.unlink()
    outbox.seal()
    outbox.add(points(20, 10))
    assert len(list(small_disk.rglob("*.spool"))) == 1
    assert taken(outbox) == list(range(30))
    outbox.close()
    assert list((small_disk / "spool").iterdir()) == []


def test_a_disk_that_fills_again_and_again_costs_no_row(small_disk: Path) -> None:
    outbox = Outbox(small_disk / "spool", new_header())
    count = 0
    for _ in range(6):
        for _ in range(20):
            outbox.add(points(count, 7))
            count += 7
        ballast = fill(small_disk)
        for _ in range(40):
            outbox.add(points(count, 7))
            count += 7
        ballast.unlink()
        outbox.seal()
    assert taken(outbox) == list(range(count))
    outbox.close()
    assert list((small_disk / "spool").iterdir()) == []


# A limit on the size of files ends a write at any byte; a file system only where a block ends.
ANY_BYTE = """
import resource, sys
from pathlib import Path
from tests.recording.test_disk import new_header, points, taken
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import spool_files
for room in range(0, 260, 3):
    outbox = Outbox(Path(sys.argv[1]) / str(room), new_header())
    for step in range(5):
        outbox.add(points(step, 1))
    (file,) = spool_files(outbox.path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + room, resource.RLIM_INFINITY))
    for step in range(5, 10):
        outbox.add(points(step, 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    outbox.seal()
    outbox.add(points(10, 1))
    found = taken(outbox)
    assert found == list(range(11)), (room, found)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="there is no limit on the size of files")
def test_wherever_a_write_breaks_off_no_row_is_lost(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    here = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", ANY_BYTE, str(tmp_path)], cwd=here, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_run_whose_spool_disk_is_full_for_a_while_has_all_its_points(small_disk: Path, lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    faulty = FaultyStore(lake.storage.store)
    lake.storage.store = faulty
    with told() as words:
        recorder = Recorder(lake.storage, project="p", flush_every_s=0.2, system_metrics_every_s=None)
        recorder.start_segment("fit")
        recorder.log({"a": 0.0}, step=0)
        until(lambda: steps_of(lake) == [0])
        ballast = fill(small_disk)
        for step in range(1, 300):
            recorder.log({"a": float(step), **{f"other {n}": 1.0 for n in range(10)}}, step=step)
            time.sleep(0.004)
        until(lambda: len(steps_of(lake)) == 300)  # rows pass by the full disk
        ballast.unlink()
        until(lambda: not _parcels(small_disk))
        faulty.plan(lambda *_: Fault(FaultKind.BEFORE))
        recorder.log({"a": 300.0}, step=300)
        until(lambda: _parcels(small_disk))  # and wait on it again when it has room
        faulty.heal()
        assert recorder.finish_segment("finished")
    assert words == []
    assert steps_of(lake) == list(range(301))
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert list((small_disk / "spool").iterdir()) == []


def test_a_run_that_ends_while_its_spool_disk_is_full_is_whole(small_disk: Path, lake_path: Path) -> None:
    # The intervals are those of a user: a parcel is open on the disk when it fills.
    with told() as words, Recorder(lake_path, project="p", system_metrics_every_s=None) as recorder:
        recorder.log({"a": 0.0}, step=0)
        until(lambda: _parcels(small_disk))
        fill(small_disk)
        for step in range(1, 200):
            recorder.log({"a": float(step)}, step=step)
            if step % 20 == 0:
                recorder.checkpoint_state()  # writes small frames at once
    assert words == []
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(200))
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]


def _parcels(folder: Path) -> list[Path]:
    return list((folder / "spool").glob("*/*.spool"))


# Odd values -------------------------------------------------------------------------------------------------

ODD: dict[str, dict[str, Any]] = {
    "context is a number": {"values": {"odd": 1.0}, "context": 7},
    "context is a lone surrogate": {"values": {"odd": 1.0}, "context": "\ud800"},
    "context is bytes": {"values": {"odd": 1.0}, "context": b"train"},
    "context is a list": {"values": {"odd": 1.0}, "context": ["train"]},
    "source is a number": {"values": {"odd": 1.0}, "source": 7},
    "source is a lone surrogate": {"values": {"odd": 1.0}, "source": "\udfff"},
    "source is None": {"values": {"odd": 1.0}, "source": None},
    "loader is no 64-bit number": {"values": {"odd/dataloader_idx_99999999999999999999": 1.0}},
    "loader has digits of another script": {"values": {"odd/dataloader_idx_\u0661\u00b2": 1.0}},
    "step is a float": {"values": {"odd": 1.0}, "step": 1.5},
    "step is NaN": {"values": {"odd": 1.0}, "step": float("nan")},
    "step is a word": {"values": {"odd": 1.0}, "step": "1"},
    "step has more digits than Python prints": {"values": {"odd": 1.0}, "step": 10**5000},
    "epoch is a float": {"values": {"odd": 1.0}, "epoch": 0.5},
    "global step is a float": {"values": {"odd": 1.0}, "global_step": 2.0},
    "name is a number": {"values": {7: 1.0}},
    "name is a lone surrogate": {"values": {"odd\ud800": 1.0}},
    "name is None": {"values": {None: 1.0}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_one_odd_value_costs_no_other(lake_path: Path, own_spool: Path, odd: dict[str, Any]) -> None:
    with told() as words, Recorder(lake_path, project="p", flush_every_s=0.05, system_metrics_every_s=None) as recorder:
        recorder.log({"a": 1.0}, step=1)
        recorder.log(odd["values"], **{name: value for name, value in odd.items() if name != "values"})
        recorder.log({"a": 2.0}, step=2)
        until(lambda: (lake_path / "lde.json").exists() and len(steps_of(Lake(lake_path))) == 2)
        recorder.log({"a": 3.0}, step=3)
    lake = Lake(lake_path)
    assert words == []
    assert steps_of(lake) == [1, 2, 3]
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert list(own_spool.iterdir()) == []


ODD_FACTS: list[dict[str, Any]] = [{"seed": "abc"}, {"seed": 2**70}, {"name": 7}, {"tags": object()}]


@pytest.mark.parametrize("facts", ODD_FACTS, ids=["seed is a word", "seed is large", "name is a number", "no tags"])
def test_one_odd_fact_of_the_run_costs_no_point(lake_path: Path, facts: dict[str, Any]) -> None:
    with Recorder(lake_path, project="p", flush_every_s=0.05, system_metrics_every_s=None) as recorder:
        recorder.log({"a": 1.0}, step=1)
        recorder.update(**facts)
        recorder.log({"a": 2.0}, step=2)
    lake = Lake(lake_path)
    assert steps_of(lake) == [1, 2]
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]


# Rows that no lake will ever take ---------------------------------------------------------------------------


def impossible() -> Rows:
    """Rows of a type that Parquet does not have."""
    span = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    return Rows({"events": pa.table({"time": span})})


def test_a_parcel_that_can_never_be_written_is_set_aside(lake_path: Path, own_spool: Path) -> None:
    with told() as words:
        recorder = Recorder(lake_path, project="p", flush_every_s=0.05, system_metrics_every_s=None)
        recorder.start_segment("fit")
        recorder.log({"a": 1.0}, step=1)
        until(lambda: (lake_path / "lde.json").exists() and steps_of(Lake(lake_path)) == [1])
        with recorder._journal._lock:
            recorder._journal.outbox.add(impossible())
        until(lambda: list(own_spool.rglob("*.refused")))
        recorder.log({"a": 2.0}, step=2)
        until(lambda: steps_of(Lake(lake_path)) == [1, 2])  # what comes later goes on
        recorder.log({"a": 3.0}, step=3)
        recorder.finish_segment("finished")
    lake = Lake(lake_path)
    assert steps_of(lake) == [1, 2, 3]
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert "refused" in lake.sql("select kind from events").column("kind").to_pylist()
    assert list(own_spool.rglob("*.spool")) == []
    assert len(list(own_spool.rglob("*.refused"))) == 1
    assert all(".refused" in sentence for sentence in words)


def test_rows_that_can_never_be_written_do_not_hide_the_end_of_a_run(lake_path: Path, own_spool: Path) -> None:
    with told() as words:
        recorder = Recorder(lake_path, project="p", flush_every_s=600, system_metrics_every_s=None)
        recorder.start_segment("fit")
        until(lambda: (lake_path / "hot" / "runs").exists())
        recorder.log({"a": 1.0}, step=1)
        with recorder._journal._lock:
            recorder._journal.outbox.add(impossible())
        assert not recorder.finish_segment("finished")  # the parcel that is refused is the last one
    assert len(words) == 1
    lake = Lake(lake_path)
    assert steps_of(lake) == [1]
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert len(list(own_spool.rglob("*.refused"))) == 1


def test_a_sync_sets_aside_what_can_never_be_written(tmp_path: Path) -> None:
    lake = LakeStorage(tmp_path / "lake")
    header = new_header()
    folder = SpoolFolder(tmp_path / "spool", header.writer)
    for number, rows in enumerate([points(0, 2), impossible(), points(2, 2)]):
        file = folder.new_file(SpoolHeader(lake.absolute_url, "p", header.day, header.run_id, header.writer, number))
        file.append(rows)
        file.close()
    folder.close()
    errors = [outcome.error for outcome in sync_spools(tmp_path / "spool", LakeStorage)]
    assert [error is None for error in errors] == [True, False, True]
    assert steps_of(Lake(lake.url)) == [0, 1, 2, 3]
    assert spool_files(folder.path) == []
    assert len(list(folder.path.glob("*.refused"))) == 1
    assert list(sync_spools(tmp_path / "spool", LakeStorage)) == []  # it is not tried for ever
