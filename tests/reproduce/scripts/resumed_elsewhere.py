"""Training that goes on from a checkpoint that an earlier process wrote."""

import sys
from pathlib import Path

import pytorch_lightning as pl
from common import Net, loader, trainer

pl.seed_everything(10, verbose=False)
checkpoint = Path(sys.argv[2])
one = trainer(max_epochs=2 if checkpoint.exists() else 1)
one.fit(Net(), loader(), ckpt_path=checkpoint if checkpoint.exists() else None)
if not checkpoint.exists():
    one.save_checkpoint(checkpoint)
