"""Meta-gradients of every method, backbone and variant against plain autograd in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from lightning_lde.fewshot import MAML, MLP, Conv4, Episode, ProtoNet, Reptile, ResNet12

Tensors = dict[str, Tensor]
MAKERS: dict[str, Any] = {
    "Conv4": lambda norm: Conv4(width=3, image_size=16, norm_statistics=norm),
    "ResNet12": lambda norm: ResNet12(1, 0.03, 16, norm_statistics=norm),
    "MLP": lambda norm: MLP(256, (8, 6), norm_statistics=norm),
}
WAYS, SIZE = 3, 16


def tasks(seed: int = 0, count: int = 2, shots: int = 2, queries: int = 3) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(WAYS)
    images = [
        torch.rand(count, WAYS * each, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)
        for each in (shots, queries)
    ]
    of_support, of_query = (labels.repeat_interleave(each).repeat(count, 1) for each in (shots, queries))
    return Episode(images[0], of_support, images[1], of_query, labels.repeat(count, 1), torch.arange(count))


def make(kind: Any, backbone: str, norm: str, seed: int = 0, **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(MAKERS[backbone](norm), ways=WAYS, **options).double()


def unrolled(
    model: MAML, batch: Episode, *, steps: int, first_order: bool, part: str, weights: list[float]
) -> tuple[Tensor, Tensors]:
    """Mean weighted query loss and its gradients, by one graph over the whole loop."""
    start = {
        name: value.detach().clone().requires_grad_() for name, value in model.named_parameters() if name != "inner_lrs"
    }
    rates = None if model.inner_lrs is None else model.inner_lrs.detach().clone().requires_grad_()
    changed = [name for name in start if name.startswith(part)]
    plain = nn.ModuleDict({"backbone": model.backbone, "head": model.head})

    def loss_of(state: Tensors, images: Tensor, labels: Tensor) -> Tensor:
        features = functional_call(plain["backbone"], under(state, "backbone."), (images,))
        return F.cross_entropy(functional_call(plain["head"], under(state, "head."), (features,)), labels)

    total = torch.zeros((), dtype=torch.float64)
    for task in range(len(batch.index)):
        state = dict(start)
        for step in range(steps):
            inner = loss_of(state, batch.support_images[task], batch.support_labels[task])
            slopes = torch.autograd.grad(inner, [state[name] for name in changed], create_graph=True)
            for place, (name, slope) in enumerate(zip(changed, slopes, strict=True)):
                rate = 0.05 if rates is None else rates[place] if rates.ndim == 1 else rates[place, step]
                state[name] = state[name] - rate * (slope.detach() if first_order else slope)
            if weights[step]:
                outer = loss_of(state, batch.query_images[task], batch.query_labels[task])
                total = total + weights[step] * outer / len(batch.index)
    sources = start if rates is None else {**start, "inner_lrs": rates}
    return total.detach(), dict(zip(sources, torch.autograd.grad(total, list(sources.values())), strict=True))


def under(state: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def assert_equal_gradients(model: nn.Module, wanted: Tensors) -> None:
    found = {name: value.grad for name, value in model.named_parameters()}
    assert found.keys() == wanted.keys()
    together = [torch.cat([each[name].flatten() for name in wanted]) for each in (found, wanted)]
    assert float(together[1].norm()) > 1e-6
    assert float((together[0] - together[1]).norm() / together[1].norm()) <= 1e-10
    if "inner_lrs" in wanted:
        # All of them are zero where every unit of a layer without a norm is silent.
        assert float((found["inner_lrs"] - wanted["inner_lrs"]).norm()) <= 1e-10 * float(wanted["inner_lrs"].norm())


@pytest.mark.parametrize("first_order", [True, False], ids=["first", "higher"])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("backbone", MAKERS)
def test_maml_s_gradient_is_that_of_the_unrolled_loop(backbone: str, norm: str, steps: int, first_order: bool) -> None:
    model = make(MAML, backbone, norm, inner_lr=0.05, inner_steps=steps, first_order=first_order)
    loss = model.training_step(tasks())
    loss.backward()
    last_alone = [0.0] * (steps - 1) + [1.0]
    wanted_loss, wanted = unrolled(model, tasks(), steps=steps, first_order=first_order, part="", weights=last_alone)
    torch.testing.assert_close(loss.detach(), wanted_loss, rtol=1e-12, atol=0)
    assert_equal_gradients(model, wanted)


def check_variant(
    backbone: str, norm: str, steps: int, first_order: bool, adapts: str, learn: str, anneal: int, seed: int
) -> None:
    options = {"adapts": adapts, "learn_inner_lr": learn, "multi_step_loss": anneal}
    model = make(MAML, backbone, norm, seed, inner_lr=0.05, inner_steps=steps, first_order=first_order, **options)
    if model.inner_lrs is not None:
        shift = torch.linspace(0.5, 1.5, model.inner_lrs.numel(), dtype=torch.float64)
        model.inner_lrs.data.mul_(shift.view_as(model.inner_lrs))
    batch = tasks(seed)
    loss = model.training_step(batch)
    loss.backward()
    weights = [1 / steps] * steps if anneal else [0.0] * (steps - 1) + [1.0]
    part = {"all": "", "head": "head.", "body": "backbone."}[adapts]
    wanted_loss, wanted = unrolled(model, batch, steps=steps, first_order=first_order, part=part, weights=weights)
    torch.testing.assert_close(loss.detach(), wanted_loss, rtol=1e-12, atol=0)
    assert_equal_gradients(model, wanted)


def variants(backbones: list[str]) -> Any:
    return given(
        backbone=st.sampled_from(backbones),
        norm=st.sampled_from(["batch", "group", "none"]),
        steps=st.sampled_from([1, 2, 5]),
        first_order=st.booleans(),
        adapts=st.sampled_from(["all", "head", "body"]),
        learn=st.sampled_from(["no", "per_layer", "per_layer_and_step"]),
        anneal=st.sampled_from([0, 10]),
        seed=st.integers(0, 1000),
    )


@settings(max_examples=8, deadline=None)
@variants(["Conv4", "MLP"])
def test_gradients_of_all_variants_together(**drawn: Any) -> None:
    check_variant(**drawn)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@variants(list(MAKERS))
def test_gradients_of_all_variants_of_all_backbones(**drawn: Any) -> None:
    check_variant(**drawn)


@pytest.mark.parametrize("learn", ["per_layer", "per_layer_and_step"])
@pytest.mark.parametrize("first_order", [True, False], ids=["first", "higher"])
def test_step_lengths_have_gradients_together_with_the_loss_of_all_steps(first_order: bool, learn: str) -> None:
    check_variant("Conv4", "batch", 5, first_order, "all", learn, 10, 0)


def test_tied_weights_are_adapted_as_the_one_tensor_that_they_are() -> None:
    class Tied(nn.Module):
        feature_dim = 6

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.third = nn.Linear(256, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.third.weight = self.second.weight

        def forward(self, images: Tensor) -> Tensor:
            return torch.tanh(self.third(torch.tanh(self.second(torch.tanh(self.first(images.flatten(1)))))))

    torch.manual_seed(0)
    model = MAML(Tied(), ways=WAYS, inner_lr=0.05, inner_steps=3).double()
    model.training_step(tasks()).backward()
    _, wanted = unrolled(model, tasks(), steps=3, first_order=False, part="", weights=[0, 0, 1])
    assert_equal_gradients(model, wanted)


@pytest.mark.parametrize("backbone", MAKERS)
def test_reptile_s_gradient_is_the_way_back_from_sgd_on_a_copy(backbone: str) -> None:
    model, batch = make(Reptile, backbone, "batch", inner_lr=0.05, inner_steps=5, minibatches=2), tasks()
    model.training_step(batch).backward()
    wanted = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    order = torch.tensor([0, 1, 6, 7, 8, 2, 3, 9, 10, 11, 4, 5, 12, 13, 14])  # by class: support, then query
    for task in range(2):
        twin = make(Reptile, backbone, "batch", inner_lr=0.05)
        images = torch.cat([batch.support_images[task], batch.query_images[task]])[order]
        labels = torch.cat([batch.support_labels[task], batch.query_labels[task]])[order]
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)
        for step in range(5):
            optimizer.zero_grad()
            F.cross_entropy(twin(images[step % 2 :: 2]), labels[step % 2 :: 2]).backward()
            optimizer.step()
        for name, value in model.named_parameters():
            wanted[name] += (value - twin.get_parameter(name)).detach() / 2
    assert_equal_gradients(model, wanted)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("backbone", MAKERS)
def test_protonet_s_gradient_is_that_of_distances_to_means_of_classes(backbone: str, norm: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ProtoNet(MAKERS[backbone](norm)).double()
    batch = tasks()
    model.training_step(batch).backward()
    total = torch.zeros((), dtype=torch.float64)
    for task in range(2):
        support, query = model.backbone(batch.support_images[task]), model.backbone(batch.query_images[task])
        centres = torch.stack([support[batch.support_labels[task] == one].mean(0) for one in range(WAYS)])
        total = total + F.cross_entropy(-torch.cdist(query, centres).square(), batch.query_labels[task]) / 2
    names, values = zip(*model.named_parameters(), strict=True)
    assert_equal_gradients(model, dict(zip(names, torch.autograd.grad(total, values), strict=True)))
