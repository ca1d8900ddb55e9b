"""A writer that was silent for long may have been taken for dead: what it wrote before may be in the cold tables."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.lake import LEASE
from lightning_lde.recording import Rows, _writer
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import SpoolHeader
from lightning_lde.recording._writer import LakeWriter
from lightning_lde.schema import Event, Run, new_run_id, records_to_arrow

LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)
NONE = timedelta(0)


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(_writer, "_now_s", made)
    return made


class Sending:
    """A writer with its outbox; each parcel brings an event with its number, and a state."""

    def __init__(self, lake: Lake, spool: Path) -> None:
        run_id = new_run_id()
        header = SpoolHeader(
            lake=lake.url, project="p", day="2026-01-01", run_id=run_id, writer=run_id, number=0, options={}
        )
        self.run_id = run_id
        self.outbox = Outbox(spool, header)
        self.writer = LakeWriter(lake.storage, header, lambda sentence: None, Governance())
        self.n = 0

    def seal(self) -> None:
        event = Event(run_id=self.run_id, segment=0, time=LONG_AGO, level="info", kind="n", message=str(self.n))
        state = Run(
            run_id=self.run_id, segment=0, revision=self.n, project="p", status="running", started_at=LONG_AGO,
            heartbeat_at=LONG_AGO, heartbeat_every_s=5.0,
        )  # fmt: skip
        tables = {"events": records_to_arrow("events", [event]), "runs": records_to_arrow("runs", [state])}
        self.outbox.add(Rows(tables))
        self.outbox.seal()
        self.n += 1

    def send(self) -> None:
        self.seal()
        self.writer.send(self.outbox)


def messages(lake: Lake) -> list[str]:
    return sorted(lake.sql("select message from stored.events where kind = 'n'").column("message").to_pylist())


@pytest.mark.parametrize("grace", [NONE, timedelta(hours=1)])
@pytest.mark.parametrize("is_compacted", [True, False])
def test_after_a_long_silence_nothing_is_there_twice(
    lake_path: Path, tmp_path: Path, clock: Clock, grace: timedelta, is_compacted: bool
) -> None:
    lake = Lake(lake_path).create()
    sending = Sending(lake, tmp_path / "spool")
    for _ in range(2):
        sending.send()
    if is_compacted:
        lake.storage.compact(silent_for=NONE, grace=grace)
    clock.now_s += LEASE.total_seconds() + 1
    for _ in range(2):
        sending.send()
    sending.writer.merge()
    assert messages(lake) == ["0", "1", "2", "3"]
    lake.storage.compact(silent_for=NONE, grace=NONE)
    assert messages(lake) == ["0", "1", "2", "3"]


def test_who_falls_silent_before_the_end_does_not_merge(lake_path: Path, tmp_path: Path, clock: Clock) -> None:
    lake = Lake(lake_path).create()
    sending = Sending(lake, tmp_path / "spool")
    for _ in range(2):
        sending.send()
    clock.now_s += LEASE.total_seconds() + 1
    sending.writer.merge()
    assert len(lake.storage.snapshot().files["events"]) == 2


def test_a_parcel_whose_answer_was_lost_is_not_written_again(lake_path: Path, tmp_path: Path, clock: Clock) -> None:
    lake = Lake(lake_path).create()
    sending = Sending(lake, tmp_path / "spool")
    sending.seal()
    place = {"project": "p", "day": LONG_AGO.date(), "writer": sending.run_id, "first": 0}
    parcel = sending.outbox.first()
    assert parcel is not None
    for rows in parcel.rows():
        for table, part in rows.tables.items():
            lake.storage.append(table, part, **place)  # type: ignore[arg-type]
    lake.storage.compact(silent_for=NONE, grace=NONE)
    clock.now_s += LEASE.total_seconds() + 1
    sending.writer.send(sending.outbox)
    assert sending.outbox.first() is None
    assert messages(lake) == ["0"]


def test_a_recorder_with_a_day_between_its_segments(lake_path: Path, clock: Clock) -> None:
    run = Recorder(lake_path, project="p", system_metrics_every_s=None)
    lake = Lake(lake_path)
    for step in range(3):
        run.start_segment("fit")
        run.log({"x": float(step)}, step=step)
        run.finish_segment("finished")
        lake.storage.compact(silent_for=NONE, grace=timedelta(hours=1))
        clock.now_s += 24 * 3600
    assert lake.sql("select value from metrics order by step").column("value").to_pylist() == [0.0, 1.0, 2.0]
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]
