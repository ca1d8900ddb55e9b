"""Imports a module that nobody has added to the repository."""

import pytorch_lightning as pl
from common import Net, loader, trainer
from helper import RATE

pl.seed_everything(17, verbose=False)
trainer().fit(Net(lr=RATE), loader())
