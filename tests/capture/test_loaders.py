"""Loaders: which part of which data, sampled and batched how."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.utilities import CombinedLoader
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_lde.capture import describe_loader, loaders_of
from lightning_lde.fewshot import Episodes, FewShotDataset
from lightning_lde.schema import records_to_arrow

DATA = TensorDataset(torch.arange(20.0), torch.arange(20) % 2)


class Scale:
    """Its ``repr`` holds a memory address."""

    def __call__(self, sample: Any) -> Any:
        raise AssertionError("a transform ran")


class Forbidden(Dataset[Any]):
    def __init__(self, transform: Any = None) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a sample was drawn")


def my_collate(samples: list[Any]) -> list[Any]:
    return samples


def _hash(indices: list[int]) -> str:
    return hashlib.sha256(np.array(indices, dtype="<i8").tobytes()).hexdigest()[:32]


def test_facts_of_a_loader() -> None:
    dataset, config = describe_loader(
        DataLoader(DATA, batch_size=4, shuffle=True, drop_last=True, collate_fn=my_collate)
    )
    assert config.dataset_id == dataset.dataset_id
    assert (config.n_samples, config.indices_hash) == (20, None)
    assert (config.batch_size, config.drop_last, config.num_workers) == (4, True, 0)
    assert (config.sampler, config.collate_fn) == ("RandomSampler", f"{__name__}.my_collate")
    assert records_to_arrow("dataset_configs", [config]).num_rows == 1


def test_a_subset_has_its_indices_hashed_down_to_the_root() -> None:
    nested = Subset(Subset(DATA, list(range(10, 20))), [3, 1])
    dataset, config = describe_loader(DataLoader(nested))
    assert (config.n_samples, config.indices_hash) == (2, _hash([13, 11]))
    assert dataset.n_samples == 20


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor, lambda rows: range(3, 6)])
def test_indices_of_any_kind_give_one_hash(make: Callable[[list[int]], Any]) -> None:
    assert describe_loader(DataLoader(Subset(DATA, make([3, 4, 5]))))[1].indices_hash == _hash([3, 4, 5])


def test_a_sampler_with_indices_draws_a_part() -> None:
    config = describe_loader(DataLoader(Subset(DATA, range(10, 20)), sampler=SubsetRandomSampler([0, 2])))[1]
    assert (config.n_samples, config.indices_hash) == (2, _hash([10, 12]))


@pytest.mark.parametrize("indices", [["a"], None, [[1], [2]], object(), [100]])
def test_odd_indices(indices: Any) -> None:
    describe_loader(DataLoader(Subset(Subset(DATA, [0, 1]), indices), sampler=SequentialSampler(DATA)))


@pytest.mark.parametrize(
    ("options", "sampler"),
    [
        ({}, "SequentialSampler"),
        ({"shuffle": True}, "RandomSampler"),
        ({"sampler": RandomSampler(DATA, replacement=True)}, "RandomSampler(replacement=True)"),
        ({"sampler": WeightedRandomSampler([1.0], 1)}, "WeightedRandomSampler(replacement=True)"),
        ({"sampler": DistributedSampler(DATA, 2, 0, shuffle=False)}, "DistributedSampler(shuffle=False)"),
        ({"batch_sampler": BatchSampler(SequentialSampler(DATA), 3, False)}, "BatchSampler"),
    ],
)
def test_samplers(options: dict[str, Any], sampler: str) -> None:
    assert describe_loader(DataLoader(DATA, **options))[1].sampler == sampler


def test_transforms_have_no_addresses() -> None:
    first, second = (describe_loader(DataLoader(Subset(Forbidden(Scale()), [1])))[1] for _ in range(2))
    assert first.transforms == "Scale()"
    assert first.dataset_config_id == second.dataset_config_id
    assert describe_loader(DataLoader(Forbidden()))[1].transforms is None


@pytest.mark.parametrize(
    "other",
    [
        DataLoader(DATA, batch_size=5),
        DataLoader(DATA, batch_size=4, shuffle=True),
        DataLoader(DATA, batch_size=4, drop_last=True),
        DataLoader(DATA, batch_size=4, collate_fn=my_collate),
        DataLoader(Subset(DATA, range(20)), batch_size=4),
        DataLoader(TensorDataset(torch.arange(20.0) + 1, DATA.tensors[1]), batch_size=4),
    ],
)
def test_another_use_another_id(other: DataLoader[Any]) -> None:
    base = describe_loader(DataLoader(DATA, batch_size=4))[1]
    assert describe_loader(DataLoader(DATA, batch_size=4))[1].dataset_config_id == base.dataset_config_id
    assert describe_loader(other)[1].dataset_config_id != base.dataset_config_id


def _toy() -> FewShotDataset:
    images = torch.arange(24 * 64, dtype=torch.int64).remainder(251).to(torch.uint8).reshape(24, 1, 8, 8)
    labels = torch.arange(24) // 4
    return FewShotDataset(
        "toy",
        images,
        labels,
        classes=tuple("abcdef"),
        class_splits=("train",) * 6,
        source="made here",
        licence="CC0",
    )


def test_episodes_speak_for_themselves() -> None:
    tasks = Episodes(_toy(), split="train", ways=2, shots=1, queries=2, n_episodes=7, seed=3)
    dataset, config = describe_loader(DataLoader(tasks))
    assert (dataset.name, dataset.n_samples, dataset.n_classes) == ("toy", 24, 6)
    assert (config.split, config.sampler, config.n_samples) == ("train", "Episodes", 7)
    assert config.settings["ways"] == 2
    other = Episodes(_toy(), split="train", ways=2, shots=1, queries=2, n_episodes=7, seed=4)
    assert describe_loader(DataLoader(other))[1].dataset_config_id != config.dataset_config_id


def test_names_of_loaders() -> None:
    one, two, three = (DataLoader(DATA) for _ in range(3))
    assert loaders_of(one) == [("0", one)]
    assert loaders_of([one, two]) == [("0", one), ("1", two)]
    assert loaders_of({"a": one, "b": [two, three]}) == [("a", one), ("b.0", two), ("b.1", three)]
    assert loaders_of(CombinedLoader({"a": one, "b": two}, "max_size")) == [("a", one), ("b", two)]
    assert loaders_of(CombinedLoader([one, two], "sequential")) == [("0", one), ("1", two)]
    assert loaders_of(None) == loaders_of([None]) == loaders_of([]) == []


def test_the_order_is_lightnings() -> None:
    nested = {"b": [DataLoader(DATA), DataLoader(DATA)], "a": (DataLoader(DATA), {"c": DataLoader(DATA)})}
    assert [loader for _, loader in loaders_of(nested)] == CombinedLoader(nested, "max_size").flattened


def test_a_loader_that_contains_itself_ends() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert loaders_of(ring) == []


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize("loader", [[1, 2], iter([1]), None, 3, object(), DataLoader, (x for x in "ab")])
def test_odd_loaders(loader: object) -> None:
    _check_rows(loader)


def test_a_loader_that_answers_nothing() -> None:
    hostile = Hostile()
    _check_rows(hostile)
    assert len(loaders_of([hostile])) == 1


def _check_rows(loader: object) -> None:
    dataset, config = describe_loader(loader)
    assert config.dataset_id == dataset.dataset_id
    assert dataclasses.asdict(config)["batch_size"] is None
