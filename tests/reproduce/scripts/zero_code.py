"""Knows nothing of being recorded."""

import warnings

import pytorch_lightning as pl
from pytorch_lightning.demos.boring_classes import BoringModel

warnings.simplefilter("ignore")


class Logged(BoringModel):
    def training_step(self, batch, batch_idx):
        out = super().training_step(batch, batch_idx)
        self.log("loss", out["loss"])
        return out


pl.seed_everything(16, verbose=False)
trainer = pl.Trainer(
    accelerator="cpu", max_epochs=1, limit_train_batches=8, limit_val_batches=0, log_every_n_steps=1,
    enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, logger=False,
)  # fmt: skip
trainer.fit(Logged())
