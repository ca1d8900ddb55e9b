"""MAML and its kin (ANIL, BOIL, Meta-SGD, MAML++) as a Lightning module that trains and tests on episodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_lde.fewshot.backbones import describe_backbone
from lightning_lde.fewshot.data._episodes import Episode
from lightning_lde.fewshot.engine import meta_loss
from lightning_lde.fewshot.methods._adapting import Adapting, Adapts
from lightning_lde.fewshot.methods._episodic import Schedule
from lightning_lde.fewshot.methods._step_lengths import LearnedLR

__all__ = ["MAML"]

_NAMES = {"all": "maml", "head": "anil", "body": "boil"}


class MAML(Adapting):
    """Model-agnostic meta-learning with a linear head that is part of what is adapted.

    Training minimises the mean over tasks of the query loss after ``inner_steps`` steps of gradient
    descent on the support set. Validation and test adapt without side effects: weights, buffers,
    gradients and random state stay as they are, under any inference mode of the Trainer.

    Variants, which may be combined: ANIL (``adapts="head"``), BOIL (``adapts="body"``), step lengths learned for each
    parameter tensor (``learn_inner_lr="per_layer"``, Meta-SGD with one number a tensor) and for each step
    (``"per_layer_and_step"``, MAML++), and MAML++'s loss over all steps, annealed (``multi_step_loss``).

    On a CUDA device steps are recorded as a CUDA graph and played back; ``model.tasks_at_once = 16`` computes so many
    tasks at a time, which is quicker and takes their memory. ``model.records = False`` leaves it.

    Logged: ``train/loss``, ``train/accuracy``, and for stage val or test and each number of steps k
    ``test/loss_k_steps``, ``test/accuracy_k_steps``, each also with ``_ci95``: half its 95 % interval over tasks.

    Args:
        backbone: Module with an attribute ``feature_dim``, such as ``Conv4``.
        ways: Classes of a task.
        inner_lr: Step length of the adaptation; where step lengths are learned, their first value.
        inner_steps: Steps of the adaptation in training.
        first_order: Leave out the derivatives of the inner gradients (FOMAML).
        outer_lr: Learning rate of Adam.
        eval_inner_steps: Numbers of steps after which a validation or test task is scored.
        adapts: What a task changes: "all", "head" (ANIL) or "body" (BOIL).
        learn_inner_lr: "no", "per_layer" or "per_layer_and_step". Beyond the last learned step its length goes on.
        multi_step_loss: Outer steps during which the losses after all inner steps count, less and less; 0 for none.
        schedule: Of the outer learning rate: "constant", or "cosine" down to 0 over the whole training.

    Raises:
        ConfigurationError: A setting cannot work, or at the first batch: the backbone cannot be adapted.
        DataError: At the first batch: tasks do not fit the model.

    Source: Finn, Abbeel, Levine, Model-Agnostic Meta-Learning, 2017, algorithm 2; Raghu et al., Rapid Learning or
        Feature Reuse (ANIL), 2020; Oh et al., BOIL, 2021; Li et al., Meta-SGD, 2017; Antoniou et al., How to train your
        MAML, 2019.

    Example:
        >>> from lightning_lde.fewshot import Conv4
        >>> model = MAML(Conv4(width=8), ways=5, first_order=True)
        >>> model.method, model.hparams["backbone"]["width"]
        ('maml-first-order', 8)
        >>> MAML(Conv4(width=8), ways=5, adapts="head", learn_inner_lr="per_layer").method
        'anil-higher-order+per-layer'
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        ways: int,
        inner_lr: float = 0.1,
        inner_steps: int = 5,
        first_order: bool = False,
        outer_lr: float = 3e-3,
        eval_inner_steps: Sequence[int] = (5, 10),
        adapts: Adapts = "all",
        learn_inner_lr: LearnedLR = "no",
        multi_step_loss: int = 0,
        schedule: Schedule = "constant",
    ) -> None:
        super().__init__(
            backbone,
            ways=ways,
            inner_lr=inner_lr,
            inner_steps=inner_steps,
            first_order=first_order,
            eval_inner_steps=eval_inner_steps,
            adapts=adapts,
            learn_inner_lr=learn_inner_lr,
            multi_step_loss=multi_step_loss,
            optimizer=torch.optim.Adam,
            outer_lr=outer_lr,
            schedule=schedule,
        )
        self.save_hyperparameters(ignore=["backbone"])
        self.save_hyperparameters({"backbone": describe_backbone(backbone)})
        order = "first" if first_order else "higher"
        learned = "" if learn_inner_lr == "no" else f"+{learn_inner_lr.replace('_', '-')}"
        self._method = f"{_NAMES[adapts]}-{order}-order{learned}{'+multi-step' if multi_step_loss else ''}"

    @property
    def method(self) -> str:
        """Name under which results are recorded."""
        return self._method

    def training_step(self, batch: Episode, batch_idx: int = 0) -> Tensor:
        """Return the mean over tasks of the query loss after adaptation.

        Args:
            batch: Episodes stacked along a leading task dimension.
            batch_idx: Not used.
        """
        self.check_tasks(batch, training=True)
        found = meta_loss(self.network, batch, self.inner_loop(), recorder=self.recorder("training"))
        self.log_training(found.losses.mean(), found.accuracies.mean(), count=len(found.losses))
        return found.loss
