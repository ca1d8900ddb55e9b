"""Sums over many numbers, which threads share among them."""

import os

import pytorch_lightning as pl
import torch
from common import Net, data, trainer
from torch.utils.data import DataLoader


class Sums(Net):
    def loss(self, batch):
        many = torch.linspace(-1, 1, 400_001).sin() * self.net(batch[0]).square().sum()
        return many.square().sum() * 1e-4 + super().loss(batch)


pl.seed_everything(1, verbose=False)
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
trainer(max_epochs=1).fit(Sums(), DataLoader(data(), batch_size=8))
