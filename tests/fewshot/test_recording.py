"""Steps that are recorded on a GPU come to what the same steps come to that are not."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import MAML, MLP, Conv4, Episode, Episodes, ResNet12, episode_loader
from lightning_lde.fewshot.engine import InnerLoop, Recorder, meta_loss, scores_at, trainable

from .conftest import make_dataset

WAYS, SIZE, TASKS, CALLS = 3, 16, 5, 7
BACKBONES: dict[str, Any] = {
    "Conv4": lambda norm: Conv4(1, 4, SIZE, norm_statistics=norm),
    "ResNet12": lambda norm: ResNet12(1, 0.03, SIZE, norm_statistics=norm),
    "MLP": lambda norm: MLP(SIZE * SIZE, (8, 6), norm_statistics=norm),
}


def tasks(seed: int = 1, device: str = "cpu", count: int = TASKS) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(WAYS)
    images = [
        torch.rand(count, WAYS * each, 1, SIZE, SIZE, dtype=torch.float64, generator=generator) for each in (2, 3)
    ]
    of_support, of_query = (labels.repeat_interleave(each).repeat(count, 1) for each in (2, 3))
    batch = Episode(images[0], of_support, images[1], of_query, labels.repeat(count, 1), torch.arange(count))
    return Episode(*(field.to(device) for field in batch))


def network(backbone: str, norm: str, device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    body = BACKBONES[backbone](norm)
    model = nn.Sequential(body, nn.Linear(body.feature_dim, WAYS)).double().to(device)
    with torch.no_grad():
        for value in model.parameters():
            # Norms are turned round in every other channel.
            value.mul_(torch.ones_like(value).cumsum(0).remainder(2).mul(2).sub(1) if value.ndim == 1 else 1)
    return model


def outcome(
    model: nn.Module, batch: Episode, inner: InnerLoop, recorder: Recorder | None, lrs: list[torch.Tensor]
) -> list[torch.Tensor]:
    found = meta_loss(model, batch, inner, recorder=recorder)
    slopes = torch.autograd.grad(found.loss, [*trainable(model).values(), *lrs])
    return [found.loss.detach(), found.losses, found.accuracies.double(), *slopes]


def compare(model: nn.Module, inner: InnerLoop, lrs: list[torch.Tensor], *, device: str, at_once: int = 2) -> None:
    """Steps with other tasks and other weights each time, the later ones played back, against steps as they are."""
    recorder = Recorder(at_once)
    for call in range(CALLS):
        batch = tasks(call, device)
        found, expected = (outcome(model, batch, inner, one, lrs) for one in (recorder, None))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
        with torch.no_grad():
            for value, slope in zip([*trainable(model).values(), *lrs], expected[3:], strict=True):
                value -= 0.01 * slope


def variants(model: nn.Module, device: str, *, first_order: bool) -> tuple[InnerLoop, list[torch.Tensor]]:
    names = list(trainable(model))
    shared = torch.tensor(0.1, dtype=torch.float64, device=device, requires_grad=True)
    by_step = torch.tensor([0.1, 0.2], dtype=torch.float64, device=device, requires_grad=True)
    lrs = {name: shared if number % 2 else by_step for number, name in enumerate(names)}
    inner = InnerLoop(2, lrs, first_order, adapted=frozenset(names[2:]), step_weights=(0.4, 0.6))
    return inner, [by_step, shared]


def test_elsewhere_a_recorder_changes_nothing() -> None:
    model = network("Conv4", "batch")
    compare(model, InnerLoop(2, 0.1), [], device="cpu")
    inner, lrs = variants(model, "cpu", first_order=False)
    compare(model, inner, lrs, device="cpu")


def test_a_copy_starts_anew() -> None:
    recorder = Recorder(3)
    for other in (copy.deepcopy(recorder), pickle.loads(pickle.dumps(recorder))):
        assert other is not recorder
        assert other.tasks_at_once == 3


def test_no_tasks_at_once_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="tasks_at_once=0: expected at least 1"):
        Recorder(0)
    model = MAML(MLP(SIZE * SIZE, (8,)), ways=WAYS).double()
    model.tasks_at_once = 0
    with pytest.raises(ConfigurationError, match="tasks_at_once=0: expected at least 1"):
        model.score_tasks(tasks())


def test_too_few_step_lengths_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="lr of head has 2 lengths for 3 steps"):
        InnerLoop(3, {"body": torch.tensor(0.1), "head": torch.ones(2)})


@pytest.mark.gpu
@pytest.mark.parametrize("first_order", [True, False], ids=["first", "higher"])
@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_recorded_steps_have_the_gradient_of_those_that_are_not(backbone: str, norm: str, first_order: bool) -> None:
    compare(network(backbone, norm, "cuda"), InnerLoop(3, 0.1, first_order), [], device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("at_once", [1, 16])
@pytest.mark.parametrize("first_order", [True, False], ids=["first", "higher"])
def test_variants_too(first_order: bool, at_once: int) -> None:
    model = network("Conv4", "batch", "cuda")
    compare(model, *variants(model, "cuda", first_order=first_order), device="cuda", at_once=at_once)


@pytest.mark.gpu
def test_on_a_gpu_the_gradient_is_that_of_a_cpu() -> None:
    found = [
        outcome(network("Conv4", "batch", device), tasks(1, device), InnerLoop(3, 0.1), None, [])
        for device in ("cpu", "cuda")
    ]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-8, atol=1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("norm", ["batch", "group", "running"])
def test_recorded_scores_are_those_of_steps_that_are_not(norm: str) -> None:
    model, recorder = network("Conv4", norm, "cuda").eval(), Recorder(2)
    for call in range(CALLS):
        batch = tasks(call, "cuda")
        found, expected = (
            scores_at(model, batch, InnerLoop(1, 0.1), steps=(0, 1, 4), recorder=one) for one in (recorder, None)
        )
        for ours, theirs in zip(found, expected, strict=True):
            assert ours[0] == theirs[0]
            torch.testing.assert_close(ours[1:], theirs[1:], rtol=1e-9, atol=1e-11)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("variant", [{}, {"adapts": "head"}, {"learn_inner_lr": "per_layer_and_step"}])
def test_maml_trains_and_is_tested_alike(trainer: Callable[..., pl.Trainer], variant: dict[str, Any]) -> None:
    # The last batch of an epoch is smaller.
    drawn = Episodes(make_dataset(), split="train", ways=WAYS, shots=2, queries=3, n_episodes=41)
    judged = Episodes(make_dataset(), split="test", ways=WAYS, shots=2, queries=3, n_episodes=41)
    trained, tested = [], []
    for records in (True, False):
        torch.manual_seed(0)
        model = MAML(Conv4(1, 4, SIZE), ways=WAYS, inner_steps=2, **variant)
        model.records = records
        runner = trainer(max_epochs=2, precision="64-true", accelerator="gpu", gradient_clip_val=1.0)
        runner.fit(model, episode_loader(drawn, TASKS))
        trained.append(torch.cat([value.detach().cpu().flatten() for value in model.parameters()]))
        tested += runner.test(model, episode_loader(judged, TASKS), verbose=False)
        assert not model._recorders
    torch.testing.assert_close(trained[1], trained[0], rtol=1e-6, atol=1e-9)
    assert tested[1] == pytest.approx(tested[0], rel=1e-6)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "32-true"])
def test_precisions_train_as_without_recording(trainer: Callable[..., pl.Trainer], precision: Any) -> None:
    drawn = Episodes(make_dataset(), split="train", ways=WAYS, shots=2, queries=3, n_episodes=60)
    losses = []
    for records in (True, False):
        torch.manual_seed(0)
        model = MAML(Conv4(1, 8, SIZE), ways=WAYS, inner_steps=2)
        model.records = records
        runner = trainer(max_epochs=1, precision=precision, accelerator="gpu")
        runner.fit(model, episode_loader(drawn, TASKS))
        losses.append(float(runner.callback_metrics["train/loss_epoch"]))
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.gpu
def test_dropout_is_drawn_for_each_task_and_each_step() -> None:
    one = tasks(device="cuda")
    same = Episode(*(field[:1].repeat(TASKS, *(1 for _ in field.shape[1:])) for field in one))
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(SIZE * SIZE, 8), nn.Dropout(), nn.Linear(8, WAYS)
    model, recorder = nn.Sequential(*layers).double().cuda(), Recorder(2)
    seen: set[float] = set()
    for _ in range(CALLS):
        seen |= set(meta_loss(model, same, InnerLoop(2, 0.1), recorder=recorder).losses.tolist())
    assert len(seen) == CALLS * TASKS


class _Waits(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) * (1 if float(images.sum().detach()) > 0 else -1)


@pytest.mark.gpu
def test_a_model_that_waits_for_the_device_runs_as_it_is_and_that_is_said_once() -> None:
    model = nn.Sequential(_Waits(), nn.Linear(SIZE * SIZE, WAYS)).double().cuda()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        compare(model, InnerLoop(2, 0.1), [], device="cuda")
    assert len([one for one in told if "cannot be recorded as a CUDA graph" in str(one.message)]) == 1
    assert torch.rand(3, device="cuda").isfinite().all()


@pytest.mark.gpu
def test_hooks_are_called_each_time() -> None:
    model, called = network("Conv4", "batch", "cuda"), []
    model[0].register_forward_hook(lambda *_: called.append(1))
    recorder = Recorder(2)
    counts = []
    for call in range(CALLS):
        meta_loss(model, tasks(call, "cuda"), InnerLoop(2, 0.1), recorder=recorder)
        counts.append(len(called))
    assert counts == [3 * TASKS * (call + 1) for call in range(CALLS)]


@pytest.mark.gpu
def test_shapes_that_change_run_as_they_are() -> None:
    model, recorder, inner = network("Conv4", "batch", "cuda"), Recorder(2), InnerLoop(2, 0.1)
    for call in range(2 * CALLS):
        batch = tasks(call, "cuda", count=2 if call % 3 == 2 else TASKS)
        found, expected = (outcome(model, batch, inner, one, []) for one in (recorder, None))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
