"""Augments with a package."""

import augmenter
import pytorch_lightning as pl
from common import Net, loader, trainer


class Augmented(Net):
    def loss(self, batch):
        return super().loss([augmenter.augment(batch[0]), batch[1]])


pl.seed_everything(1, verbose=False)
trainer().fit(Augmented(), loader())
