"""Optimisation by hand with two optimizers."""

import pytorch_lightning as pl
import torch
from common import Net, loader, trainer


class Manual(Net):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            loss = self.loss(batch)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        self.log("train/loss", loss)

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net[part].parameters(), lr=0.1) for part in (0, 2)]


pl.seed_everything(6, verbose=False)
trainer().fit(Manual(), loader())
