"""SIGKILL in the middle of a study: the lake reads, the run is lost, and the rest is done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.study import cells_to_run, plan_cells, study_datasets

from .conftest import SMALL

ROOT = Path(__file__).parent.parent.parent


def start(lake: Path) -> subprocess.Popen[bytes]:
    numbers = (
        "width=8", "meta_steps=12", "meta_batch=2", "queries=5", "pretraining_steps=4", "test_episodes=6",
    )  # fmt: skip
    words = [str(lake), "--project", "p", "--dataset", "hebrew", "--dataset", "digits", "--jobs", "2"]
    words += [word for number in numbers for word in ("--set", number)]
    # Its own session, so that the kill reaches the worker processes too.
    return subprocess.Popen([sys.executable, str(ROOT / "tasks/study.py"), *words], start_new_session=True)


def finished(lake: Lake) -> dict[str, str]:
    rows = lake.sql(
        """select tags->>'cell' as cell, run_id from runs
           where status = 'finished' and run_id in (select run_id from episodes)"""
    ).to_pylist()
    return {row["cell"]: row["run_id"] for row in rows}


@pytest.mark.slow
def test_a_killed_study_goes_on_where_it_was(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    process = start(lake_path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
        if not finished(lake):
            continue
        # It stands still while it is looked at, so that what runs then is what the kill hits.
        os.killpg(process.pid, signal.SIGSTOP)
        if lake.sql("select * from runs where status = 'running'").num_rows:
            break
        os.killpg(process.pid, signal.SIGCONT)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    done = finished(lake)
    assert 0 < len(done) < 6
    cut_off = lake.sql("select run_id from runs where status = 'running'").column("run_id").to_pylist()
    assert cut_off
    for table in ("metrics", "episodes", "params", "links", "datasets", "artifacts", "stored.runs"):
        lake.sql(f"select * from {table}")
    promised = lake.sql("select heartbeat_every_s as s from runs where run_id = ?", cut_off[:1]).to_pylist()[0]["s"]
    time.sleep(3 * promised + 1)
    assert lake.sql("select status from runs where run_id = ?", cut_off[:1]).to_pylist() == [{"status": "lost"}]

    assert start(lake_path).wait(240) == 0
    after = finished(lake)
    assert len(after) == 6
    assert done.items() <= after.items()
    # A run that was cut off in its test has episodes too, in the lake or on the disk; finished it is only once.
    trained = lake.sql(
        "select count(*) as n from runs where status = 'finished' and run_id in (select run_id from episodes)"
    )
    assert trained.to_pylist() == [{"n": 6}]


RECORD = """
import sys
from pathlib import Path
from lightning_lde import Recorder
from lightning_lde.schema import Episode
lake, cell = sys.argv[1:]
Path(lake).rename(lake + ".away")
Path(lake).touch()  # a file: no lake can be there now
with Recorder(lake, project="p", tags={"cell": cell}) as run:
    run.record("episodes", Episode(
        run_id=run.run_id, segment=0, episode_id="e", method="maml", episode_seed=0, episode_index=0,
        classes=[0, 1], ways=2, shots=1, queries=1, loss=0.5, accuracy=1.0,
    ))
Path(lake).unlink()
Path(lake + ".away").rename(lake)
"""


@pytest.mark.slow
def test_what_finished_on_the_disk_alone_is_not_trained_again(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    datasets, settings = study_datasets(None, SMALL, names=["digits"])
    cells = plan_cells(datasets, settings)
    ended = subprocess.run(
        [sys.executable, "-c", RECORD, str(lake_path), cells[0].cell_id], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "lde sync" in ended.stderr
    assert finished(lake) == {}
    assert cells_to_run(lake, cells, project="p") == cells[1:]
    assert list(finished(lake)) == [cells[0].cell_id]
