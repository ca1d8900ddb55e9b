"""Gradients of several batches, clipped, with a schedule."""

import pytorch_lightning as pl
import torch
from common import Net, loader, trainer


class Scheduled(Net):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


pl.seed_everything(14, verbose=False)
trainer(accumulate_grad_batches=3, gradient_clip_val=0.5).fit(Scheduled(), loader())
