"""One training of the training benchmark, in a process of its own."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from _bench import report
from _setups import SETUPS, Setup
from torch.utils.data import DataLoader, TensorDataset

BATCH = 8
NAMES = [f"metric_{number}" for number in range(10)]


class Net(pl.LightningModule):
    """A small perceptron that computes ten values per step, whoever takes them."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
        self.ends = array("d")
        self.gauge = Gauge()
        self.process_s = array("d")
        self.thread_s = array("d")
        words: dict[Any, Any] = {"self.log": self.log_dict, "nothing": _nothing}
        self._take = words.get(setup.log, setup.log)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        value = loss.detach()
        self._take({name: value + number for number, name in enumerate(NAMES)})
        return loss

    def on_train_start(self) -> None:
        self.started = time.perf_counter()
        # Python's next full collection takes as long as a hundred steps. Whether the imports of a set-up make it
        # come a moment before the first step or behind it is chance.
        gc.collect()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ends.append(time.perf_counter())
        self.gauge.read()
        if batch_idx == 0 or self.trainer.is_last_batch:
            self.process_s.append(time.process_time())
            self.thread_s.append(time.thread_time())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Gauge:
    """How fast the machine is now: a fixed piece of work of a step's kind, beside every step.

    Other users of a shared machine make it faster and slower by half within seconds. Processor time of the thread
    follows that, but not the waiting for a tracker's threads, which stays what it is.
    """

    def __init__(self) -> None:
        self.wall_s = array("d")
        self.thread_s = array("d")
        self._tensor = torch.ones(16)

    def read(self) -> None:
        wall, thread = time.perf_counter(), time.thread_time()
        for number in range(8):
            row = {f"value_{count}": float(count + number) for count in range(20)}
            (self._tensor * 2).add(self._tensor).sum().item()
            sorted(row.items(), key=lambda pair: -pair[1])
        self.thread_s.append(time.thread_time() - thread)
        self.wall_s.append(time.perf_counter() - wall)


class FirstCallback(pl.Callback):
    """Stands before all other callbacks, so that what they do when the training ends counts."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ending = time.perf_counter()


def _nothing(values: Mapping[str, torch.Tensor]) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("setup", choices=SETUPS)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, required=True)
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.manual_seed(0)
    samples = options.steps * BATCH
    data = TensorDataset(torch.randn(samples, 16), torch.randint(0, 2, (samples,)))

    begun = time.perf_counter()
    setup = SETUPS[options.setup](Path.cwd())
    first, net = FirstCallback(), Net(setup)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=setup.loggers,
        callbacks=[first, *setup.callbacks],
        log_every_n_steps=options.every,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=Path.cwd(),
    )
    trainer.fit(net, DataLoader(data, BATCH))
    ended = time.perf_counter()

    if len(net.ends) != options.steps:
        sys.exit(f"{len(net.ends)} steps instead of {options.steps}")
    # The gauge is read right after the end of a step, and belongs to no step.
    ends = zip(net.ends, net.ends[1:], net.gauge.wall_s, strict=False)
    spans = sorted(late - early - gauge for early, late, gauge in ends)
    count = len(spans)
    gauged_s = sum(net.gauge.thread_s[:-1])
    report(
        {
            "wall_us_per_step": sum(spans) / count * 1e6,
            "process_cpu_us_per_step": (net.process_s[-1] - net.process_s[0] - gauged_s) / count * 1e6,
            "thread_cpu_us_per_step": (net.thread_s[-1] - net.thread_s[0] - gauged_s) / count * 1e6,
            "gauge_us": gauged_s / count * 1e6,
            "step_p50_us": spans[count // 2] * 1e6,
            "step_p99_us": spans[count * 99 // 100] * 1e6,
            "step_max_us": spans[-1] * 1e6,
            "setup_s": net.started - begun,
            "finish_s": ended - first.ending,
            "ended": ended,
        }
    )


if __name__ == "__main__":
    main()
