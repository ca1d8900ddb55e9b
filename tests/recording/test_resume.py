"""Training that goes on from a checkpoint goes on in the same run: no step lost, none of a past that was given up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lde import Lake, Recorder
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import Moment, RunState, _journal, _resume, sync_spools
from lightning_lde.schema import utc_now

PROGRAM = """
import json, pathlib, sys, time
from lightning_lde import Recorder
lake, checkpoint, first, last, save_at = sys.argv[1], pathlib.Path(sys.argv[2]), *map(int, sys.argv[3:])
state = json.loads(checkpoint.read_text()) if first else None
run = Recorder(lake, project="p", flush_every_s=0.05, resume=state)
run.__enter__()
for step in range(first, last):
    run.log({"loss": float(step), "twice": 2.0 * step}, step=step, global_step=step + 1, context="train")
    if step + 1 == save_at:
        checkpoint.write_text(json.dumps(run.checkpoint_state()))
if save_at != last:
    time.sleep(0.8)
print("logged", flush=True)
sys.stdin.read()
run.finish_segment("finished")
"""


def train(lake: Path, checkpoint: Path, first: int, last: int, save_at: int, *, kill: bool) -> None:
    command = [sys.executable, "-c", PROGRAM, str(lake), str(checkpoint), *map(str, (first, last, save_at))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"logged\n"
    if kill:
        process.send_signal(signal.SIGKILL)
    process.stdin.close()
    process.stdout.close()
    assert process.wait(60) == (-signal.SIGKILL if kill else 0)


def steps(lake: Lake, name: str = "loss") -> list[int]:
    rows = lake.sql("select step from metrics where name = ? order by step", [name])
    return [row["step"] for row in rows.to_pylist()]


def recorder(lake: Lake, resume: dict[str, Any] | None = None) -> Recorder:
    return Recorder(lake.storage, project="p", system_metrics_every_s=None, resume=resume)


def attempt(
    lake: Lake,
    value: int,
    first: int,
    last: int,
    *,
    resume: dict[str, Any] | None = None,
    save_at: int = -1,
    at: Moment | None = None,
) -> dict[str, Any]:
    """Log some steps with a value of the attempt's own, and return the checkpoint that was made on the way."""
    run = recorder(lake, resume)
    run.start_segment("fit")
    if at is not None:
        run.goes_on_at(at)
    state: dict[str, Any] = {}
    for step in range(first, last + 1):
        run.log({"loss": float(value)}, step=step, context="train")
        if step == save_at:
            state = run.checkpoint_state()
    run.finish_segment("interrupted")
    return state


def points(lake: Lake, name: str = "loss") -> list[tuple[int, float]]:
    rows = lake.sql("select step, value from metrics where name = ? order by step, value", [name])
    return [(row["step"], row["value"]) for row in rows.to_pylist()]


