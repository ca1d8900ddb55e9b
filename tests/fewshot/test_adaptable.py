"""What cannot be adapted is refused at the first batch, by name, before it could do harm; what can be is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import MAML, Conv4, Episode, Pretraining, ProtoNet, Reptile

from .test_meta_gradients import WAYS, tasks


class Layers(nn.Module):
    """Two linear layers with something between them."""

    feature_dim = 6

    def __init__(self, between: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.between, self.second = nn.Linear(256, 6), between or nn.Identity(), nn.Linear(6, 6)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.second(self.between(torch.tanh(self.first(images.flatten(1))))))


def model_of(backbone: nn.Module, kind: Any = MAML, **options: Any) -> Any:
    return kind(backbone, ways=WAYS, inner_steps=2, **options).double()


class Counting(nn.Module):
    """Replaces its buffer in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.count = self.count + 1
        return inputs


class Clamping(nn.Linear):
    """Writes its weight in each pass."""

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.clamp_(-1, 1)
        return super().forward(inputs)


class Caching(nn.Linear):
    """Computes what it multiplies by once."""

    cached: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.cached is None:
            self.cached = 2 * self.weight
        return F.linear(inputs, self.cached, self.bias)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(inputs)
        return inputs**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * slope


class Cube(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return Once.apply(inputs)


@pytest.mark.parametrize("kind", [MAML, Reptile])
@pytest.mark.parametrize(
    ("between", "name"),
    [
        (lambda: nn.BatchNorm1d(6), r"backbone\.between \(BatchNorm1d\) writes its buffer running_mean"),
        (Counting, r"backbone\.between \(Counting\) writes its buffer count"),
        (lambda: Clamping(6, 6), r"backbone\.between \(Clamping\) writes its parameter weight"),
        (lambda: Caching(6, 6), r"does not depend on backbone\.between\.weight of backbone\.between \(Caching\)"),
        (lambda: parametrizations.spectral_norm(nn.Linear(6, 6)), r"\(_SpectralNorm\) writes its buffer _u"),
        (
            lambda: torch.nn.utils.spectral_norm(nn.Linear(6, 6)),
            r"backbone\.between \(Linear\) writes its buffer weight_",
        ),
    ],
    ids=["running norm", "replaced buffer", "written parameter", "cache", "spectral norm", "old spectral norm"],
)
def test_layers_that_an_inner_loop_cannot_follow_are_named(
    between: Callable[[], nn.Module], name: str, kind: Any
) -> None:
    model = model_of(Layers(between()), kind)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ConfigurationError, match=name):
        model.training_step(tasks())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "between",
    [
        lambda: parametrizations.weight_norm(nn.Linear(6, 6)),
        lambda: torch.nn.utils.weight_norm(nn.Linear(6, 6)),
        lambda: nn.BatchNorm1d(6).eval(),
        lambda: nn.GroupNorm(2, 6),
        lambda: nn.Dropout(0.2),
    ],
    ids=["weight norm", "old weight norm", "frozen norm", "group norm", "dropout"],
)
def test_layers_that_an_inner_loop_can_follow_are_trained(between: Callable[[], nn.Module]) -> None:
    model = model_of(Layers(between()))
    model.training_step(tasks()).backward()
    assert all(float(value.grad.abs().sum()) > 0 for value in model.parameters())


def test_a_cache_of_parametrizations_is_noticed() -> None:
    model = model_of(Layers(parametrizations.weight_norm(nn.Linear(6, 6))))
    with parametrize.cached(), pytest.raises(ConfigurationError, match=r"parametrizations\.weight\.original0"):
        model.training_step(tasks())


def test_parameters_without_a_use_are_named_unless_frozen() -> None:
    backbone = Layers()
    backbone.spare = nn.Linear(3, 3)
    model = model_of(backbone)
    with pytest.raises(ConfigurationError, match=r"does not depend on backbone\.spare\.weight"):
        model.training_step(tasks())
    with pytest.raises(ConfigurationError, match=r"does not depend on backbone\.spare\.weight"):
        model.test_step(tasks())
    backbone.spare.requires_grad_(False)
    assert float(model.training_step(tasks()).detach()) > 0
    assert len(model.test_step(tasks())["episodes"]) == 4


