"""One training of the capture benchmark: what the callback takes of its thread, and whether it leaves it alone."""

from __future__ import annotations

import argparse
import gc
import hashlib
import logging
import os
import pickle
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from _bench import report
from _setups import PROJECT, NullLogger
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Counted(Dataset[tuple[torch.Tensor, int]]):
    """Counts who asks it for samples, and gives always the same one."""

    def __init__(self) -> None:
        self.drawn = 0

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.drawn += 1
        return torch.full((16,), float(index % 7)), index % 2


class Folder(Counted):
    """As torchvision's ``ImageFolder`` keeps it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = str(root)
        with os.scandir(root) as entries:
            self.classes = sorted(entry.name for entry in entries)
        self.samples: list[tuple[str, int]] = []
        for label, name in enumerate(self.classes):
            with os.scandir(root / name) as entries:
                self.samples += [(path, label) for path in sorted(entry.path for entry in entries)]
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)


class Memmap(Counted):
    def __init__(self, path: Path) -> None:
        super().__init__()
        n_rows = path.stat().st_size // 4096
        self.data = np.memmap(path, np.float32, "r", shape=(n_rows, 1024))
        self.targets = np.arange(n_rows) % 2

    def __len__(self) -> int:
        return len(self.data)


class Small(Counted):
    def __init__(self, n_samples: int) -> None:
        super().__init__()
        self.n_samples = n_samples

    def __len__(self) -> int:
        return self.n_samples


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Collect(pl.Callback):
    """Python's garbage is collected now: a full collection takes longer than the hook, and comes when it likes."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        gc.collect()


class Clock(pl.Callback):
    """Stamps hooks on the training's thread."""

    def __init__(self) -> None:
        self.wall_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}

    def _stamp(self, name: str) -> None:
        self.wall_s[name], self.cpu_s[name] = time.perf_counter(), time.thread_time()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stamp("start")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self._stamp("last" if "first" in self.wall_s else "first")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stamp("end")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("folder", "memmap"))
    parser.add_argument("place", type=Path)
    parser.add_argument("--callback", choices=("no", "small", "yes"), required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    pl.seed_everything(1, verbose=False)
    data: Any = Folder(options.place) if options.kind == "folder" else Memmap(options.place)
    if options.callback == "small":
        data = Small(len(data))
    before, behind, callbacks = Clock(), Clock(), []
    if options.callback != "no":
        from lightning_lde import LDECallback

        callbacks = [LDECallback(Path.cwd() / "lake", project=PROJECT, system_metrics_every_s=None)]
    module = Module()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=options.steps,
        logger=NullLogger(),
        callbacks=[Collect(), before, *callbacks, behind],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(data, 8, shuffle=True)
    started = time.time()
    trainer.fit(module, loader)
    ended = time.perf_counter()
    report(
        {
            "hooks_ms": (behind.wall_s["start"] - before.wall_s["start"]) * 1e3,
            "hooks_cpu_ms": (behind.cpu_s["start"] - before.cpu_s["start"]) * 1e3,
            # From the callback's part in on_train_start to the last step.
            "loop_ms": (behind.wall_s["last"] - behind.wall_s["start"]) * 1e3,
            "loop_cpu_ms": (behind.cpu_s["last"] - behind.cpu_s["start"]) * 1e3,
            "end_ms": (ended - before.wall_s["end"]) * 1e3,
            "weights": _hash([tensor.numpy().tobytes() for tensor in module.state_dict().values()]),
            "random_states": _hash([torch.get_rng_state().numpy().tobytes(), np.random.get_state(), random.getstate()]),
            "samples_drawn": data.drawn,
            **(_described(started) if callbacks else {}),
        }
    )


def _hash(things: list[Any]) -> str:
    return hashlib.sha256(pickle.dumps(things)).hexdigest()[:16]


def _described(started: float) -> dict[str, Any]:
    """When the data was known, and how its fingerprint was made."""
    from lightning_lde import Lake

    [row] = Lake(Path.cwd() / "lake").sql("select recorded_at, fingerprint_method from datasets").to_pylist()
    return {"described_after_ms": (row["recorded_at"].timestamp() - started) * 1e3, "method": row["fingerprint_method"]}


if __name__ == "__main__":
    main()
