"""Mixed precision."""

import pytorch_lightning as pl
from common import Net, loader, trainer

pl.seed_everything(11, verbose=False)
trainer(precision="bf16-mixed").fit(Net(), loader())
