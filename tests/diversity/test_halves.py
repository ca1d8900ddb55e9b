"""Halves share no image, no group and no copy, and hold every class."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.diversity import Halves, check_halves, halve
from lightning_lde.errors import DataError

images = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 30)), min_size=4, max_size=60)


def items_of(rows: list[tuple[int, int, int]]) -> list[set[int]]:
    """Connected images, by brute force."""
    items: list[set[int]] = []
    for position, (_, group, content) in enumerate(rows):
        touching = [item for item in items if any(rows[i][1] == group or rows[i][2] == content for i in item)]
        items = [item for item in items if item not in touching] + [{position}.union(*touching)]
    return items


def can_be_split(labels: list[int], items: list[set[int]]) -> bool:
    """Whether any assignment of items to halves leaves every class in both, by trying all."""
    classes = [{labels[i] for i in item} for item in items]
    for chosen in itertools.product([False, True], repeat=len(items)):
        first, second = (set().union(*itertools.compress(classes, side)) for side in (chosen, [not c for c in chosen]))
        if first == second == set(labels):
            return True
    return False


@given(rows=images, seed=st.integers(0, 5))
def test_every_split_is_independent_and_complete(rows: list[tuple[int, int, int]], seed: int) -> None:
    labels, groups, content = (list(column) for column in zip(*rows, strict=True))
    try:
        halves = halve(labels, groups=groups, content=content, seed=seed)
    except DataError:
        assert not can_be_split(labels, items_of(rows))
        return
    assert sorted([*halves.first, *halves.second]) == list(range(len(rows)))
    for item in items_of(rows):
        assert item <= set(halves.first) or item <= set(halves.second)
    assert {labels[i] for i in halves.first} == {labels[i] for i in halves.second} == set(labels)
    check_halves(halves, labels, groups=groups, content=content)


@given(counts=st.lists(st.integers(2, 15), min_size=1, max_size=6), seed=st.integers(0, 5))
def test_without_groups_halves_differ_by_at_most_one_image_a_class(counts: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    halves = halve(labels, seed=seed)
    first, second = (np.bincount(labels[part], minlength=len(counts)) for part in (halves.first, halves.second))
    assert np.abs(first - second).max() <= 1
    assert abs(first.sum() - second.sum()) <= 1


def test_writers_who_wrote_every_class_are_split_as_a_whole() -> None:
    writers, labels = np.repeat(np.arange(6), 10), np.tile(np.arange(10), 6)
    halves = halve(labels, groups=writers)
    assert len(halves.first) == len(halves.second) == 30
    assert not set(writers[halves.first]) & set(writers[halves.second])


def test_the_seed_gives_the_split() -> None:
    labels = [0] * 10 + [1] * 10
    splits = {tuple(halve(labels, seed=seed).first.tolist()) for seed in (0, 0, 1, 2)}
    assert len(splits) == 3


def test_copies_of_an_image_are_one_item() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, size=(8, 3, 4, 4), dtype=np.uint8)
    pixels[1] = pixels[0]
    labels = [0, 0, 0, 1, 1, 1, 1, 1]
    halves = halve(labels, content=pixels)
    assert {0, 1} <= set(halves.first.tolist()) or {0, 1} <= set(halves.second.tolist())
    pixels[2] = pixels[0]
    with pytest.raises(DataError, match="class 0 has 1 independent item, expected at least 2"):
        halve(labels, content=pixels)


def test_one_group_for_a_class_is_refused() -> None:
    with pytest.raises(DataError, match="class 'b' has 1 independent item"):
        halve(["a", "a", "b", "b"], groups=[1, 2, 3, 3])


def test_groups_that_tie_classes_together_are_refused() -> None:
    # Three items, each with two of three classes: one half must lack a class.
    with pytest.raises(DataError, match="no split of 3 independent items of 3 classes"):
        halve([0, 1, 1, 2, 2, 0], groups=[1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize(
    ("halves", "options", "match"),
    [
        (([0, 1], [1, 2, 3]), {}, "lie in both halves"),
        (([0, 1], [2, 3]), {"groups": [1, 2, 1, 3]}, r"images \[0, 2\] are one item"),
        (([0, 1], [2, 3]), {"content": ["x", "y", "z", "y"]}, r"images \[1, 3\] are one item"),
        (([0, 2], [1, 3]), {}, "first half has no image of class 1"),
        (([0, 1], [2, 3]), {"groups": [1, 2]}, "groups has 2 values, expected 4"),
    ],
)
def test_unfit_halves_are_refused(halves: tuple[list[int], list[int]], options: dict, match: str) -> None:
    with pytest.raises(DataError, match=match):
        check_halves(Halves(first=np.array(halves[0]), second=np.array(halves[1])), [0, 1, 0, 1], **options)
