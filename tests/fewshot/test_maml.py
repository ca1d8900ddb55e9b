"""MAML: its meta-gradient against plain autograd, evaluation without traces, and that it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import MAML, Conv4, Episode, EpisodeResults, Episodes, FewShotDataset

from .conftest import make_dataset


class Tiny(nn.Module):
    """Two layers that are smooth, with a batch norm between them."""

    feature_dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 4)
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)
        self.second = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.second(torch.tanh(self.norm(self.first(images.flatten(1))))))


def tiny_batch(tasks: int = 3, ways: int = 3) -> Episode:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(ways)
    support = torch.rand(tasks, 2 * ways, 1, 4, 4, generator=generator, dtype=torch.float64)
    query = torch.rand(tasks, 4 * ways, 1, 4, 4, generator=generator, dtype=torch.float64)
    return Episode(
        support,
        labels.repeat_interleave(2).repeat(tasks, 1),
        query,
        labels.repeat_interleave(4).repeat(tasks, 1),
        labels.repeat(tasks, 1),
        torch.arange(tasks),
    )


def written_out_logits(weights: list[Tensor], images: Tensor) -> Tensor:
    """The tiny network and its head as formulas, without any module."""
    w1, b1, scale, shift, w2, b2, w3, b3 = weights
    hidden = images.flatten(1) @ w1.T + b1
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt() * scale + shift
    return torch.tanh(torch.tanh(hidden) @ w2.T + b2) @ w3.T + b3


def unrolled_meta_gradient(
    model: MAML, batch: Episode, *, lr: float, steps: int, first_order: bool
) -> tuple[Tensor, list[Tensor]]:
    """Mean query loss and its gradient by an unrolled loop over explicit weights."""
    start = [value.detach().clone().requires_grad_() for value in model.parameters()]
    losses, sums = [], [torch.zeros_like(value) for value in start]
    for task in range(len(batch.index)):
        weights = start
        for _ in range(steps):
            logits = written_out_logits(weights, batch.support_images[task])
            loss = F.cross_entropy(logits, batch.support_labels[task])
            slopes = torch.autograd.grad(loss, weights, create_graph=True)
            weights = [value - lr * slope for value, slope in zip(weights, slopes, strict=True)]
        logits = written_out_logits(weights, batch.query_images[task])
        losses.append(F.cross_entropy(logits, batch.query_labels[task]))
        at = weights if first_order else start
        slopes = torch.autograd.grad(losses[-1], at)
        sums = [total + slope for total, slope in zip(sums, slopes, strict=True)]
    return torch.stack(losses).mean().detach(), [total / len(losses) for total in sums]


def tiny_model(**settings: Any) -> MAML:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return MAML(Tiny(), ways=3, inner_lr=0.5, **settings).double()


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradient_is_that_of_plain_autograd(first_order: bool, steps: int) -> None:
    model, batch = tiny_model(inner_steps=steps, first_order=first_order), tiny_batch()
    loss = model.training_step(batch)
    loss.backward()
    wanted_loss, wanted = unrolled_meta_gradient(model, batch, lr=0.5, steps=steps, first_order=first_order)
    torch.testing.assert_close(loss.detach(), wanted_loss, rtol=1e-12, atol=0)
    found = torch.cat([value.grad.flatten() for value in model.parameters()])
    expected = torch.cat([value.flatten() for value in wanted])
    assert float((found - expected).norm() / expected.norm()) < 1e-10


def test_first_and_higher_order_differ() -> None:
    gradients = []
    for first_order in (True, False):
        model = tiny_model(inner_steps=3, first_order=first_order)
        model.training_step(tiny_batch()).backward()
        gradients.append(torch.cat([value.grad.flatten() for value in model.parameters()]))
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) > 0.01


def test_frozen_parameters_are_neither_adapted_nor_trained() -> None:
    model = tiny_model(inner_steps=2)
    model.backbone.first.requires_grad_(False)
    model.training_step(tiny_batch()).backward()
    assert model.backbone.first.weight.grad is None
    assert model.backbone.second.weight.grad is not None
    assert len(model.configure_optimizers().param_groups[0]["params"]) == 6


def test_scores_are_those_of_a_loop_of_sgd_on_a_copy() -> None:
    model, batch = tiny_model(eval_inner_steps=(0, 2, 5)), tiny_batch()
    results = model.test_step(batch)["episodes"]
    losses, rights = [], []
    for task in range(3):
        twin = tiny_model().eval()
        twin.load_state_dict(model.state_dict())
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
        for step in range(6):
            if step in (0, 2, 5):
                logits = twin(batch.query_images[task]).detach()
                losses.append(float(F.cross_entropy(logits, batch.query_labels[task])))
                rights.append(float((logits.argmax(1) == batch.query_labels[task]).double().mean()))
            optimizer.zero_grad()
            F.cross_entropy(twin(batch.support_images[task]), batch.support_labels[task]).backward()
            optimizer.step()
    assert results.loss == pytest.approx(losses, rel=1e-9)
    assert results.accuracy == pytest.approx(rights, rel=1e-6)
    assert results.inner_steps == [0, 2, 5] * 3
    assert results.index == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert results.classes == [[0, 1, 2]] * 9
    assert (results.method, results.ways, results.shots, results.queries) == ("maml-higher-order", 3, 2, 4)


class Recorder(pl.Callback):
    """Keeps the results of each test batch, as the database's callback does."""

    def __init__(self) -> None:
        self.results: list[EpisodeResults] = []

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any, **__: Any) -> None:
        self.results.append(outputs["episodes"])


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("norm", ["batch", "running"])
def test_testing_leaves_no_trace_and_repeats(
    trainer: Callable[..., pl.Trainer], inference_mode: bool, norm: Any
) -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(Conv4(width=4, image_size=16, norm_statistics=norm), nn.Dropout(0.5))
    backbone.feature_dim = 4
    model = MAML(backbone, ways=4, first_order=True, eval_inner_steps=(1, 3))
    tasks = Episodes(make_dataset(), ways=4, shots=2, queries=3, n_episodes=3)
    loader = DataLoader(tasks, batch_size=2, generator=torch.Generator())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    runs = []
    for _ in range(2):
        recorder = Recorder()
        run = trainer(inference_mode=inference_mode, callbacks=[recorder])
        [logged] = run.test(model, loader, verbose=False)
        runs.append((logged, recorder.results))
    model.trainer = None
    model.train()
    model.test_step(next(iter(loader)))
    assert runs[0] == runs[1]
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(value.grad is None for value in model.parameters())
    assert not any(value.is_inference() for value in model.parameters())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    logged, results = runs[0]
    names = {f"test/{what}_{k}_steps" for what in ("loss", "accuracy") for k in (1, 3)}
    assert set(logged) == names | {f"{name}_ci95" for name in names}
    assert [one.index for one in results] == [[0, 0, 1, 1], [2, 2]]
    mean = sum(one for part in results for one in part.accuracy[1::2]) / 3
    assert logged["test/accuracy_3_steps"] == pytest.approx(mean)


