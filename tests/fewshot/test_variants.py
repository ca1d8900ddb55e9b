"""Variants of MAML, Reptile and ProtoNet: their names, step lengths and weights, and that they learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import MAML, Conv4, Episodes, FewShotDataset, ProtoNet, Reptile
from lightning_lde.fewshot.methods._step_lengths import step_weights

from .test_maml import tiny_batch, tiny_model


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"adapts": "head"}, "anil-higher-order"),
        ({"adapts": "body", "first_order": True}, "boil-first-order"),
        ({"learn_inner_lr": "per_layer"}, "maml-higher-order+per-layer"),
        (
            {"learn_inner_lr": "per_layer_and_step", "multi_step_loss": 9},
            "maml-higher-order+per-layer-and-step+multi-step",
        ),
    ],
)
def test_variants_are_recorded_under_names_of_their_own(options: dict[str, Any], name: str) -> None:
    model = tiny_model(eval_inner_steps=(1,), **options)
    assert model.test_step(tiny_batch())["episodes"].method == name
    assert options.items() <= dict(model.hparams).items()


def test_learned_step_lengths_are_those_of_evaluation_and_the_last_one_goes_on() -> None:
    model, batch = tiny_model(inner_steps=2, learn_inner_lr="per_layer_and_step", eval_inner_steps=(4,)), tiny_batch()
    model.inner_lrs.data.uniform_(0.1, 0.6, generator=torch.Generator().manual_seed(0))
    found = model.test_step(batch)["episodes"].loss
    for task in range(3):
        twin = tiny_model().eval()
        for step in (0, 1, 1, 1):
            loss = F.cross_entropy(twin(batch.support_images[task]), batch.support_labels[task])
            slopes = torch.autograd.grad(loss, list(twin.parameters()))
            with torch.no_grad():
                for value, slope, rates in zip(twin.parameters(), slopes, model.inner_lrs, strict=True):
                    value -= rates[step] * slope
        wanted = F.cross_entropy(twin(batch.query_images[task]), batch.query_labels[task])
        assert found[task] == pytest.approx(wanted.item(), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(2, 10), anneal=st.integers(1, 50), taken=st.integers(0, 60))
def test_weights_of_the_losses_are_those_of_maml_plus_plus(steps: int, anneal: int, taken: int) -> None:
    found = step_weights(steps, outer_step=taken, anneal=anneal)
    if taken >= anneal:
        assert found is None
        return
    weights = np.ones(steps) / steps  # get_per_step_loss_importance_vector of Antoniou's code
    decay, least = 1 / steps / anneal, 0.03 / steps
    weights[:-1] = np.maximum(weights[:-1] - taken * decay, least)
    weights[-1] = np.minimum(weights[-1] + taken * (steps - 1) * decay, 1 - (steps - 1) * least)
    assert found == pytest.approx(weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anil", "per layer", "multi-step", "reptile", "protonet"])
def test_every_method_learns_the_task_of_learning_greek(
    trainer: Callable[..., pl.Trainer], greek: FewShotDataset, name: str
) -> None:
    torch.manual_seed(0)
    options = {
        "anil": {"adapts": "head", "first_order": False, "inner_lr": 0.5, "outer_lr": 1e-2},
        "per layer": {"learn_inner_lr": "per_layer_and_step"},
        "multi-step": {"multi_step_loss": 15},
    }
    if name == "protonet":
        model: Any = ProtoNet(Conv4(width=8, norm_statistics="running"), lr=1e-2)
    elif name == "reptile":
        model = Reptile(Conv4(width=8), ways=5)
    else:
        model = MAML(Conv4(width=8), ways=5, inner_steps=3, **{"first_order": True, **options[name]})
    seen = Episodes(greek, split="train", queries=5, n_episodes=240, seed=1)
    unseen = DataLoader(Episodes(greek, n_episodes=20), batch_size=10)
    [untrained] = trainer().test(model, unseen, verbose=False)
    trainer(max_epochs=1, num_sanity_val_steps=0).fit(model, DataLoader(seen, batch_size=4), unseen)
    [result] = trainer().test(model, unseen, verbose=False)
    key = "test/accuracy" if name == "protonet" else "test/accuracy_10_steps"
    assert result[key] > max(0.6, untrained[key] + 0.05)


@pytest.mark.parametrize("wrong", [{"minibatches": 0}, {"outer_lr": 1.5}, {"inner_steps": 0}])
def test_settings_of_reptile_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Reptile(Conv4(width=4), ways=3, **wrong)