def several(*spans: tuple[int, int, int]) -> list[tuple[int, float]]:
    """Points of attempts, each given by its value, its first and its last step."""
    return [(step, float(value)) for value, first, last in spans for step in range(first, last + 1)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake").create()


# Kills ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_attempts_after_kill_9_are_one_run(tmp_path: Path, own_spool: Path) -> None:
    lake, checkpoint = Lake(tmp_path / "lake"), tmp_path / "state.json"
    train(tmp_path / "lake", checkpoint, 0, 150, save_at=100, kill=True)
    train(tmp_path / "lake", checkpoint, 100, 130, save_at=0, kill=True)  # dies before its first checkpoint
    train(tmp_path / "lake", checkpoint, 100, 300, save_at=200, kill=False)
    list(sync_spools(own_spool, LakeStorage))
    (run,) = lake.runs().to_pylist()
    assert run["status"] == "finished"
    assert steps(lake) == steps(lake, "twice") == list(range(300))
    # What the other attempts had logged after the checkpoint is not gone.
    assert lake.sql("select count(*) as n from stored.metrics where name = 'loss'").to_pylist()[0]["n"] > 300
    rows = lake.sql("select * from resumes order by segment").to_pylist()
    assert [(row["from_segment"], row["step"], row["global_step"], row["epoch"]) for row in rows] == [
        (0, None, None, None)
    ] * 2
    assert 0 < rows[0]["segment"] < rows[1]["segment"]
    assert rows[0]["until"] == rows[1]["until"] < rows[0]["recorded_at"] < rows[1]["recorded_at"]


def test_kill_9_right_after_a_checkpoint_loses_nothing_that_came_before_it(tmp_path: Path, own_spool: Path) -> None:
    # No second passes between logging, checkpoint and death, in the first attempt and in the second.
    lake, checkpoint = Lake(tmp_path / "lake"), tmp_path / "state.json"
    train(tmp_path / "lake", checkpoint, 0, 5000, save_at=5000, kill=True)
    train(tmp_path / "lake", checkpoint, 5000, 5100, save_at=5100, kill=True)
    train(tmp_path / "lake", checkpoint, 5100, 5200, save_at=0, kill=False)
    list(sync_spools(own_spool, LakeStorage))
    assert steps(lake) == list(range(5200))
    assert lake.sql("select count(*) as n from resumes").to_pylist() == [{"n": 2}]


# The chain of attempts --------------------------------------------------------------------------------


def test_of_each_attempt_counts_what_came_before_the_next_ones_checkpoint(lake: Lake) -> None:
    a = attempt(lake, 1, 1, 15, save_at=10)
    b = attempt(lake, 2, 11, 29, resume=a, save_at=25)
    assert points(lake) == several((1, 1, 10), (2, 11, 29))
    attempt(lake, 3, 11, 14, resume=a)
    assert points(lake) == several((1, 1, 10), (3, 11, 14))
    attempt(lake, 4, 26, 40, resume=b)
    assert points(lake) == several((1, 1, 10), (2, 11, 25), (4, 26, 40))
    assert lake.sql("select count(*) as n from stored.metrics").to_pylist() == [{"n": 15 + 19 + 4 + 15}]
    (run,) = lake.runs().to_pylist()
    assert run["run_id"] == a["run_id"] == b["run_id"]


def test_going_on_from_an_older_checkpoint_gives_up_what_came_after_it(lake: Lake) -> None:
    run = recorder(lake)
    run.start_segment("fit")
    states = []
    for step in range(1, 31):
        run.log({"loss": 1.0}, step=step)
        if step % 10 == 0:
            states.append(run.checkpoint_state())
    run.finish_segment("interrupted")
    attempt(lake, 2, 21, 50, resume=states[1])
    attempt(lake, 3, 11, 12, resume=states[0])
    assert points(lake) == several((1, 1, 10), (3, 11, 12))


def test_a_run_may_go_on_in_the_process_that_began_it(lake: Lake) -> None:
    run = recorder(lake)
    run.start_segment("fit")
    for step in range(1, 16):
        run.log({"loss": 1.0}, step=step)
        if step == 10:
            state = run.checkpoint_state()
    run.finish_segment("finished")
    run.resume(state)
    run.start_segment("fit")
    for step in range(11, 13):
        run.log({"loss": 2.0}, step=step)
    run.finish_segment("finished")
    assert points(lake) == several((1, 1, 10), (2, 11, 12))
    rows = lake.sql("select segment, from_segment from resumes").to_pylist()
    assert rows == [{"segment": 1, "from_segment": 0}]


def test_values_of_a_step_that_were_logged_after_its_checkpoint_count_unless_they_came_again(lake: Lake) -> None:
    run = recorder(lake)
    run.start_segment("fit")
    run.log({"before": 1.0}, step=8)
    state = run.checkpoint_state()
    for name, step in (("own", 9), ("again", 9), ("own", 10), ("own", 11)):
        run.log({name: 1.0, f"{name}/dataloader_idx_1": 1.0}, step=step, context="train")
    run.log({"again": 1.0}, step=9, context="val")
    run.finish_segment("interrupted")
    run = recorder(lake, state)
    run.start_segment("fit")
    run.goes_on_at(Moment(step=10, global_step=10, epoch=1))
    run.log({"again": 2.0}, step=9, context="train")
    run.log({"own": 2.0}, step=10, context="train")
    run.finish_segment("finished")
    found = lake.sql("select name, context, dataloader_idx, step, value from metrics order by all").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("again", "train", 1, 9, 1.0),
        ("again", "train", None, 9, 2.0),
        ("again", "val", None, 9, 1.0),
        ("before", None, None, 8, 1.0),
        ("own", "train", 1, 9, 1.0),
        ("own", "train", None, 9, 1.0),
        ("own", "train", None, 10, 2.0),
    ]
    (row,) = lake.sql("select step, global_step, epoch from resumes").to_pylist()
    assert row == {"step": 10, "global_step": 10, "epoch": 1}


