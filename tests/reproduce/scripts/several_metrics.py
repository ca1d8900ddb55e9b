"""Several metrics, several loaders of validation, values by step and by epoch, and one that is not a number."""

import pytorch_lightning as pl
import torchmetrics
from common import Net, data, loader, trainer

from lightning_lde import log


class Measured(Net):
    def __init__(self):
        super().__init__()
        self.accuracy = torchmetrics.Accuracy("multiclass", num_classes=3)

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        log({"direct": float(loss) * 2, "nan": float("nan")})
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.accuracy(self.net(batch[0]), batch[1])
        self.log_dict({"val/accuracy": self.accuracy, "val/loss": self.loss(batch)})


pl.seed_everything(15, verbose=False)
trainer().fit(Measured(), loader(), [loader(shuffle=False), loader(data(16), shuffle=False)])
