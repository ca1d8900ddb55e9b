"""A fit that stops, and another one that goes on from its checkpoint."""

import tempfile

import pytorch_lightning as pl
from common import Net, loader, trainer

pl.seed_everything(9, verbose=False)
with tempfile.TemporaryDirectory() as folder:
    first = trainer(max_epochs=1)
    first.fit(Net(), loader())
    first.save_checkpoint(f"{folder}/last.ckpt")
    trainer(max_epochs=3).fit(Net(), loader(), ckpt_path=f"{folder}/last.ckpt")
