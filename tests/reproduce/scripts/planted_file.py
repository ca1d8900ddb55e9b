"""Reads its data from a file that git ignores."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from common import Net, loader, trainer
from torch.utils.data import TensorDataset

rows = [line.split(",") for line in Path("data/values.csv").read_text().splitlines()]
features = torch.tensor([[float(word) for word in row[:4]] for row in rows])
pl.seed_everything(1, verbose=False)
trainer().fit(Net(), loader(TensorDataset(features, torch.tensor([int(row[4]) for row in rows]))))
