"""Transforms, samplers and collate functions: a tree of what they are, the same in every process."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_lde.capture import describe_loader, look_at_loader
from lightning_lde.capture._callables import describe_callable, words_for

DATA = TensorDataset(torch.arange(20.0), torch.arange(20) % 2)


class Compose:
    def __init__(self, transforms: list[Any]) -> None:
        self.transforms = transforms

    def __call__(self, sample: Any) -> Any:
        raise AssertionError("a transform ran")

    def __repr__(self) -> str:
        raise AssertionError("repr is another one in another release")


class Crop(Compose):
    def __init__(self, size: tuple[int, int], padding: int | None = None, seed: int = 0, p: float = 0.5) -> None:
        self.size, self.padding, self.seed, self._p = size, padding, seed, p
        self._calls = 0


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("mean", torch.tensor([0.5, 0.25]))


class Images(Dataset[Any]):
    def __init__(self, transform: Any = None, target_transform: Any = None, **more: Any) -> None:
        self.transform, self.target_transform = transform, target_transform
        vars(self).update(more)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a sample was drawn")


def double(x: Any, times: int = 2) -> Any:
    return x * times


def _config(dataset: Any = DATA, **options: Any) -> Any:
    return describe_loader(DataLoader(dataset, **options))[1]


def test_the_tree_of_a_composition() -> None:
    tree = Compose([Crop((32, 32), padding=4), Compose([double, functools.partial(double, times=3)]), Scale(2.0)])
    config = _config(Images(tree, str.upper))
    described = config.settings["transforms"]
    assert described["target_transform"] == {"function": "str.upper"}
    crop, inner, scale = described["transform"]["settings"]["transforms"]
    assert crop["class"] == f"{__name__}.Crop"
    assert crop["settings"] == {"size": [32, 32], "padding": 4, "p": 0.5}
    assert inner["settings"]["transforms"][0]["function"] == f"{__name__}.double"
    assert inner["settings"]["transforms"][1]["keywords"] == {"times": 3}
    assert scale["settings"] == {"factor": 2.0, "mean": [0.5, 0.25]}
    assert config.transforms == (
        f"target_transform=str.upper; transform=Compose(transforms=[Crop(size=[32, 32], padding=4, p=0.5), "
        f"Compose(transforms=[{__name__}.double, partial({__name__}.double, times=3)]), "
        f"Scale(factor=2.0, mean=[0.5, 0.25])])"
    )
    json.dumps(described, allow_nan=False)


CHANGES: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
    (lambda: Crop((32, 32)), lambda: Crop((32, 33))),
    (lambda: Crop((32, 32)), lambda: Crop((32, 32), p=0.6)),
    (lambda: Compose([double]), lambda: Compose([double, double])),
    (lambda: Compose([double, str.upper]), lambda: Compose([str.upper, double])),
    (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    (lambda: functools.partial(double, times=2), lambda: functools.partial(double, times=3)),
    (lambda: Scale(1.0), lambda: Scale(2.0)),
    (lambda: Crop(torch.ones(9, 9)), lambda: Crop(torch.zeros(9, 9))),
]


@pytest.mark.parametrize(("make", "other"), CHANGES)
def test_another_transform_another_use(make: Callable[[], Any], other: Callable[[], Any]) -> None:
    base = _config(Images(make()))
    assert _config(Images(make())).dataset_config_id == base.dataset_config_id
    assert _config(Images(other())).dataset_config_id != base.dataset_config_id
    assert _config(Images(other())).dataset_id == base.dataset_id


def _adder(amount: float) -> Callable[[float], float]:
    return lambda x: x + amount


def test_what_a_lambda_took_with_it_counts() -> None:
    one, two = (_config(Images(_adder(amount))) for amount in (1.0, 2.0))
    assert one.settings["transforms"]["transform"]["captured"] == {"amount": 1.0}
    assert one.dataset_config_id != two.dataset_config_id


def test_seeds_and_counters_of_transforms_do_not_count() -> None:
    used = Crop((1, 1), seed=3)
    used._calls = 7
    assert _config(Images(used)).dataset_config_id == _config(Images(Crop((1, 1)))).dataset_config_id


def test_transforms_under_other_names_and_in_parts() -> None:
    config = _config(Images(augment=double, steps=[double, str.upper], classes=[int, str]))
    assert list(config.settings["transforms"]) == ["augment", "steps"]
    concatenated = _config(ConcatDataset([Images(double), Images(double)]))
    assert concatenated.settings["transforms"]["parts"] == [
        {"transform": describe_callable(double)},
    ]
    other = _config(ConcatDataset([Images(double), Images(str.upper)]))
    assert len(other.settings["transforms"]["parts"]) == 2


def test_secrets_and_places_do_not_get_in() -> None:
    transform = functools.partial(double, path="/home/ann/words.txt", api_key="hunter2")
    config = _config(Images(transform))
    assert "hunter2" not in str(config)
    assert "/home/ann" not in str(config)


def test_a_transform_that_holds_itself_ends() -> None:
    ring = Compose([])
    ring.transforms.append(ring)
    assert "Compose" in words_for(describe_callable(ring))


# Samplers and loaders -------------------------------------------------------------------------------


class Curriculum(Sampler[int]):
    def __init__(self, speed: float, seed: int = 1) -> None:
        self.speed, self.seed, self.epoch = speed, seed, 0

    def __iter__(self) -> Any:
        raise AssertionError("the sampler was iterated")

    def __len__(self) -> int:
        return 20


@pytest.mark.parametrize(
    ("sampler", "settings"),
    [
        (RandomSampler(DATA, replacement=True, num_samples=7), {"num_samples": 7}),
        (DistributedSampler(DATA, 4, 3, seed=5), {"num_replicas": 4, "num_samples": 5}),
        (SubsetRandomSampler([1, 2]), None),
    ],
)
def test_settings_of_samplers(sampler: Any, settings: dict[str, Any] | None) -> None:
    assert _config(sampler=sampler).settings.get("sampler") == settings


def test_weights_of_a_sampler_count() -> None:
    configs = [
        _config(sampler=WeightedRandomSampler(weights, 20))
        for weights in (np.linspace(0.1, 1, 20), np.linspace(0.1, 1, 20), np.linspace(0.2, 1, 20))
    ]
    assert configs[0].dataset_config_id == configs[1].dataset_config_id != configs[2].dataset_config_id


def test_a_users_sampler_and_the_one_below_a_batch_sampler() -> None:
    own = _config(sampler=Curriculum(0.5)).settings["sampler"]
    assert (own["class"], own["speed"]) == (f"{__name__}.Curriculum", 0.5)
    batches = _config(batch_sampler=BatchSampler(Curriculum(0.25), 4, drop_last=True))
    assert batches.settings["sampler"]["sampler"]["speed"] == 0.25
    assert batches.batch_size == 4


def test_seeds_belong_to_the_run() -> None:
    generator = torch.Generator().manual_seed(11)
    torch.randint(5, (3,), generator=generator)
    state = generator.get_state()
    loaders = [
        DataLoader(DATA, shuffle=True, generator=generator),
        DataLoader(DATA, sampler=DistributedSampler(DATA, 1, 0, seed=5)),
        DataLoader(DATA, sampler=Curriculum(0.5, seed=6)),
        DataLoader(DATA, shuffle=True),
    ]
    seeds = [look_at_loader(loader).seeds for loader in loaders]
    assert torch.equal(generator.get_state(), state)
    assert seeds[0]["generator"]["initial_seed"] == 11
    assert seeds[1]["sampler"] == {"seed": 5, "epoch": 0}
    assert seeds[2]["sampler"] == {"seed": 6, "epoch": 0}
    assert seeds[3] == {}
    again = DataLoader(DATA, sampler=Curriculum(0.5, seed=7))
    assert describe_loader(again)[1].dataset_config_id == describe_loader(loaders[2])[1].dataset_config_id


def test_how_samples_are_brought_is_kept_and_does_not_count() -> None:
    plain = _config(num_workers=1)
    fast = _config(num_workers=1, pin_memory=True, prefetch_factor=7, persistent_workers=True)
    assert fast.settings == {"loading": {"pin_memory": True, "prefetch_factor": 7, "persistent_workers": True}}
    assert plain.settings == {}
    assert plain.dataset_config_id == fast.dataset_config_id


def test_functions_of_the_loader() -> None:
    collate = _config(collate_fn=functools.partial(double, times=4))
    assert collate.settings["collate"]["keywords"] == {"times": 4}
    worker = _config(worker_init_fn=double)
    assert worker.settings["worker_init"]["function"] == f"{__name__}.double"
    assert len({collate.dataset_config_id, worker.dataset_config_id, _config().dataset_config_id}) == 3
