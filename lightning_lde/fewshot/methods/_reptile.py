"""Reptile, meta-learning without gradients through adaptation, as a Lightning module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.backbones import describe_backbone
from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine import InnerLoop, Parameters, accuracy, adapt, channels_last, query_loss, trainable
from lightning_lde.fewshot.methods._adapting import Adapting
from lightning_lde.fewshot.methods._batches import unstack
from lightning_lde.fewshot.methods._episodic import Schedule

__all__ = ["Reptile"]


class Reptile(Adapting):
    """Moves the weights towards what each task makes of them.

    A training task is a plain classification of all its images, support and query: ``inner_steps`` steps of gradient
    descent on minibatches lead from the weights θ to φ. The outer loss is the mean over tasks of half the squared
    distance between θ and the constant φ, whose gradient θ - φ is Reptile's; with plain SGD ``outer_lr`` is the share
    of the way that is gone.

    Logged: ``train/loss`` and ``train/accuracy``, of all images of a task after its adaptation; val and test as MAML's.

    Args:
        backbone: Module with an attribute ``feature_dim``, such as ``Conv4``.
        ways: Classes of a task.
        inner_lr: Step length of the adaptation, in training and in evaluation.
        inner_steps: Steps of the adaptation in training; with one step Reptile is training on all tasks together.
        minibatches: Parts into which a task's training images are divided, each with about as many of each class; the
            steps take them in turn.
        outer_lr: Learning rate of SGD, above 0, at most 1.
        eval_inner_steps: Numbers of steps on the support set after which a validation or test task is scored.
        schedule: Of the outer learning rate: "constant", or "cosine" down to 0 over the whole training.

    Raises:
        ConfigurationError: A setting cannot work, or at the first batch: the backbone cannot be adapted.

    Source: Nichol, Achiam, Schulman, On First-Order Meta-Learning Algorithms, 2018.

    Example:
        >>> from lightning_lde.fewshot import Conv4
        >>> Reptile(Conv4(width=8), ways=5).method
        'reptile'
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        ways: int,
        inner_lr: float = 0.1,
        inner_steps: int = 8,
        minibatches: int = 4,
        outer_lr: float = 0.5,
        eval_inner_steps: Sequence[int] = (5, 10),
        schedule: Schedule = "constant",
    ) -> None:
        super().__init__(
            backbone,
            ways=ways,
            inner_lr=inner_lr,
            inner_steps=inner_steps,
            first_order=True,
            eval_inner_steps=eval_inner_steps,
            optimizer=torch.optim.SGD,
            outer_lr=outer_lr,
            schedule=schedule,
        )
        if minibatches < 1 or outer_lr > 1:
            raise ConfigurationError(
                f"minibatches={minibatches}, outer_lr={outer_lr}: expected at least 1, and a share of at most 1."
            )
        self.save_hyperparameters(ignore=["backbone"])
        self.save_hyperparameters({"backbone": describe_backbone(backbone)})
        self.minibatches = minibatches

    @property
    def method(self) -> str:
        """Name under which results are recorded."""
        return "reptile"

    def training_step(self, batch: Episode, batch_idx: int = 0) -> Tensor:
        """Return half the mean squared distance between the weights and what the tasks make of them.

        Args:
            batch: Episodes stacked along a leading task dimension.
            batch_idx: Not used.
        """
        self.check_tasks(batch, training=True)
        current = trainable(self.network)
        distances, losses, rights = zip(*(self._learn(task, current) for task in unstack(batch)), strict=True)
        self.log_training(torch.stack(losses).mean(), torch.stack(rights).mean(), count=len(losses))
        return torch.stack(distances).mean()

    def _learn(self, task: Episode, current: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """Return a task's distance, and loss and accuracy on all its images."""
        network, one = self.network, InnerLoop(1, self.inner_lr, first_order=True)
        images = channels_last(torch.cat([task.support_images, task.query_images]))
        labels = torch.cat([task.support_labels, task.query_labels])
        parts = self._parts(labels)
        learned = current
        for step in range(self.inner_steps):
            start = {name: channels_last(value).requires_grad_() for name, value in learned.items()}
            rows = parts[step % len(parts)]
            [learned] = adapt(network, start, images[rows], labels[rows], one)
        learned = {name: value.detach() for name, value in learned.items()}
        with torch.no_grad():
            loss, logits = query_loss(network, learned, images, labels)
        apart = [(current[name] - learned[name]).square().sum() for name in current]
        return torch.stack(apart).sum() / 2, loss, accuracy(logits, labels)

    def _parts(self, labels: Tensor) -> list[Tensor]:
        by_class = labels.argsort(stable=True)
        parts = [by_class[first :: self.minibatches] for first in range(self.minibatches)]
        return [part for part in parts if len(part)]
