"""Meta-training of one engine on Omniglot against the clock; a line of JSON for each look at the test tasks."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import _bench as bench
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from _meta_step import Plain, only_the_algorithms, shared
from torch import Tensor

from lightning_lde.fewshot import MAML, Conv4, Episode, Episodes, episode_loader, load_pack, with_rotations
from lightning_lde.fewshot.engine import evaluation_mode

WAYS, TEST_QUERIES, TEST_TASKS = 5, 15, 600
MARKS_MIN = (1, 2, 3, 4, 6, 8, 10, 12.5, 15, 17.5, 20, 22.5, 25, 27.5, 30)


class Clock:
    """Counts processor time of training only, which others on the machine do not change; says when to look at tasks."""

    def __init__(self, minutes: float) -> None:
        self.budget_s = 60 * minutes
        self._marks = [60 * mark for mark in MARKS_MIN if mark < minutes] + [self.budget_s]
        self._spent_s, self._began = 0.0, time.process_time()

    @property
    def spent_s(self) -> float:
        return self._spent_s + time.process_time() - self._began

    def lr(self, first: float) -> float:
        """Cosine to zero over the budget."""
        return first * (1 + math.cos(math.pi * min(1.0, self.spent_s / self.budget_s))) / 2

    def look(self, score: Any, **facts: Any) -> bool:
        """Score where a mark was passed, off the clock; return whether the budget is spent."""
        if self.spent_s < self._marks[0]:
            return False
        self._spent_s = self.spent_s
        while self._marks and self._marks[0] <= self._spent_s:
            self._marks.pop(0)
        right = score()
        mean, half = float(right.mean()), 1.96 * float(right.std()) / math.sqrt(len(right))
        told = {"minutes": self._spent_s / 60, "accuracy": mean, "ci95": half, **facts}
        print(json.dumps(told), file=ANSWERS, flush=True)
        self._began = time.process_time()
        return not self._marks


class Watch(pl.Callback):
    """Sets the outer learning rate by the clock, looks at test tasks, ends the training."""

    def __init__(self, clock: Clock, test: Episodes, lr: float) -> None:
        self._clock, self._test, self._lr = clock, test, lr

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self._clock.lr(self._lr)

    def on_train_batch_end(self, trainer: pl.Trainer, _: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        module = cast("MAML", trainer.lightning_module)
        trainer.should_stop = self._clock.look(partial(ours_on, module, self._test), steps=trainer.global_step)


def ours_on(module: MAML, test: Episodes) -> Tensor:
    """Accuracy of each test task."""
    with evaluation_mode(module):
        return torch.tensor(
            [task[-1].accuracy for batch in episode_loader(test, 8) for task in module.score_tasks(batch)]
        )


def lightning_lde(train: Episodes, test: Episodes, clock: Clock, options: argparse.Namespace) -> None:
    """MAML whose inner loop adapts what the options name, with learned step lengths."""
    ours(
        train,
        test,
        clock,
        options,
        inner_lr=options.first_inner_lr,
        adapts=options.adapts,
        learn_inner_lr=options.learn_inner_lr,
    )


def lightning_lde_plain(train: Episodes, test: Episodes, clock: Clock, options: argparse.Namespace) -> None:
    """The algorithm and the numbers that learn2learn gets."""
    ours(train, test, clock, options, inner_lr=options.inner_lr)


def ours(train: Episodes, test: Episodes, clock: Clock, options: argparse.Namespace, **inner: Any) -> None:
    module = MAML(
        Conv4(1, options.width, 28),
        ways=WAYS,
        inner_steps=options.inner_steps,
        outer_lr=options.outer_lr,
        eval_inner_steps=(options.test_steps,),
        first_order=options.first_order,
        **inner,
    )
    start = begin(options.width)
    for own, name in zip(module.network.parameters(), shared(start), strict=True):
        own.data.copy_(start.get_parameter(name).data)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Watch(clock, test, options.outer_lr)],
    )
    trainer.fit(module, episode_loader(train, options.tasks))


def learn2learn(train: Episodes, test: Episodes, clock: Clock, options: argparse.Namespace) -> None:
    """The loop of its own examples, on the same batches."""
    only_the_algorithms(options.learn2learn)
    maml_of = importlib.import_module("learn2learn.algorithms.maml").MAML
    maml = maml_of(begin(options.width), lr=options.inner_lr, first_order=options.first_order)
    optimizer = torch.optim.Adam(maml.parameters(), lr=options.outer_lr)

    def adapted(task: Episode, steps: int, *, first_order: bool) -> Any:
        learner = maml.clone(first_order=first_order)
        for _ in range(steps):
            learner.adapt(F.cross_entropy(learner(task.support_images), task.support_labels))
        return learner

    def score() -> Tensor:
        right = []
        for batch in episode_loader(test, 8):
            for task in tasks_of(batch):
                logits = adapted(task, options.test_steps, first_order=True)(task.query_images).detach()
                right.append(float((logits.argmax(-1) == task.query_labels).float().mean()))
        return torch.tensor(right)

    for number, batch in enumerate(episode_loader(train, options.tasks), 1):
        for group in optimizer.param_groups:
            group["lr"] = clock.lr(options.outer_lr)
        optimizer.zero_grad()
        for task in tasks_of(batch):
            logits = adapted(task, options.inner_steps, first_order=options.first_order)(task.query_images)
            (F.cross_entropy(logits, task.query_labels) / options.tasks).backward()
        optimizer.step()
        if clock.look(score, steps=number):
            return


def begin(width: int) -> Plain:
    """The weights that both engines begin with; its convolutions' biases do nothing in front of a batch norm."""
    torch.manual_seed(0)
    return Plain(1, width, 28)


def tasks_of(batch: Episode) -> Iterator[Episode]:
    return map(Episode._make, zip(*batch, strict=True))


ENGINES = {each.__name__: each for each in (lightning_lde, lightning_lde_plain, learn2learn)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the engines share."""
    parser.add_argument("--data", type=Path, default=bench.PACKS / "omniglot.parquet", help="a pack")
    parser.add_argument("--minutes", type=float, default=30, help="training time, without the looks at test tasks")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--tasks", type=int, default=4, help="tasks of an outer step")
    parser.add_argument("--queries", type=int, default=5, help="query images per class in training")
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--test-steps", type=int, default=3)
    parser.add_argument("--inner-lr", type=float, default=0.1, help="of learn2learn and of the plain form of ours")
    parser.add_argument("--outer-lr", type=float, default=2e-3, help="at the start; it falls to zero with the budget")
    parser.add_argument("--first-order", action="store_true")
    parser.add_argument("--adapts", default="body", choices=["all", "head", "body"], help="of ours")
    parser.add_argument("--learn-inner-lr", default="per_layer", choices=["no", "per_layer", "per_layer_and_step"])
    parser.add_argument("--first-inner-lr", type=float, default=0.2, help="where learned step lengths of ours begin")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--split", default="test", choices=["val", "test"], help="val for choosing the numbers above")
    parser.add_argument("--learn2learn", default="", help="a folder with its package")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=list(ENGINES))
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plain = load_pack(options.data)
    test = Episodes(plain, split=options.split, shots=1, queries=TEST_QUERIES, n_episodes=TEST_TASKS, seed=20_000)
    turned = with_rotations(plain)
    train = Episodes(turned, split="train", shots=1, queries=options.queries, n_episodes=10**9, seed=0)
    ENGINES[options.engine](train, test, Clock(options.minutes), options)


if __name__ == "__main__":
    # Warnings of engines must not stand between the answers.
    ANSWERS, sys.stdout = sys.stdout, sys.stderr
    main()
