"""Spool files that were damaged on the disk: what can be read arrives, the file is kept, and it is said."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import sync_spools
from lightning_lde.recording._blocks import MetricBlock
from lightning_lde.recording._frames import MAGIC, METRICS, frame, read_frames
from lightning_lde.recording._objects import SmallObject
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import Rows, SpoolFile, SpoolFolder, SpoolHeader, SpoolRows, spool_files
from lightning_lde.schema import Event, new_run_id, records_to_arrow, utc_now
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .test_disk import told, until

N_PORTIONS = 16


def new_header(lake: str = "lake") -> SpoolHeader:
    writer = new_run_id()
    return SpoolHeader(lake, "p", "2026-11-21", writer, writer, 0)


def point(step: int) -> Rows:
    rows = np.array([[1.7e15, step, step, 0.0, step / 7]])
    return Rows(metrics=[MetricBlock(("a",), None, "logged", 0, rows)])


def portion(step: int) -> Rows:
    """One frame: metrics, an object, or an event."""
    if step % 6 == 4:
        return Rows(objects=[SmallObject(random.Random(step).randbytes(60))])
    if step % 6 == 5:
        event = Event(run_id="r", segment=0, time=utc_now(), level="info", kind="step", message=str(step))
        return Rows({"events": records_to_arrow("events", [event])})
    return point(step)


def steps_in(portions: Iterable[Rows]) -> list[int]:
    found: list[int] = []
    for rows in portions:
        found += [int(step) for block in rows.metrics for step in block.rows[:, 1]]
    return found


def bounds_of(path: Path) -> list[int]:
    """Where the frames of a sound file begin."""
    with path.open("rb") as file:
        return [found.at for found in read_frames(file, pytest.fail)]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A file of many portions of metrics."""
    file = SpoolFile(tmp_path / "000000.spool", new_header())
    for step in range(N_PORTIONS):
        file.append(point(step))
    file.close()
    return file.path


def test_no_byte_can_be_damaged_in_silence(sound: Path) -> None:
    whole, masks = sound.read_bytes(), itertools.cycle([0x01, 0x80, 0xFF])
    first = bounds_of(sound)[1]
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= next(masks)
        sound.write_bytes(data)
        rows = SpoolRows(sound)
        found = steps_in(rows)
        assert rows.damage is not None, place
        assert found == sorted(set(found))
        # Of many portions one is missing: the one that was damaged.
        assert N_PORTIONS - len(found) == (place >= first), place


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (3, 9), (1, N_PORTIONS), (N_PORTIONS - 1, N_PORTIONS)])
def test_what_stands_before_and_behind_garbage_is_read(sound: Path, begin: int, end: int) -> None:
    data, bounds = bytearray(sound.read_bytes()), [*bounds_of(sound)[1:], sound.stat().st_size]
    data[bounds[begin] : bounds[end]] = random.Random(0).randbytes(bounds[end] - bounds[begin])
    sound.write_bytes(data)
    rows = SpoolRows(sound)
    assert steps_in(rows) == [*range(begin), *range(end, N_PORTIONS)]
    assert rows.damage is not None
    assert "cannot be read" in rows.damage


@pytest.mark.parametrize("tail", [bytes(4096), b"x" * 100, MAGIC * 3], ids=["zeros", "letters", "another beginning"])
def test_a_tail_that_no_process_wrote_is_damage(sound: Path, tail: bytes) -> None:
    sound.write_bytes(sound.read_bytes() + tail)
    rows = SpoolRows(sound)
    assert steps_in(rows) == list(range(N_PORTIONS))
    assert rows.damage is not None


def test_a_torn_end_behind_a_damaged_middle(sound: Path) -> None:
    bounds = bounds_of(sound)
    data = bytearray(sound.read_bytes())
    data[bounds[5] + 15] ^= 1
    sound.write_bytes(data[: bounds[-1] + 30])
    rows = SpoolRows(sound)
    assert steps_in(rows) == [step for step in range(N_PORTIONS - 1) if step != 4]
    assert rows.damage is not None
    assert rows.damage.count("cannot be read") == 1


def test_rows_of_a_later_version_are_left_out_and_said(sound: Path) -> None:
    strange = b"".join(bytes(piece) for piece in frame([b"X", b"of a later version"]))
    more = b"".join(bytes(piece) for piece in frame([METRICS, b"\xff\xff"]))
    sound.write_bytes(sound.read_bytes() + strange + more)
    rows = SpoolRows(sound)
    assert steps_in(rows) == list(range(N_PORTIONS))
    assert rows.damage is not None
    assert rows.damage.count("cannot be understood") == 2


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_what_a_damaged_file_holds_is_sent_and_the_file_is_kept(tmp_path: Path, place: float, mask: int) -> None:
    root = tmp_path / new_run_id()
    lake = Lake(root / "lake").create()
    folder = SpoolFolder(root / "spool", new_run_id())
    file = folder.new_file(new_header(lake.url))
    for step in range(N_PORTIONS):
        file.append(portion(step))
    file.close()
    folder.close()
    data = bytearray(file.path.read_bytes())
    at = int(place * len(data))
    data[at] ^= mask
    file.path.write_bytes(data)
    [outcome] = sync_spools(root / "spool", LakeStorage)
    # No single byte goes unnoticed, so the file is there as it was found.
    assert outcome.error is not None
    kept = [path for path in file.path.parent.iterdir() if path.suffix in {".spool", ".refused"}]
    assert [path.read_bytes() for path in kept] == [bytes(data)]
    steps = lake.sql("select step from metrics union all select message::bigint from events").column("step")
    objects = {path.name for path in (root / "lake" / "objects").glob("*/*")}
    arrived = len(steps) + len(objects)
    if outcome.run_id is None:
        assert "not a readable spool file" in outcome.error
        assert kept[0].suffix == ".spool"
        assert arrived == 0
        return
    assert kept[0].suffix == ".refused"
    assert "is damaged" in outcome.error
    assert arrived == N_PORTIONS - 1
    assert outcome.rows == len(steps)
    # Nobody sends it again.
    assert list(sync_spools(root / "spool", LakeStorage)) == []


