"""A training that was stopped and went on from a checkpoint has the table of one that never stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import sync_spools

PROGRAM = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
import torch
import pytorch_lightning as pl
from lightning_lde import LDECallback, log

lake, folder, die_at, checkpoint, options = sys.argv[1:]
options = eval(options)
die_at = int(die_at)

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(4, 3)
        self.seen = 0
        self.automatic_optimization = not options.get("by_hand")

    def training_step(self, batch, batch_idx):
        if self.trainer.current_epoch * 12 + batch_idx == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        log({"direct": loss, "batch": batch_idx})
        if not self.automatic_optimization:
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        made = [torch.optim.SGD(self.parameters(), 0.1) for _ in range(1 if self.automatic_optimization else 2)]
        return made if len(made) > 1 else made[0]

generator = torch.Generator().manual_seed(0)
data = torch.utils.data.TensorDataset(torch.randn(48, 4, generator=generator), torch.arange(48) % 3)
loader = torch.utils.data.DataLoader(data, batch_size=4)
pl.seed_everything(1, verbose=False)
saving = pl.callbacks.ModelCheckpoint(folder, filename="c", save_top_k=1, **options.get("saving", {}))
trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", default_root_dir=folder, log_every_n_steps=1, enable_progress_bar=False,
    enable_model_summary=False, logger=pl.loggers.CSVLogger(folder) if options.get("logger", True) else False,
    callbacks=[LDECallback(lake, project="p", on_error="raise", flush_every_s=0.2), saving], **options.get("trainer", {}),
)
trainer.fit(Net(), loader, loader, ckpt_path=checkpoint or None)
"""

SITUATIONS: dict[str, dict[str, Any]] = {
    "at the end of validation": {"saving": {"monitor": "val/loss"}},
    "at the end of an epoch": {"saving": {"save_on_train_epoch_end": True}},
    "every five steps": {"saving": {"every_n_train_steps": 5, "enable_version_counter": False}},
    "without a logger": {"logger": False, "saving": {"every_n_train_steps": 7}},
    "validation within epochs": {"saving": {"monitor": "val/loss"}, "trainer": {"val_check_interval": 5}},
    "two steps in one": {"saving": {"every_n_train_steps": 3}, "trainer": {"accumulate_grad_batches": 2}},
    "two optimizers by hand": {"by_hand": True, "saving": {"every_n_train_steps": 10}},
}


def train(lake: Path, folder: Path, *, die_at: int, checkpoint: Path | None, options: dict[str, Any]) -> None:
    words = [str(lake), str(folder), str(die_at), str(checkpoint or ""), repr(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == (0 if die_at < 0 else -9), done.stderr[-3000:]


def table(lake: Path) -> list[dict[str, Any]]:
    query = """select name, context, step, global_step, epoch, value from metrics
               where context is distinct from 'system' order by all"""
    return Lake(lake).sql(query).to_pylist()


@pytest.mark.parametrize(
    "situation",
    [
        pytest.param(name, marks=[] if name in {"at the end of validation", "every five steps"} else pytest.mark.slow)
        for name in SITUATIONS
    ],
)
def test_no_step_is_lost_and_none_is_there_twice(tmp_path: Path, own_spool: Path, situation: str) -> None:
    options = SITUATIONS[situation]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(whole, tmp_path / "a", die_at=-1, checkpoint=None, options=options)
    train(stopped, tmp_path / "b", die_at=31, checkpoint=None, options=options)
    (checkpoint,) = (tmp_path / "b").glob("c*.ckpt")
    train(stopped, tmp_path / "b", die_at=-1, checkpoint=checkpoint, options=options)
    assert all(outcome.error is None for outcome in sync_spools(own_spool, LakeStorage))
    assert table(stopped) == table(whole)
    (run,) = Lake(stopped).runs().to_pylist()
    assert run["status"] == "finished"
    assert Lake(stopped).sql("select count(*) as n from resumes").to_pylist() == [{"n": 1}]
