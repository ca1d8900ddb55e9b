"""Models and data for the scenarios: small, and so sensitive that one more random number changes the weights."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from .tracing import Trace, pl


class Net(pl.LightningModule):  # type: ignore[misc, name-defined]
    """Its loss depends on the random numbers of torch, numpy and Python."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 3)
        )

    def loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        chance = 1 + 0.01 * random.random() + 0.01 * np.random.rand()
        return chance * torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch), sync_dist=True)

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("test/loss", self.loss(batch))

    def predict_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.net(batch[0])

    def on_train_epoch_end(self) -> None:
        self.log("late", 1.0)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class TwoOptimizers(Net):
    """Optimises by hand, with two optimizers for each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:  # type: ignore[override]
        for optimizer in self.optimizers():
            loss = self.loss(batch)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        self.log("train/loss", loss, on_step=True)

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.net[part].parameters(), lr=self.lr) for part in (0, 3)]


class Data(pl.LightningDataModule):  # type: ignore[misc, name-defined]
    """Random numbers in three classes; writes down its hooks."""

    def __init__(self, trace: Trace, fails_in: str = "") -> None:
        super().__init__()
        self.trace = trace
        self.batch_size = 8
        self.fails_in = fails_in

    def _loader(self, name: str, n: int, *, shuffle: bool = False) -> DataLoader[Any]:
        self.trace.add(f"data.{name}_dataloader")
        chance = torch.Generator().manual_seed(0)
        x, y = torch.randn(n, 4, generator=chance), torch.randint(0, 3, (n,), generator=chance)
        return DataLoader(TensorDataset(x, y), batch_size=self.batch_size, shuffle=shuffle)

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader("train", 32, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader("val", 24)

    def test_dataloader(self) -> DataLoader[Any]:
        return self._loader("test", 16)

    def predict_dataloader(self) -> DataLoader[Any]:
        return self._loader("predict", 16)

    def prepare_data(self) -> None:
        self.trace.add("data.prepare_data")

    def setup(self, stage: str) -> None:
        self.trace.add("data.setup", getattr(stage, "value", stage))
        if self.fails_in == "setup":
            raise RuntimeError("no data")

    def teardown(self, stage: str) -> None:
        self.trace.add("data.teardown", getattr(stage, "value", stage))

    def on_exception(self, exception: BaseException) -> None:
        self.trace.add("data.on_exception", type(exception).__name__)

    def state_dict(self) -> dict[str, Any]:
        self.trace.add("data.state_dict")
        return {"seen": True}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.trace.add("data.load_state_dict")
