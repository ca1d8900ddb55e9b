"""Rotated classes: what they hold, what they are called, which splits they leave alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lightning_lde.errors import DataError
from lightning_lde.fewshot import Episodes, union, with_rotations

from .conftest import make_dataset

PLAIN = make_dataset(n_classes=12, per_class=6, size=16)
TURNED = with_rotations(PLAIN)


def test_each_training_class_is_there_once_more_at_each_quarter() -> None:
    trained = [name for name, split in zip(PLAIN.classes, PLAIN.class_splits, strict=True) if split == "train"]
    assert TURNED.n_classes == PLAIN.n_classes + 3 * len(trained)
    for name in trained:
        upright = PLAIN.images[PLAIN.labels == PLAIN.classes.index(name)]
        for degrees in (90, 180, 270):
            mine = TURNED.images[TURNED.labels == TURNED.classes.index(f"{name}@{degrees}")]
            # Pixel (row, column) of a picture turned by a quarter came from (column, last - row).
            back = mine
            for _ in range(degrees // 90):
                back = back.transpose(2, 3).flip(3)
            assert torch.equal(back, upright)


def test_other_splits_stay_as_they_are() -> None:
    for split in ("val", "test"):
        assert TURNED.split(split).classes == PLAIN.split(split).classes
        assert torch.equal(TURNED.split(split).images, PLAIN.split(split).images)
    every = with_rotations(PLAIN, splits=("train", "val", "test"))
    assert every.n_classes == 4 * PLAIN.n_classes
    assert every.split("test").n_classes == 4 * PLAIN.split("test").n_classes


def test_a_rotated_set_is_a_set_of_its_own_that_names_the_original() -> None:
    assert TURNED.fingerprint != PLAIN.fingerprint
    assert PLAIN.fingerprint[:12] in str(TURNED.source)
    assert TURNED.lde_facts()["n_classes"] == TURNED.n_classes
    both = union("both", [PLAIN, dataclasses.replace(PLAIN, name="again")])
    parts = with_rotations(both).split("train").class_parts or ()
    assert len(parts) == 4 * both.split("train").n_classes
    assert set(parts) == {PLAIN.name, "again"}


def test_tasks_may_hold_a_class_beside_its_own_rotation() -> None:
    tasks = Episodes(TURNED, split="train", ways=20, shots=1, queries=2, n_episodes=3)
    assert all(len(set(tasks[index].classes.tolist())) == 20 for index in range(3))


def test_what_cannot_be_turned_is_refused() -> None:
    with pytest.raises(DataError, match="not square"):
        with_rotations(dataclasses.replace(PLAIN, images=PLAIN.images[:, :, :8].contiguous()))
    with pytest.raises(DataError, match="not square"):
        with_rotations(dataclasses.replace(PLAIN, images=PLAIN.images.flatten(1).float()))
    with pytest.raises(DataError, match="unknown"):
        with_rotations(PLAIN, splits=("training",))
