"""A data module, a validation, and a test after the fit."""

import pytorch_lightning as pl
from common import Net, loader, trainer


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return loader()

    def val_dataloader(self):
        return loader(shuffle=False)

    test_dataloader = val_dataloader


class Model(Net):
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.loss(batch))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.loss(batch))


pl.seed_everything(2, workers=True, verbose=False)
one, model = trainer(), Model()
one.fit(model, datamodule=Data())
one.test(model, datamodule=Data(), verbose=False)
