"""Tasks and samples taken together are the same as one by one, and are not copied again."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, RandomSampler, Subset

from lightning_lde import capture
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import (
    ClassificationSplit,
    Episode,
    Episodes,
    FewShotDataset,
    classification_loader,
    episode_loader,
)

from .conftest import make_dataset

IMAGES = make_dataset(n_classes=30, per_class=20)


def drawn_alone(tasks: Episodes, index: int) -> tuple[list[int], list[int], list[int]]:
    """The draw as it is specified, one task and one class at a time: classes, support and query rows."""
    stream = np.random.Philox(key=np.array([tasks.seed, index], dtype=np.uint64))
    labels = tasks.dataset.labels.numpy()
    rows = [np.flatnonzero(labels == one) for one in range(tasks.dataset.n_classes)]
    width = max(len(one) for one in rows)
    keys = stream.random_raw(len(rows)).tolist()
    classes = sorted(range(len(rows)), key=keys.__getitem__)[: tasks.ways]
    support: list[int] = []
    query: list[int] = []
    for one in classes:
        keys = stream.random_raw(width).tolist()[: len(rows[one])]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        support += rows[one][order[: tasks.shots]].tolist()
        query += rows[one][order[tasks.shots : tasks.shots + tasks.queries]].tolist()
    return classes, support, query


def uneven(counts: list[int], seed: int) -> FewShotDataset:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(counts)), counts))
    pixels = generator.integers(0, 256, (len(labels), 1, 2, 3), dtype=np.uint8)
    names = tuple(f"c{one}" for one in range(len(counts)))
    return FewShotDataset("uneven", torch.from_numpy(pixels), torch.from_numpy(labels), names, ("test",) * len(names))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**64 - 1))
def test_a_batch_is_the_specified_draw_of_each_task(data: st.DataObject, seed: int) -> None:
    shots, queries = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    # Some classes are much larger than a task, where another way of choosing is taken.
    counts = data.draw(st.lists(st.integers(shots + queries, 90), min_size=2, max_size=9))
    ways = data.draw(st.integers(1, len(counts)))
    indices = data.draw(st.lists(st.integers(0, 10**6 - 1), min_size=1, max_size=5))
    dataset = uneven(counts, seed % 1000)
    tasks = Episodes(dataset, ways=ways, shots=shots, queries=queries, n_episodes=10**6, seed=seed)
    batch = tasks.__getitems__(indices)
    for place, index in enumerate(indices):
        classes, support, query = drawn_alone(tasks, index)
        wanted = (dataset.images[support].float() / 255, dataset.images[query].float() / 255)
        assert torch.equal(batch[place].support_images, wanted[0])
        assert torch.equal(batch[place].query_images, wanted[1])
        assert batch[place].classes.tolist() == classes
        assert batch[place].support_labels.tolist() == [way for way in range(ways) for _ in range(shots)]
        assert batch[place].query_labels.tolist() == [way for way in range(ways) for _ in range(queries)]
        assert int(batch[place].index) == index
        head = dataset.fingerprint.encode() + np.array([ways, shots, *support, *query], dtype="<i8").tobytes()
        assert tasks.episode_id(index) == hashlib.sha256(head).hexdigest()[:32]


def same(one: Any, two: Any) -> bool:
    return all(left.dtype == right.dtype and torch.equal(left, right) for left, right in zip(one, two, strict=True))


@pytest.mark.parametrize("dataset", [IMAGES, IMAGES.prepared(size=8, channels=3)], ids=["plain", "prepared"])
def test_all_loaders_give_the_same_batches(dataset: FewShotDataset) -> None:
    tasks = Episodes(dataset, ways=3, shots=2, queries=4, n_episodes=10, seed=3)
    own = list(episode_loader(tasks, 4))
    assert [batch.index.tolist() for batch in own] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for batch, default in zip(own, DataLoader(tasks, batch_size=4), strict=True):
        assert isinstance(batch, Episode)
        assert same(batch, default)
    alone = [tasks[index] for index in range(10)]
    assert same(own[1], [torch.stack(field) for field in zip(*alone[4:8], strict=True)])
    assert int(next(iter(DataLoader(Subset(tasks, [7, 2]), batch_size=2))).index[0]) == 7


def test_workers_bring_the_same_tasks_and_images() -> None:
    tasks = Episodes(IMAGES, ways=3, shots=2, queries=4, n_episodes=6)
    for here, there in zip(episode_loader(tasks, 3), episode_loader(tasks, 3, num_workers=1), strict=True):
        assert same(here, there)


def test_a_stacked_batch_is_not_copied_again() -> None:
    tasks = Episodes(IMAGES, ways=3, shots=2, queries=4)
    items = tasks.__getitems__([5, 6])
    batch = episode_loader(tasks).collate_fn(items)
    assert batch is items.stacked
    assert items[1].support_images.data_ptr() == batch.support_images[1].data_ptr()
    assert batch.support_images.is_contiguous()
    assert batch.query_images.is_contiguous()


def test_the_default_type_of_torch_does_not_change_the_images() -> None:
    tasks = Episodes(IMAGES)
    wanted = tasks[0].support_images
    torch.set_default_dtype(torch.float64)
    try:
        found = tasks[0].support_images
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


def test_images_of_a_split_come_in_batches_too() -> None:
    view = ClassificationSplit(IMAGES, split="train")
    rows = [3, 299, 3, -1]
    batch = view.__getitems__(rows)
    for row, (image, label) in zip(rows, batch, strict=True):
        assert torch.equal(image, view.dataset.images[row].float() / 255)
        assert label == int(view.dataset.labels[row])
    seeded = [torch.Generator().manual_seed(4) for _ in range(2)]
    loaders = [
        classification_loader(view, 32, steps=3, seed=4),
        DataLoader(view, 32, sampler=RandomSampler(view, replacement=True, num_samples=96, generator=seeded[0])),
    ]
    for one, two in zip(*loaders, strict=True):
        assert same(one, two)
    everything = torch.cat([labels for _, labels in classification_loader(view, 64)])
    assert torch.equal(torch.bincount(everything), torch.bincount(view.dataset.labels))
    for beyond in (300, -301):
        with pytest.raises(IndexError, match="of 300 samples"):
            view[beyond]


def test_float_samples_stay_as_they_are() -> None:
    series = torch.randn(600, 2, 7, generator=torch.Generator().manual_seed(0)) * 1000
    dataset = dataclasses.replace(IMAGES, images=series)
    tasks = Episodes(dataset, ways=3, shots=1, queries=2, n_episodes=4, seed=1)
    for batch in episode_loader(tasks, 2):
        assert batch.support_images.shape == (2, 3, 2, 7)
        for place, index in enumerate(batch.index.tolist()):
            _, support, _ = drawn_alone(tasks, index)
            assert torch.equal(batch.support_images[place], tasks.dataset.images[support])
    assert dataset.lde_facts() | {"class_counts": None} == {
        **IMAGES.lde_facts(),
        "class_counts": None,
        "kind": "few-shot samples",
        "sample_shape": [2, 7],
        "sample_dtype": "float32",
        "size_bytes": 600 * 14 * 4,
        "fingerprint": dataset.fingerprint,
    }
    changed = series.clone()
    changed[-1, -1, -1] += 1
    others = [dataclasses.replace(IMAGES, images=one) for one in (changed, series.view(600, 7, 2), series.view(-1, 14))]
    assert len({dataset.fingerprint, *(one.fingerprint for one in others)}) == 4
    with pytest.raises(DataError, match="not images"):
        dataset.prepared(size=8, channels=1)


def test_float_images_are_resized_without_rounding() -> None:
    floats = dataclasses.replace(IMAGES, images=IMAGES.images.float() / 7)
    resized, whole = floats.prepared(size=8, channels=3).images, IMAGES.prepared(size=8, channels=3).images
    assert resized.dtype == torch.float32
    assert (resized * 7 - whole).abs().max() <= 0.501


def test_the_loader_changes_nothing_of_the_recorded_identity() -> None:
    tasks = Episodes(IMAGES, ways=3)
    plain, own = (capture.describe_loader(one) for one in (DataLoader(tasks, batch_size=4), episode_loader(tasks, 4)))
    assert plain[0].dataset_id == own[0].dataset_id
    assert (plain[1].split, plain[1].settings) == (own[1].split, own[1].settings)


def test_sizes_that_cannot_work_are_refused() -> None:
    tasks, view = Episodes(IMAGES), ClassificationSplit(IMAGES)
    with pytest.raises(ConfigurationError, match="tasks_per_batch=0"):
        episode_loader(tasks, 0)
    with pytest.raises(ConfigurationError, match="num_workers=-1"):
        classification_loader(view, num_workers=-1)
    with pytest.raises(ConfigurationError, match="steps=0"):
        classification_loader(view, steps=0)
    with pytest.raises(ConfigurationError, match="is no union"):
        Episodes(IMAGES, within="part")