def test_a_short_fit_learns_the_task_of_learning_greek(
    trainer: Callable[..., pl.Trainer], greek: FewShotDataset
) -> None:
    torch.manual_seed(0)
    model = MAML(Conv4(width=8), ways=5, inner_steps=3, first_order=True, outer_lr=3e-3)
    seen = Episodes(greek, split="train", queries=5, n_episodes=80, seed=1)
    unseen = DataLoader(Episodes(greek, n_episodes=6), batch_size=6)
    [untrained] = trainer().test(model, unseen, verbose=False)
    run = trainer(max_epochs=1, num_sanity_val_steps=0)
    run.fit(model, DataLoader(seen, batch_size=4), DataLoader(Episodes(greek, split="test", n_episodes=2)))
    logged = {"train/loss_step", "train/loss_epoch", "train/accuracy_step", "train/accuracy_epoch"}
    assert logged | {"val/loss_5_steps", "val/accuracy_10_steps"} <= set(run.callback_metrics)
    [result] = trainer().test(model, unseen, verbose=False)
    assert result["test/accuracy_10_steps"] > max(0.6, untrained["test/accuracy_10_steps"])


def test_hyper_parameters_describe_the_backbone_and_survive_a_checkpoint(tmp_path: Path) -> None:
    model = MAML(Conv4(width=8), ways=5, first_order=True)
    wanted = {
        "class": "Conv4",
        "in_channels": 1,
        "width": 8,
        "image_size": 28,
        "norm_statistics": "batch",
        "parameters": 1864,
    }
    assert model.hparams["backbone"] == wanted
    assert model.hparams_initial["backbone"] == wanted
    assert model.hparams["first_order"] is True
    run = pl.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False)
    run.strategy.connect(model)
    run.save_checkpoint(tmp_path / "model.ckpt")
    twin = MAML.load_from_checkpoint(tmp_path / "model.ckpt", backbone=Conv4(width=8))
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), twin.parameters(), strict=True))
    assert twin.hparams == model.hparams
    with pytest.raises(ConfigurationError, match="pass backbone="):
        MAML.load_from_checkpoint(tmp_path / "model.ckpt")