def test_points_without_a_step_are_parted_by_the_checkpoint_alone(lake: Lake) -> None:
    run = recorder(lake)
    run.start_segment("fit")
    run.log({"loss": 1.0})
    state = run.checkpoint_state()
    run.log({"loss": 2.0})
    run.finish_segment("interrupted")
    run = recorder(lake, state)
    run.start_segment("fit")
    run.goes_on_at(Moment(step=5))
    run.log({"loss": 3.0})
    run.finish_segment("finished")
    assert [value for _, value in points(lake)] == [1.0, 3.0]


def test_evaluations_that_were_called_for_themselves_and_system_metrics_stay(lake: Lake) -> None:
    run = recorder(lake)
    run.start_segment("fit")
    for step in range(1, 16):
        run.log({"loss": 1.0}, step=step)
        run.log({"cpu": 1.0}, step=step, context="system")
        run.log({"validated": 1.0}, step=step, context="val")
        if step == 10:
            state = run.checkpoint_state()
    run.finish_segment("finished")
    contexts = {"validate": "val", "test": "test", "predict": "predict"}
    for stage, context in contexts.items():
        run.start_segment(stage)
        run.log({stage: 1.0}, step=15, context=context)
        run.finish_segment("finished")
    attempt(lake, 2, 11, 12, resume=state, at=Moment(step=11))
    assert points(lake) == several((1, 1, 10), (2, 11, 12))
    assert points(lake, "validated") == several((1, 1, 10))
    assert points(lake, "cpu") == several((1, 1, 15))
    assert [points(lake, stage) for stage in contexts] == [several((1, 15, 15))] * 3


def test_other_runs_stay_as_they_are(lake: Lake) -> None:
    states = [attempt(lake, 1, 1, 10, save_at=5) for _ in range(2)]
    attempt(lake, 2, 6, 6, resume=states[0])
    rows = lake.sql("select run_id, count(*) as n from metrics group by run_id").to_pylist()
    assert {row["run_id"]: row["n"] for row in rows} == {states[0]["run_id"]: 6, states[1]["run_id"]: 10}


# Clocks -----------------------------------------------------------------------------------------------