def test_the_command_says_what_was_damaged(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    folder = SpoolFolder(tmp_path / "spool", new_run_id())
    file = folder.new_file(new_header(lake.url))
    for step in range(3):
        file.append(point(step))
    file.close()
    folder.close()
    data = bytearray(file.path.read_bytes())
    data[-1] ^= 1
    file.path.write_bytes(data)
    done = CliRunner().invoke(app, ["sync", str(tmp_path / "spool")])
    assert done.exit_code == 2
    assert "2 rows, not all: 000000.spool of the spool is damaged: bytes " in done.output
    assert CliRunner().invoke(app, ["sync", str(tmp_path / "spool")]).exit_code == 0


def test_of_a_sound_file_nothing_is_said(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    folder = SpoolFolder(tmp_path / "spool", new_run_id())
    file = folder.new_file(new_header(lake.url))
    for step in range(N_PORTIONS):
        file.append(portion(step))
    file.close()
    folder.close()
    [outcome] = sync_spools(tmp_path / "spool", LakeStorage)
    assert (outcome.error, outcome.rows, folder.path.exists()) == (None, 14, False)


def test_a_parcel_that_lost_its_end_is_noticed_by_who_wrote_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, new_header())
    for step in range(6):
        outbox.add(point(step))
    outbox.seal()
    parcel, [path] = outbox.first(), spool_files(tmp_path / outbox.next_header.writer)
    assert parcel is not None
    assert steps_in(parcel.rows()) == list(range(6))
    assert parcel.damage is None
    path.write_bytes(path.read_bytes()[: bounds_of(path)[-1]])
    assert steps_in(parcel.rows()) == list(range(5))
    assert "bytes are missing" in str(parcel.damage)
    outbox.refused(parcel)
    outbox.close()
    assert [one.name for one in (tmp_path / outbox.next_header.writer).glob("*.refused")] == ["000000.refused"]


def _portions_of_metrics(path: Path) -> Iterator[tuple[int, list[int]]]:
    """Where the portions of metrics in a sound file begin, and their steps."""
    with path.open("rb") as file:
        places = [found.at for found in read_frames(file, pytest.fail) if bytes(found.payload[:1]) == METRICS]
    yield from zip(places, ([*steps_in([rows])] for rows in SpoolRows(path) if rows.metrics), strict=True)


def test_a_live_run_keeps_and_reports_what_its_disk_has_damaged(lake_path: Path, own_spool: Path) -> None:
    lake = Lake(lake_path).create()
    faulty = FaultyStore(lake.storage.store)
    lake.storage.store = faulty
    n_steps = 0
    with told() as words:
        recorder = Recorder(lake.storage, project="p", flush_every_s=0.1, system_metrics_every_s=None)
        recorder.start_segment("fit")
        faulty.plan(lambda *_: Fault(FaultKind.BEFORE))

        def waiting() -> list[tuple[Path, int, list[int]]]:
            nonlocal n_steps
            recorder.log({"a": float(n_steps)}, step=n_steps)
            n_steps += 1
            # The last one is being written, and the first may have been read already.
            sealed = sorted(own_spool.glob("*/*.spool"))[1:-1]
            return [(path, at, steps) for path in sealed for at, steps in _portions_of_metrics(path)]

        until(waiting)
        path, at, lost = waiting()[0]
        data = bytearray(path.read_bytes())
        data[at + 20] ^= 1
        path.write_bytes(data)
        faulty.heal()
        until(lambda: list(own_spool.rglob("*.refused")))
        assert not recorder.finish_segment("finished")
    steps = lake.sql("select step from metrics where name = 'a' order by step").column("step").to_pylist()
    assert steps == [step for step in range(n_steps) if step not in lost]
    messages = lake.sql("select message from events where kind = 'refused'").column("message").to_pylist()
    assert any("is damaged" in message for message in messages)
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    [aside] = own_spool.rglob("*.refused")
    assert aside.read_bytes() == bytes(data)
    assert any(".refused" in sentence for sentence in words)


def test_a_run_says_what_was_damaged_of_a_run_that_died(lake_path: Path, own_spool: Path) -> None:
    folder = SpoolFolder(own_spool, new_run_id())
    header = new_header(str(lake_path.absolute()))
    file = folder.new_file(replace(header, number=0))
    for step in range(3):
        file.append(point(step))
    file.close()
    folder.close()
    data = bytearray(file.path.read_bytes())
    data[bounds_of(file.path)[2] + 20] ^= 1
    file.path.write_bytes(data)
    recorder = Recorder(LakeStorage(lake_path), project="p", flush_every_s=0.05, system_metrics_every_s=None)
    recorder.start_segment("fit")
    lake = Lake(lake_path)
    refused = "select message from events where kind = 'refused'"
    until(lambda: (lake_path / "lde.json").exists() and len(lake.sql(refused)))
    recorder.finish_segment("finished")
    messages = lake.sql(refused).column("message").to_pylist()
    assert len(list(own_spool.rglob("*.refused"))) == 1
    assert [header.run_id in message and "is damaged" in message for message in messages] == [True]
    assert lake.sql("select step from metrics where name = 'a' order by 1").column("step").to_pylist() == [0, 2]
