"""A small model and small data, so sensitive that one more random number changes the weights."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde import LDECallback

warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Net(pl.LightningModule):
    def __init__(self, lr: float = 0.1, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Dropout(0.3), torch.nn.Linear(width, 3))

    def loss(self, batch: Any) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def data(n: int = 48) -> TensorDataset:
    chance = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(n, 4, generator=chance), torch.randint(0, 3, (n,), generator=chance))


def loader(dataset: Any = None, **options: Any) -> DataLoader[Any]:
    return DataLoader(data() if dataset is None else dataset, batch_size=8, **{"shuffle": True, **options})


def trainer(*callbacks: Any, **options: Any) -> pl.Trainer:
    """Records to the folder that the program's first argument names, relative to where it is started."""
    found = callbacks or (LDECallback(sys.argv[1], project="scripts", system_metrics_every_s=None),)
    settings = {"max_epochs": 2, "log_every_n_steps": 1, "logger": CSVLogger("logs"), "enable_checkpointing": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(callbacks=list(found), **{**settings, **quiet, **options})
