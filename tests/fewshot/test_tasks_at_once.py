"""Meta-gradients of many tasks at once are those of one task after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import MAML, MLP, Conv4, Episode, Episodes, ResNet12, episode_loader
from lightning_lde.fewshot.engine import InnerLoop, meta_loss, trainable

from .conftest import make_dataset

WAYS, SIZE, TASKS = 3, 16, 3
BACKBONES: dict[str, Any] = {
    "Conv4": lambda norm: Conv4(1, 4, SIZE, norm_statistics=norm),
    "ResNet12": lambda norm: ResNet12(1, 0.03, SIZE, norm_statistics=norm),
    "MLP": lambda norm: MLP(SIZE * SIZE, (8, 6), norm_statistics=norm),
}


def tasks() -> Episode:
    torch.manual_seed(1)
    labels = torch.arange(WAYS)
    images = [torch.rand(TASKS, WAYS * each, 1, SIZE, SIZE, dtype=torch.float64) for each in (2, 3)]
    of_support, of_query = (labels.repeat_interleave(each).repeat(TASKS, 1) for each in (2, 3))
    return Episode(images[0], of_support, images[1], of_query, labels.repeat(TASKS, 1), torch.arange(TASKS))


def network(backbone: str, norm: str) -> nn.Module:
    torch.manual_seed(0)
    body = BACKBONES[backbone](norm)
    return nn.Sequential(body, nn.Linear(body.feature_dim, WAYS)).double()


def outcome(model: nn.Module, inner: InnerLoop, at_once: int, lrs: list[torch.Tensor]) -> list[torch.Tensor]:
    found = meta_loss(model, tasks(), inner, tasks_at_once=at_once)
    slopes = torch.autograd.grad(found.loss, [*trainable(model).values(), *lrs])
    return [found.loss.detach(), found.losses, found.accuracies.double(), *slopes]


# Double backward through vmap of native batch norm is wrong where autograd stands around the vmap; here it is inside.
@pytest.mark.parametrize("at_once", [2, 8])
@pytest.mark.parametrize("first_order", [True, False], ids=["first", "higher"])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_tasks_at_once_have_the_gradient_of_one_after_the_other(
    backbone: str, norm: str, first_order: bool, at_once: int
) -> None:
    model, inner = network(backbone, norm), InnerLoop(3, 0.1, first_order)
    for one, other in zip(outcome(model, inner, 1, []), outcome(model, inner, at_once, []), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("first_order", [True, False], ids=["first", "higher"])
def test_variants_too(first_order: bool) -> None:
    model = network("Conv4", "batch")
    names = list(trainable(model))
    shared = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    by_step = torch.tensor([0.1, 0.2], dtype=torch.float64, requires_grad=True)
    lrs = {name: shared if number % 2 else by_step for number, name in enumerate(names)}
    adapted = frozenset(names[2:])
    inner = InnerLoop(2, lrs, first_order, adapted=adapted, step_weights=(0.4, 0.6))
    expected, found = (outcome(model, inner, count, [by_step, shared]) for count in (1, TASKS))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11)
    assert not torch.equal(expected[-1], torch.zeros_like(expected[-1]))


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_maml_trains_alike(trainer: Callable[..., pl.Trainer]) -> None:
    drawn = Episodes(make_dataset(), split="train", ways=WAYS, shots=2, queries=3, n_episodes=6)
    trained = []
    for at_once in (1, TASKS):
        torch.manual_seed(0)
        model = MAML(Conv4(1, 4, SIZE), ways=WAYS, inner_steps=2)
        model.tasks_at_once = at_once
        trainer(max_epochs=1, precision="64-true").fit(model, episode_loader(drawn, TASKS))
        trained.append(torch.cat([value.detach().flatten() for value in model.parameters()]))
    torch.testing.assert_close(trained[1], trained[0], rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("norm", ["batch", "group", "running"])
@pytest.mark.parametrize("variant", [{}, {"adapts": "head"}, {"learn_inner_lr": "per_layer_and_step"}])
def test_maml_is_tested_alike(trainer: Callable[..., pl.Trainer], norm: Any, variant: dict[str, Any]) -> None:
    drawn = Episodes(make_dataset(), split="test", ways=WAYS, shots=2, queries=3, n_episodes=5)
    model = MAML(
        Conv4(1, 4, SIZE, norm_statistics=norm), ways=WAYS, inner_steps=2, eval_inner_steps=(0, 1, 4), **variant
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = []
    for at_once in (1, 2):
        model.tasks_at_once = at_once
        [logged] = trainer(precision="64-true").test(model, episode_loader(drawn, 3), verbose=False)
        found.append(logged)
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    assert len(found[0]) == 12
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name].to(value.dtype), rtol=0, atol=0)


@pytest.mark.parametrize("first_order", [True, False], ids=["first", "higher"])
def test_dropout_is_drawn_for_each_task(first_order: bool) -> None:
    one = tasks()
    same = Episode(*(field[:1].repeat(TASKS, *(1 for _ in field.shape[1:])) for field in one))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8), nn.Dropout(), nn.Linear(8, WAYS)).double()
    found = meta_loss(model, same, InnerLoop(2, 0.1, first_order), tasks_at_once=TASKS)
    assert len(set(found.losses.tolist())) == TASKS
    found.loss.backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


def test_no_tasks_at_once_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="tasks_at_once=0: expected at least 1"):
        meta_loss(network("MLP", "none"), tasks(), InnerLoop(1, 0.1), tasks_at_once=0)
    model = MAML(MLP(SIZE * SIZE, (8,)), ways=WAYS).double()
    model.tasks_at_once = 0
    with pytest.raises(ConfigurationError, match="tasks_at_once=0: expected at least 1"):
        model.score_tasks(tasks())


def test_too_few_step_lengths_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="lr of head has 2 lengths for 3 steps"):
        InnerLoop(3, {"body": torch.tensor(0.1), "head": torch.ones(2)})
