"""Training that goes on from a checkpoint goes on in the same run: no step lost, none twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lde import Lake, Recorder
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import RunState, sync_spools

PROGRAM = """
import sys, time, torch
from lightning_lde import Recorder
lake, checkpoint, first, last, save_at = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
state = torch.load(checkpoint, weights_only=True) if first else None
run = Recorder(lake, project="p", flush_every_s=0.05, resume=state)
run.__enter__()
for step in range(first, last):
    run.log({"loss": float(step), "twice": 2.0 * step}, step=step, global_step=step + 1, context="train")
    if step + 1 == save_at:
        torch.save(run.checkpoint_state(), checkpoint)
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


def test_attempts_after_kill_9_are_one_run(tmp_path: Path, own_spool: Path) -> None:
    lake, checkpoint = Lake(tmp_path / "lake"), tmp_path / "state.ckpt"
    train(tmp_path / "lake", checkpoint, 0, 150, save_at=100, kill=True)
    train(tmp_path / "lake", checkpoint, 100, 130, save_at=0, kill=True)  # dies before its first checkpoint
    train(tmp_path / "lake", checkpoint, 100, 300, save_at=200, kill=False)
    list(sync_spools(own_spool, LakeStorage))
    (run,) = lake.runs().to_pylist()
    assert run["status"] == "finished"
    assert steps(lake) == steps(lake, "twice") == list(range(300))
    # What the other attempts had logged after the checkpoint is not gone.
    assert lake.sql("select count(*) as n from stored.metrics where name = 'loss'").to_pylist()[0]["n"] > 300
    segments = lake.sql("select segment, from_segment, global_step from resumes order by segment").to_pylist()
    assert [(row["from_segment"], row["global_step"]) for row in segments] == [(0, 100)] * 2
    assert 0 < segments[0]["segment"] < segments[1]["segment"]


def test_what_was_logged_before_a_checkpoint_survives_kill_9(tmp_path: Path, own_spool: Path) -> None:
    # No second passes between logging, checkpoint and death.
    lake, checkpoint = Lake(tmp_path / "lake"), tmp_path / "state.ckpt"
    train(tmp_path / "lake", checkpoint, 0, 5000, save_at=5000, kill=True)
    list(sync_spools(own_spool, LakeStorage))
    assert steps(lake) == list(range(5000))


def test_a_run_keeps_what_it_began_with(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    first = Recorder(lake.storage, project="p", name="n")
    first.start_segment("fit")
    first.update(weights_start_id="w")
    first.log({"loss": 3.0}, step=0)
    first.log({"loss": 5.0}, step=1)
    state = first.checkpoint_state()
    first.finish_segment("finished")
    second = Recorder(lake.storage, project="p", name="n", resume=state)
    second.start_segment("fit")
    second.log({"loss": 4.0}, step=2)
    second.finish_segment("finished")
    (run,) = lake.runs().to_pylist()
    assert run["run_id"] == first.run_id == second.run_id
    assert run["weights_start_id"] == "w"
    assert run["started_at"] == first.run.started_at
    assert run["duration_s"] >= (second.run.ended_at - first.run.started_at).total_seconds() - 1  # type: ignore[operator]
    assert run["summary"] == '{"loss":{"last":4.0,"max":5.0,"min":3.0}}'


def test_points_of_the_checkpoints_own_step_are_there_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    at = {"step": 9, "global_step": 10, "epoch": 0}
    first = Recorder(lake.storage, project="p")
    first.start_segment("fit")
    first.log({"only before": 1.0, "again": 1.0}, **at, context="val")
    first.log({"test": 1.0}, step=20, global_step=21, context="test")
    state = {**first.checkpoint_state(), **at}
    first.finish_segment("finished")
    second = Recorder(lake.storage, project="p", resume=state)
    second.start_segment("fit")
    second.log({"again": 2.0}, **at, context="val")
    second.finish_segment("finished")
    rows = lake.sql("select name, value from metrics order by name").to_pylist()
    assert [(row["name"], row["value"]) for row in rows] == [("again", 2.0), ("only before", 1.0), ("test", 1.0)]


def test_other_runs_stay_as_they_are(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    states = []
    for _ in range(2):
        with Recorder(lake.storage, project="p") as run:
            for step in range(10):
                run.log({"loss": 1.0}, step=step)
            states.append({**run.checkpoint_state(), "step": 5})
    with Recorder(lake.storage, project="p", resume=states[0]) as run:
        run.log({"loss": 1.0}, step=6)
    rows = lake.sql("select run_id, count(*) as n from metrics group by run_id").to_pylist()
    assert {row["run_id"]: row["n"] for row in rows} == {states[0]["run_id"]: 7, states[1]["run_id"]: 10}


@pytest.mark.parametrize(
    "state", [None, {}, {"run_id": "x"}, {"run_id": None}, {"run_id": "x", "started_at": "soon", "segment": 0}, 7]
)
def test_a_state_of_something_else_is_a_new_run(tmp_path: Path, state: Any) -> None:
    with Recorder(tmp_path / "lake", project="p", resume=state) as run:
        assert run.segment == 0
    assert Lake(tmp_path / "lake").sql("select count(*) as n from resumes").to_pylist() == [{"n": 0}]


def test_a_state_is_made_of_what_safe_loading_accepts(tmp_path: Path) -> None:
    with Recorder(tmp_path / "lake", project="p") as run:
        run.log({"loss": float("nan")}, step=1)
        state = run.checkpoint_state(identity="me")
    torch.save(state, tmp_path / "x")
    loaded = RunState.from_dict(torch.load(tmp_path / "x", weights_only=True))
    assert loaded is not None
    assert (loaded.run_id, loaded.identity) == (run.run_id, "me")