def test_operations_without_a_second_derivative_need_first_order() -> None:
    with pytest.raises(ConfigurationError, match="first_order=True"):
        model_of(Layers(Cube())).training_step(tasks())
    assert float(model_of(Layers(Cube()), first_order=True).training_step(tasks()).detach()) > 0


@pytest.mark.parametrize("adapts", ["head", "body"])
def test_a_tie_between_what_is_adapted_and_what_is_not_is_refused(adapts: str) -> None:
    model = model_of(Layers(), adapts=adapts)
    model.backbone.second = nn.Linear(6, 3)
    model.backbone.feature_dim = 3
    model.head = nn.Linear(3, 3).double()
    model.backbone.double()
    model.backbone.third = nn.Linear(3, 3).double()
    model.backbone.third.weight = model.head.weight
    with pytest.raises(ConfigurationError, match=r"head\.weight and backbone\.third\.weight are one tensor"):
        model.training_step(tasks())


def test_running_statistics_may_be_evaluated_and_serve_methods_that_do_not_adapt() -> None:
    backbone = Conv4(width=4, image_size=16, norm_statistics="running")
    assert len(model_of(backbone).test_step(tasks())["episodes"]) == 4
    assert float(ProtoNet(backbone).double().training_step(tasks()).detach()) > 0


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda net: MAML(net, ways=WAYS), {"image_size": 64}),
        (lambda net: MAML(net, ways=WAYS), {"in_channels": 3}),
        (ProtoNet, {"in_channels": 3}),
        (lambda net: Pretraining(net, n_classes=3), {"in_channels": 3}),
    ],
)
def test_images_that_do_not_fit_are_told_from_what_the_backbone_expects(make: Any, wrong: dict[str, int]) -> None:
    setting, value = next(iter(wrong.items()))
    model = make(Conv4(**{"width": 4, "image_size": 16, **wrong})).double()
    with pytest.raises(DataError, match=rf"Conv4 with the settings .*'{setting}': {value}.* shape \(1, 16, 16\)"):
        model.test_step(tasks())


def test_the_look_at_the_first_batch_moves_no_random_state_and_is_taken_once() -> None:
    passes: list[int] = []
    backbone = Layers(nn.Dropout(0.5))
    backbone.register_forward_hook(lambda *_: passes.append(1))
    model = model_of(backbone)
    torch.manual_seed(0)
    model.check_tasks(tasks(), training=True)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    seen = len(passes)
    model.check_tasks(tasks(), training=True)
    assert 0 < seen == len(passes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one._replace(support_labels=one.support_labels + 1), r"task 0 are \[1, 1, 2, 2, 3, 3\]"),
        (lambda one: one._replace(query_labels=torch.zeros_like(one.query_labels)), "query labels of task 0"),
        (lambda one: one._replace(support_labels=one.support_labels[:, :5]), "5 support images for 3 classes"),
        (lambda one: one._replace(query_labels=one.query_labels[:, :0]), "0 query images"),
        (lambda one: one._replace(support_images=one.support_images.to(torch.uint8)), "images are torch.uint8"),
        (lambda one: Episode(*(field[0] for field in one)), "leading task dimension"),
        (lambda one: one._replace(classes=one.classes[:, :1]), "have 1 ways"),
    ],
)
@pytest.mark.parametrize(
    "make", [lambda net: MAML(net, ways=WAYS), ProtoNet, lambda net: Pretraining(net, n_classes=3)]
)
def test_batches_that_are_no_tasks_are_refused(change: Any, message: str, make: Any) -> None:
    model = make(Layers()).double()
    with pytest.raises(DataError, match=message):
        model.test_step(change(tasks()))
