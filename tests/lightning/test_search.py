"""A search of hyper-parameters with real trainings: what the callback records is known to the next recommendation."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import optuna
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde import Lake, LDECallback
from lightning_lde.query import advise
from lightning_lde.recommend import warm_start

METRIC = "final"


class Line(pl.LightningModule):
    """A line through points; far too small a step learns nothing, far too large a one diverges."""

    def __init__(self, lr: float, momentum: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log(METRIC, loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=self.hparams["momentum"])


def data(seed: int) -> TensorDataset:
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(64, 4, generator=made)
    return TensorDataset(x, x @ torch.randn(4, 1, generator=made))


def train(lake: Path, seed: int, lr: float) -> float:
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[LDECallback(lake, project="search", capture="minimal")],
    )  # fmt: skip
    trainer.fit(Line(lr), DataLoader(data(seed), batch_size=8))
    value = float(trainer.callback_metrics[METRIC])
    return value if np.isfinite(value) else 1e6


@pytest.mark.slow
def test_trials_flow_back_through_the_callback(lake_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_lde"):
        logging.getLogger(name).setLevel(logging.ERROR)
    space = {"lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)}
    for seed in (0, 1):
        for lr in (1e-4, 1e-3, 1e-2, 0.1):
            train(lake_path, seed, lr)
    lake = Lake(lake_path)
    past = {row["dataset_id"] for row in lake.sql("select dataset_id from datasets").to_pylist()}
    assert len(past) == 2

    study = optuna.create_study(direction="minimize")
    first = warm_start(study, lake, metric=METRIC, space=space, k=2, seed=0)
    assert (first.n_datasets, first.n_own, first.enqueued[0]["lr"]) == (2, 0, 0.1)
    study.optimize(lambda trial: train(lake_path, 2, trial.suggest_float("lr", 1e-4, 1.0, log=True)), n_trials=4)
    assert [trial.params for trial in study.trials[:2]] == list(first.enqueued)

    (new,) = {row["dataset_id"] for row in lake.sql("select dataset_id from datasets").to_pylist()} - past
    again = warm_start(optuna.create_study(direction="minimize"), lake, new, metric=METRIC, space=space, k=2, seed=0)
    tried = {trial.params["lr"] for trial in study.trials}
    assert (first.dataset, again.dataset is None, again.n_datasets, again.n_own) == (None, False, 2, 4)
    assert not tried & {one["lr"] for one in again.enqueued}

    advice = advise(lake.results(METRIC, mode="min"), new)
    known = lake.results(METRIC, mode="min").table
    assert {known.settings_of(name)["lr"] for name in advice.told} == tried
    assert sorted(advice.told.values()) == pytest.approx(
        sorted(float(one.value or 0) for one in study.trials), rel=1e-5
    )
