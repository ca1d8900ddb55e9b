"""One process of the start-up benchmark: fits one after the other, and what each hook of the callback takes."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from _bench import report
from _setups import PROJECT, NullLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    """Two convolutions and a way past them."""

    def __init__(self, wide: int, to: int, stride: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(wide, to, 3, stride, 1, bias=False),
            nn.BatchNorm2d(to),
            nn.ReLU(),
            nn.Conv2d(to, to, 3, 1, 1, bias=False),
            nn.BatchNorm2d(to),
        )
        plain = stride == 1 and wide == to
        self.past = nn.Identity() if plain else nn.Sequential(nn.Conv2d(wide, to, 1, stride), nn.BatchNorm2d(to))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.way(x) + self.past(x))


def resnet18() -> nn.Module:
    """The size and shape of ResNet-18: 11.2 million parameters."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    wide = 64
    for to in (64, 128, 256, 512):
        layers += [Block(wide, to, 1 if to == 64 else 2), Block(to, to, 1)]
        wide = to
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 2))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))


MODELS = {"mlp": (mlp, (16,)), "resnet18": (resnet18, (3, 32, 32))}


class Module(pl.LightningModule):
    """Trains whatever it is given."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Clock(pl.Callback):
    """Stamps the hooks that come before training; one stands before the callback, one behind it."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.thread_cpu_s: dict[str, float] = {}

    def _stamp(self, hook: str) -> None:
        self.wall_s[hook] = time.perf_counter()
        self.thread_cpu_s[hook] = time.thread_time()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._stamp("setup")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stamp("on_fit_start")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stamp("on_train_start")

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stamp("on_fit_end")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._stamp("teardown")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--fits", type=int, required=True)
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    begun = time.perf_counter()
    from lightning_lde import LDECallback

    imported = time.perf_counter()
    make, shape = MODELS[options.model]
    data = TensorDataset(torch.randn(64, *shape), torch.randint(0, 2, (64,)))
    fits = []
    for _ in range(options.fits):
        before, behind = Clock(), Clock()
        module = Module(make())
        start = time.perf_counter()
        callback = LDECallback(Path.cwd() / "lake", project=PROJECT)
        made = time.perf_counter()
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=2,
            logger=NullLogger(),
            callbacks=[before, callback, behind],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(data, 8))
        fits.append({"constructor_ms": (made - start) * 1e3} | _between(before, behind))
    parameters = sum(parameter.numel() for parameter in make().parameters())
    report({"import_callback_s": imported - begun, "parameters": parameters, "fits": fits})


def _between(before: Clock, behind: Clock) -> dict[str, Any]:
    """Milliseconds between the two clocks, by hook."""
    found: dict[str, Any] = {}
    for hook in before.wall_s:
        found[f"{hook}_ms"] = (behind.wall_s[hook] - before.wall_s[hook]) * 1e3
        found[f"{hook}_thread_cpu_ms"] = (behind.thread_cpu_s[hook] - before.thread_cpu_s[hook]) * 1e3
    return found


if __name__ == "__main__":
    main()
