"""Episodes: what they hold, that they repeat, and that their ids mean what they say."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.data import DataLoader

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import ClassificationSplit, Episode, Episodes, FewShotDataset

from .conftest import make_dataset

LARGE = make_dataset(n_classes=30, per_class=20)


def rows_of(images: torch.Tensor, dataset: FewShotDataset) -> list[int]:
    """Find each image in the data set by its pixels, without help from the code under test."""
    place = {one.numpy().tobytes(): row for row, one in enumerate(dataset.images)}
    return [place[one.mul(255).round().to(torch.uint8).numpy().tobytes()] for one in images]


@settings(max_examples=60, deadline=None)
@given(
    split=st.sampled_from(["train", "test", "all"]),
    ways=st.integers(1, 10),
    shots=st.integers(1, 10),
    queries=st.integers(1, 10),
    seed=st.integers(0, 2**64 - 1),
    index=st.integers(0, 10**6 - 1),
)
def test_support_and_query_are_disjoint_images_of_the_right_classes(
    split: str, ways: int, shots: int, queries: int, seed: int, index: int
) -> None:
    tasks = Episodes(LARGE, split=split, ways=ways, shots=shots, queries=queries, n_episodes=10**6, seed=seed)
    task = tasks[index]
    support, query = rows_of(task.support_images, LARGE), rows_of(task.query_images, LARGE)
    assert len({*support, *query}) == ways * (shots + queries)
    assert LARGE.labels[support].tolist() == task.classes[task.support_labels].tolist()
    assert LARGE.labels[query].tolist() == task.classes[task.query_labels].tolist()
    assert torch.bincount(task.support_labels).tolist() == [shots] * ways
    assert torch.bincount(task.query_labels).tolist() == [queries] * ways
    assert split == "all" or {LARGE.class_splits[one] for one in task.classes} == {split}
    assert int(task.index) == index


def test_uneven_classes_are_sampled_within_their_counts() -> None:
    keep = torch.cat([torch.nonzero(LARGE.labels == one).flatten()[: 4 + one % 7] for one in range(30)])
    uneven = dataclasses.replace(LARGE, images=LARGE.images[keep], labels=LARGE.labels[keep])
    for task in Episodes(uneven, split="all", ways=30, shots=2, queries=2, n_episodes=20):
        rows = rows_of(torch.cat([task.support_images, task.query_images]), uneven)
        assert len(set(rows)) == 120


def test_classes_and_images_are_drawn_evenly() -> None:
    tasks = Episodes(LARGE, split="all", ways=3, shots=1, queries=1, n_episodes=2000, seed=5)
    draws = [tasks._draw(index) for index in range(2000)]
    assert chisquare(np.bincount(np.concatenate([one[0] for one in draws]), minlength=30)).pvalue > 1e-3
    assert chisquare(np.bincount(np.concatenate([one[1] for one in draws]), minlength=600)).pvalue > 1e-3


def test_a_task_follows_from_seed_and_number_alone() -> None:
    one, two = (Episodes(LARGE, n_episodes=50, seed=1) for _ in range(2))
    np.random.seed(0)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    backwards = [two[index] for index in reversed(range(50))][::-1]
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.random(2), np.random.RandomState(0).random(2))
    for index in range(50):
        assert all(torch.equal(*pair) for pair in zip(one[index], backwards[index], strict=True))
    assert len({one.episode_id(index) for index in range(50)}) == 50
    longer = Episodes(LARGE, n_episodes=60, seed=1)
    assert [longer.episode_id(index) for index in range(50)] == [one.episode_id(index) for index in range(50)]
    assert Episodes(LARGE, seed=2).episode_id(0) != one.episode_id(0)


def test_another_process_draws_the_same_tasks(greek: FewShotDataset, other_process: dict[str, str]) -> None:
    assert other_process["episode"] == Episodes(greek, seed=9).episode_id(4)


def test_the_stream_of_tasks_has_not_changed() -> None:
    """A frozen draw: a lake that holds results of these tasks must stay comparable for years."""
    tasks = Episodes(LARGE, split="all", ways=3, shots=1, queries=1, seed=7)
    classes, support, query = tasks._draw(3)
    assert (classes.tolist(), support.tolist(), query.tolist()) == FROZEN


def test_episode_id_is_the_specified_hash() -> None:
    tasks = Episodes(LARGE, ways=2, shots=1, queries=2)
    task = tasks[0]
    rows = rows_of(task.support_images, LARGE) + rows_of(task.query_images, LARGE)
    content = LARGE.fingerprint.encode() + np.array([2, 1, *rows], dtype="<i8").tobytes()
    assert tasks.episode_id(0) == hashlib.sha256(content).hexdigest()[:32]


def test_episode_id_does_not_depend_on_preparation_but_on_the_images() -> None:
    tasks = Episodes(LARGE)
    resized = Episodes(LARGE.prepared(size=8, channels=3))
    assert resized.episode_id(0) == tasks.episode_id(0)
    assert resized[0].support_images.shape == (25, 3, 8, 8)
    assert Episodes(make_dataset(30, 20, seed=1)).episode_id(0) != tasks.episode_id(0)


def test_collate_stacks_tasks_into_an_episode() -> None:
    batch = next(iter(DataLoader(Episodes(LARGE, ways=3, shots=2, queries=4), batch_size=4)))
    assert isinstance(batch, Episode)
    assert batch.support_images.shape == (4, 6, 1, 16, 16)
    assert batch.query_labels.shape == (4, 12)
    assert batch.index.tolist() == [0, 1, 2, 3]
    assert batch.support_images.dtype == torch.float32
    assert 0 <= batch.query_images.min() < batch.query_images.max() <= 1


def test_indexing_follows_the_rules_of_sequences() -> None:
    tasks = Episodes(LARGE, n_episodes=3)
    assert [int(task.index) for task in tasks] == [0, 1, 2]
    assert int(tasks[-1].index) == 2
    with pytest.raises(IndexError, match="episode 3 of 3"):
        tasks[3]


def test_too_little_data_is_said_clearly() -> None:
    with pytest.raises(DataError, match="has 10 classes, too few for 11 ways"):
        Episodes(LARGE, ways=11)
    with pytest.raises(DataError, match="has 20 images, too few for 6 shots and 15 queries"):
        Episodes(LARGE, shots=6)
    for wrong in ({"ways": 0}, {"shots": 0}, {"queries": 0}, {"n_episodes": 0}, {"seed": -1}):
        with pytest.raises(ConfigurationError, match="expected counts of at least 1"):
            Episodes(LARGE, **wrong)


def test_facts_are_of_the_whole_and_configuration_of_the_use() -> None:
    tasks = Episodes(LARGE, split="val", ways=2, seed=3)
    assert tasks.lde_facts() == LARGE.lde_facts()
    assert tasks.lde_config() == {
        "split": "val",
        "settings": {"ways": 2, "shots": 5, "queries": 15, "n_episodes": 100, "seed": 3},
        "sampler": "Episodes",
    }
    assert "8x8" in Episodes(LARGE.prepared(size=8, channels=1)).lde_config()["transforms"]


def test_classification_split_shows_every_image_of_its_classes() -> None:
    view = ClassificationSplit(LARGE, split="train")
    assert view.n_classes == 15
    assert len(view) == 300
    image, label = view[17]
    [row] = rows_of(image[None], LARGE)
    assert view.dataset.classes[label] == LARGE.classes[LARGE.labels[row]]
    assert view.lde_facts() == LARGE.lde_facts()
    assert view.lde_config()["split"] == "train"
    images, labels = next(iter(DataLoader(view, batch_size=8)))
    assert images.shape == (8, 1, 16, 16)
    assert labels.dtype == torch.int64


FROZEN = ([2, 23, 18], [97, 386, 102], [98, 312, 254])
