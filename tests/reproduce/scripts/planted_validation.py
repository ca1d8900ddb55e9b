"""Validates on a file that git ignores, of which each sample is known, and logs nothing of it."""

import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from common import Net, loader, trainer
from torch.utils.data import TensorDataset

from lightning_lde import LDECallback


class Silent(Net):
    def validation_step(self, batch, batch_idx):
        self.loss(batch)


rows = [line.split(",") for line in Path("data/values.csv").read_text().splitlines()]
features = torch.tensor([[float(word) for word in row[:4]] for row in rows])
held_out = TensorDataset(features, torch.tensor([int(row[4]) for row in rows]))
pl.seed_everything(1, verbose=False)
callback = LDECallback(sys.argv[1], project="scripts", data_fingerprint="exact", system_metrics_every_s=None)
trainer(callback).fit(Silent(), loader(), loader(held_out, shuffle=False))