class Clock:
    """The computer's clock, moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shift_s = 0
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + self.shift_s * 10**9)
        monkeypatch.setattr(_resume, "utc_now", lambda: utc_now() + timedelta(seconds=self.shift_s))


@pytest.mark.parametrize("shift_s", [-3600, 3600])
@pytest.mark.parametrize("moved", ["before the checkpoint", "after the checkpoint", "between the attempts"])
def test_a_clock_that_jumps_parts_no_points_wrongly(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, moved: str, shift_s: int
) -> None:
    clock = Clock(monkeypatch)
    run = recorder(lake)
    run.start_segment("fit")
    for step in range(1, 16):
        if step == {"before the checkpoint": 5, "after the checkpoint": 11}.get(moved):
            clock.shift_s = shift_s
        run.log({"loss": 1.0}, step=step)
        if step == 10:
            state = run.checkpoint_state()
    run.finish_segment("interrupted")
    clock.shift_s = shift_s
    b = attempt(lake, 2, 11, 20, resume=state, save_at=15)
    attempt(lake, 3, 16, 18, resume=b)
    assert points(lake) == several((1, 1, 10), (2, 11, 15), (3, 16, 18))


def test_attempts_are_told_apart_where_the_clock_is_before_the_runs_start(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on another machine whose clock is late.
    clock = Clock(monkeypatch)
    state = attempt(lake, 1, 1, 15, save_at=10)
    clock.shift_s = -60
    b = attempt(lake, 2, 11, 15, resume=state, save_at=13)
    attempt(lake, 3, 11, 12, resume=state)
    assert points(lake) == several((1, 1, 10), (3, 11, 12))
    attempt(lake, 4, 14, 16, resume=b)
    assert points(lake) == several((1, 1, 10), (2, 11, 13), (4, 14, 16))
    assert lake.sql("select count(distinct segment) as n from resumes").to_pylist() == [{"n": 3}]


def test_what_another_thread_logs_during_a_checkpoint_counts_only_if_it_is_on_the_disk(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = recorder(lake)
    run.start_segment("fit")
    run.log({"early": 1.0})
    spool_metrics = _journal.Journal.spool_metrics

    def interrupted(journal: _journal.Journal) -> None:
        spool_metrics(journal)
        run.log({"late": 1.0})

    with monkeypatch.context() as patch:
        patch.setattr(_journal.Journal, "spool_metrics", interrupted)
        state = run.checkpoint_state()
    run.finish_segment("interrupted")
    query = "select name, bool_and(epoch_us(time) <= ?) as counts from metrics group by all order by name"
    rows = lake.sql(query, [state["until"]]).to_pylist()
    assert rows == [{"name": "early", "counts": True}, {"name": "late", "counts": False}]


# What the run keeps -----------------------------------------------------------------------------------


def test_a_run_keeps_what_it_began_with(lake: Lake) -> None:
    first = recorder(lake)
    first.start_segment("fit")
    first.update(weights_start_id="w")
    first.log({"loss": 3.0}, step=0)
    first.log({"loss": 5.0}, step=1)
    state = first.checkpoint_state()
    first.finish_segment("finished")
    second = recorder(lake, state)
    second.start_segment("fit")
    second.log({"loss": 4.0}, step=2)
    second.finish_segment("finished")
    (run,) = lake.runs().to_pylist()
    assert run["run_id"] == first.run_id == second.run_id
    assert run["weights_start_id"] == "w"
    assert run["started_at"] == first.run.started_at
    assert run["summary"] == '{"loss":{"last":4.0,"max":5.0,"min":3.0}}'


def test_the_duration_is_the_time_that_was_recorded_not_the_time_in_between(lake: Lake) -> None:
    state = attempt(lake, 1, 1, 2, save_at=2)
    assert 0 < state["age_s"] < 60
    began = utc_now() - timedelta(days=30)
    attempt(lake, 2, 3, 4, resume={**state, "age_s": 5000.0, "started_at": began.isoformat()})
    (run,) = lake.runs().to_pylist()
    assert run["started_at"] == began
    assert 5000 < run["duration_s"] < 5060


def test_a_run_that_was_old_when_it_went_on_is_written_as_often_as_a_new_one(lake: Lake) -> None:
    state = attempt(lake, 1, 1, 2, save_at=2)
    attempt(lake, 2, 3, 4, resume={**state, "age_s": 1e6})
    states = lake.sql("select distinct heartbeat_every_s from stored.runs").to_pylist()
    assert max(row["heartbeat_every_s"] for row in states) <= 10


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"run_id": "x"},
        {"run_id": None},
        {"run_id": "x", "started_at": "soon", "segment": 0, "until": 0},
        {"run_id": "x", "started_at": "2026-01-01T00:00:00+00:00", "segment": 0},
        {"run_id": "x", "started_at": "2026-01-01T00:00:00+00:00", "segment": 0, "until": "soon"},
        7,
    ],
)
def test_a_state_of_something_else_is_a_new_run(tmp_path: Path, state: Any) -> None:
    with Recorder(tmp_path / "lake", project="p", resume=state) as run:
        assert run.segment == 0
    assert Lake(tmp_path / "lake").sql("select count(*) as n from resumes").to_pylist() == [{"n": 0}]


def test_a_state_is_made_of_what_safe_loading_accepts(tmp_path: Path) -> None:
    with Recorder(tmp_path / "lake", project="p") as run:
        run.log({"loss": float("nan")}, step=1)
        state = run.checkpoint_state(identity="me")
    assert set(state) == {
        "run_id", "started_at", "segment", "until", "age_s", "identity", "facts", "summary",
    }  # fmt: skip
    torch.save(state, tmp_path / "x")
    loaded = RunState.from_dict(torch.load(tmp_path / "x", weights_only=True))
    assert loaded is not None
    assert (loaded.run_id, loaded.identity, loaded.until) == (run.run_id, "me", state["until"])
    assert json.loads(json.dumps(state))["run_id"] == run.run_id
