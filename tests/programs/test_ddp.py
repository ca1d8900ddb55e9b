"""Two processes train one run: one row in `runs`, every point once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lightning_lde import Lake

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel
from lightning_lde import LDECallback

class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        output = super().training_step(batch, batch_idx)
        self.log("train/loss", output["loss"])
        return output

if __name__ == "__main__":
    strategy, lake = sys.argv[1:]
    pl.Trainer(
        accelerator="cpu", devices=2, strategy=strategy, max_epochs=2, limit_train_batches=8, limit_val_batches=2,
        log_every_n_steps=1, logger=pl.loggers.CSVLogger("csv"), enable_progress_bar=False,
        callbacks=[LDECallback(lake, project="ddp", on_error="raise")],
    ).fit(Model())
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_two_processes_are_one_run(tmp_path: Path, strategy: str) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    command = [sys.executable, "train.py", strategy, str(tmp_path / "lake")]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=200)
    lake = Lake(tmp_path / "lake")
    assert lake.sql("select status, world_size from runs").to_pylist() == [{"status": "finished", "world_size": 2}]
    steps = lake.sql("select step from metrics where name = 'train/loss' order by step").column("step").to_pylist()
    assert steps == list(range(16))
    assert lake.sql("select count(*) as n from artifacts").to_pylist() == [{"n": 1}]
