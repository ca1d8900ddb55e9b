"""Children of a fork that go on to record: the run is the parent's, and theirs are their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


def in_a_child(task: Callable[[], object]) -> int:
    """Do something in a forked child; its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            task()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_segment_that_a_child_begins_is_not_the_parents(lake_path: Path) -> None:
    recorder = Recorder(lake_path, project="p", system_metrics_every_s=None)
    recorder.start_segment("fit")
    recorder.log({"a": 1.0}, step=0)
    assert recorder.finish_segment("finished")

    def go_on() -> None:
        recorder.start_segment("test")
        recorder.log({"child": 1.0}, step=0)
        recorder.finish_segment("failed")

    assert [in_a_child(go_on), in_a_child(go_on)] == [0, 0]
    recorder.start_segment("test")
    recorder.log({"a": 2.0}, step=1)
    assert recorder.finish_segment("finished")
    lake = Lake(lake_path)
    points = lake.sql("select name, step from metrics order by step").to_pylist()
    assert points == [{"name": "a", "step": 0}, {"name": "a", "step": 1}]
    assert lake.sql("select status, segment from runs").to_pylist() == [{"status": "finished", "segment": 1}]


PROGRAM = """
import os, sys, logging, warnings
warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from lightning_lde import LDECallback

class Model(BoringModel):
    def test_step(self, batch, index):
        self.log("test", float(os.getpid()))
    def training_step(self, batch, index):
        self.log("train", 1.0)
        return super().training_step(batch, index)

def trainer(folder):
    return pl.Trainer(
        max_epochs=1, limit_train_batches=3, limit_val_batches=0, limit_test_batches=2, log_every_n_steps=1,
        accelerator="cpu", logger=pl.loggers.CSVLogger(folder), enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder, callbacks=[callback],
    )

callback = LDECallback(sys.argv[1], project="p", on_error="raise", system_metrics_every_s=None)
made = trainer(sys.argv[2])
made.fit(Model())
children = []
for number in range(2):
    pid = os.fork()
    if pid == 0:
        made.test(Model(), verbose=False)
        os._exit(0)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
made.test(Model(), verbose=False)
print(codes)
"""


@pytest.mark.slow
def test_children_that_test_with_their_parents_trainer_are_runs_of_their_own(lake_path: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-c", PROGRAM, str(lake_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["[0,", "0]"], done.stderr
    lake = Lake(lake_path)
    found = lake.sql(
        "select run_id, list(distinct metrics.name order by metrics.name) as names, count(distinct value) as values "
        "from metrics join runs using (run_id) where context != 'system' group by run_id order by run_id"
    ).to_pylist()
    assert [row["names"] for row in found] == [["test", "train"], ["test"], ["test"]]
    assert lake.sql("select distinct status from runs").to_pylist() == [{"status": "finished"}]