def test_a_checkpoint_from_before_the_variants_loads(tmp_path: Path) -> None:
    blocks = [f"backbone.blocks.{place}" for place in range(4)]
    state = {f"{block}.0.weight": torch.rand(2, 1 if place == 0 else 2, 3, 3) for place, block in enumerate(blocks)}
    state |= {f"{block}.1.{name}": torch.rand(2) for block in blocks for name in ("weight", "bias")}
    state |= {"head.weight": torch.rand(5, 2), "head.bias": torch.rand(5)}
    described = {"class": "Conv4", "in_channels": 1, "width": 2, "image_size": 28, "norm_statistics": "batch"}
    hparams = {"ways": 5, "inner_lr": 0.2, "inner_steps": 3, "first_order": True, "outer_lr": 1e-3}
    hparams |= {"eval_inner_steps": (5,), "backbone": described}
    checkpoint = {"state_dict": state, "hyper_parameters": hparams, "pytorch-lightning_version": pl.__version__}
    torch.save(checkpoint, tmp_path / "old.ckpt")
    model = MAML.load_from_checkpoint(tmp_path / "old.ckpt", backbone=Conv4(width=2))
    assert (model.method, model.inner_lr, model.inner_steps) == ("maml-first-order", 0.2, 3)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.state_dict().keys() == state.keys()


@pytest.mark.parametrize(
    "wrong",
    [
        {"adapts": "neck"},
        {"learn_inner_lr": "yes"},
        {"multi_step_loss": -1},
        {"ways": 1},
        {"inner_steps": 0},
        {"inner_lr": 0.0},
        {"outer_lr": -1.0},
        {"eval_inner_steps": ()},
        {"eval_inner_steps": (-1,)},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        MAML(Tiny(), **{"ways": 3, **wrong})


def test_a_backbone_without_feature_dim_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="feature_dim"):
        MAML(nn.Linear(2, 2), ways=5)


def test_batches_that_are_no_episodes_are_refused() -> None:
    model, batch = tiny_model(), tiny_batch(ways=4)
    with pytest.raises(DataError, match="episodes have 4 ways, the model has 3"):
        model.training_step(batch)
    with pytest.raises(DataError, match="leading task dimension"):
        model.test_step(Episode(*(field[0] for field in batch)))
    with pytest.raises(DataError, match="batch is a list"):
        model.training_step([torch.rand(2, 2), torch.zeros(2)])
