"""What methods share that adapt a network with a linear head by gradient descent: MAML, ANIL, BOIL, Reptile."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine import (
    InnerLoop,
    Recorder,
    keep_memory,
    return_memory,
    scores_at,
    trainable,
)
from lightning_lde.fewshot.methods._batches import check_values
from lightning_lde.fewshot.methods._episodic import EpisodicModule, Schedule
from lightning_lde.fewshot.methods._functional import check_adaptable
from lightning_lde.fewshot.methods._results import TaskScore
from lightning_lde.fewshot.methods._step_lengths import learned_lr, step_weights

__all__ = ["Adapting", "Adapts", "Classifier"]

Adapts = Literal["all", "head", "body"]


class Classifier(nn.Module):
    """A backbone and a linear head: what a task changes.

    Args:
        backbone: Maps images (N, ...) to features (N, feature_dim).
        head: Maps features to logits.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, ways) of images (N, ...)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


class Adapting(EpisodicModule):
    """A module that learns each task by gradient descent from its support set.

    Attributes:
        records: Whether steps on a CUDA device are recorded and played back, which is several times quicker.
        tasks_at_once: How many tasks a recording computes at a time; each takes the memory of one task.

    Args:
        backbone: Module with an attribute ``feature_dim``.
        ways: Classes of a task.
        inner_lr: Step length of the adaptation, or where it starts.
        inner_steps: Steps of the adaptation in training.
        first_order: Whether inner gradients are constants.
        eval_inner_steps: Numbers of steps after which a validation or test task is scored.
        adapts: "all", "head" or "body".
        learn_inner_lr: "no", "per_layer" or "per_layer_and_step".
        multi_step_loss: Outer steps during which the losses after all inner steps count.
        optimizer: Class of the outer optimiser.
        outer_lr: Its learning rate.
        schedule: "constant" or "cosine".

    Raises:
        ConfigurationError: A setting cannot work.
    """

    records = True
    tasks_at_once = 4

    def __init__(
        self,
        backbone: nn.Module,
        *,
        ways: int,
        inner_lr: float,
        inner_steps: int,
        first_order: bool,
        eval_inner_steps: Sequence[int],
        adapts: Adapts = "all",
        learn_inner_lr: str = "no",
        multi_step_loss: int = 0,
        optimizer: type[torch.optim.Optimizer],
        outer_lr: float,
        schedule: Schedule,
    ) -> None:
        super().__init__(backbone, ways=ways, optimizer=optimizer, lr=outer_lr, schedule=schedule)
        _check(ways, inner_lr, inner_steps, outer_lr, eval_inner_steps)
        _check_variants(adapts, multi_step_loss)
        self.head = nn.Linear(self.feature_length, ways)
        self.inner_lr, self.inner_steps, self.first_order = inner_lr, inner_steps, first_order
        self.eval_inner_steps = tuple(sorted(set(eval_inner_steps)))
        self.adapts, self.multi_step_loss = adapts, multi_step_loss
        self._keeps_memory = False
        self._recorders: dict[str, Recorder] = {}
        self._paced = self._changed(dict(self.network.named_parameters()))
        self.inner_lrs = learned_lr(learn_inner_lr, tensors=len(self._paced), steps=inner_steps, start=inner_lr)

    def on_fit_start(self) -> None:
        """Let the process keep freed memory while it trains on a CPU; see ``engine.kept_memory``."""
        if self.device.type == "cpu" and not self._keeps_memory:
            self._keeps_memory = True
            keep_memory()

    def on_fit_end(self) -> None:
        """Give the memory back."""
        if self._keeps_memory:
            self._keeps_memory = False
            return_memory()

    def teardown(self, stage: str) -> None:
        """Give the memory of recordings back."""
        self._recorders.clear()

    @property
    def network(self) -> Classifier:
        """Backbone and head as one module, without the step lengths."""
        return Classifier(self.backbone, self.head)

    @property
    @abstractmethod
    def method(self) -> str:
        """Name under which results are recorded."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, ways) of images (N, ...) before any adaptation."""
        logits: Tensor = self.network(images)
        return logits

    def inner_loop(self) -> InnerLoop:
        """How a task is adapted to now; step lengths and weights of losses may change from step to step."""
        weights = step_weights(self.inner_steps, outer_step=self.global_step, anneal=self.multi_step_loss)
        lr: float | dict[str, Tensor] = self.inner_lr
        if self.inner_lrs is not None:
            lr = dict(zip(self._paced, self.inner_lrs.unbind(0), strict=True))
        return InnerLoop(self.inner_steps, lr, self.first_order, adapted=self._adapted(), step_weights=weights)

    def check_first(self, batch: Episode, *, training: bool) -> None:
        """Look closely at a first batch: labels, shapes, and whether the network can be adapted."""
        check_values(batch)
        check_adaptable(
            self.network,
            batch.support_images[0].clone(),
            batch.support_labels[0].clone(),
            adapted=self._changed(trainable(self.network)),
            higher_order=training and not self.first_order,
            may_write=not training,
        )

    def score_tasks(self, batch: Episode) -> list[list[TaskScore]]:
        """Adapt to each task and score it at each of ``eval_inner_steps``."""
        steps = self.eval_inner_steps
        found = scores_at(self.network, batch, self.inner_loop(), steps=steps, recorder=self.recorder("evaluation"))
        names = [(self.method, f"{count}_steps", count) for count in steps]
        by_task = zip(*(zip(losses.tolist(), rights.tolist(), strict=True) for _, losses, rights in found), strict=True)
        return [[TaskScore(*name, *score) for name, score in zip(names, task, strict=True)] for task in by_task]

    def recorder(self, kind: str) -> Recorder | None:
        """What records one kind of steps."""
        if not self.records:
            return None
        kept = self._recorders.get(kind)
        if kept is None or kept.tasks_at_once != self.tasks_at_once:
            kept = self._recorders[kind] = Recorder(self.tasks_at_once)
        return kept

    def _adapted(self) -> frozenset[str] | None:
        return None if self.adapts == "all" else frozenset(self._changed(trainable(self.network)))

    def _changed(self, parameters: dict[str, Tensor]) -> list[str]:
        part = {"all": "", "head": "head.", "body": "backbone."}[self.adapts]
        return [name for name in parameters if name.startswith(part)]


def _check(ways: int, inner_lr: float, inner_steps: int, outer_lr: float, evaluate: Sequence[int]) -> None:
    if ways < 2 or inner_steps < 1 or inner_lr <= 0 or outer_lr <= 0:
        raise ConfigurationError(
            f"ways={ways}, inner_steps={inner_steps}, inner_lr={inner_lr}, outer_lr={outer_lr}: expected "
            "at least 2 ways, at least 1 inner step and positive learning rates."
        )
    if not evaluate or min(evaluate) < 0:
        raise ConfigurationError(f"eval_inner_steps={evaluate!r}: expected numbers of steps, such as (5, 10).")


def _check_variants(adapts: str, multi_step_loss: int) -> None:
    if adapts not in get_args(Adapts) or multi_step_loss < 0:
        raise ConfigurationError(
            f"adapts={adapts!r}, multi_step_loss={multi_step_loss}: expected 'all', 'head' or 'body', and a number of "
            "outer steps, 0 for none."
        )
