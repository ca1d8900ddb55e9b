"""LightningCLI with a file of settings."""

import sys

import pytorch_lightning as pl
from common import Net, loader
from pytorch_lightning.cli import LightningCLI

from lightning_lde import LDECallback


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return loader()


lake = sys.argv.pop(1)
LightningCLI(Net, Data, trainer_defaults={"callbacks": [LDECallback(lake, system_metrics_every_s=None)]})
