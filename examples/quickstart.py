"""Any LightningModule, one callback: the run is in ./lake. See it with `lde runs ./lake`."""

import sys

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde import LDECallback


class Digits(pl.LightningModule):
    def __init__(self, width: int = 64, lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        logits = self.net(batch[0])
        self.log("train/accuracy", (logits.argmax(1) == batch[1]).float().mean())
        return torch.nn.functional.cross_entropy(logits, batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


if __name__ == "__main__":
    lake = sys.argv[1] if len(sys.argv) > 1 else "./lake"
    pl.seed_everything(1)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
    callback = LDECallback(lake, project="digits")
    trainer = pl.Trainer(max_epochs=3, log_every_n_steps=10, callbacks=[callback])
    trainer.fit(Digits(), DataLoader(data, batch_size=64, shuffle=True))
