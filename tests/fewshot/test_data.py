"""The data set: validation, splits, identity and preparation."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import FewShotDataset

from .conftest import make_dataset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(72, 1, 16, 16, dtype=torch.float64)}, "torch.float64"),
        ({"images": torch.zeros(72)}, r"torch.float32 of shape \(72,\)"),
        ({"images": torch.full((72, 3), torch.nan)}, "sample 0 holds NaN"),
        ({"class_parts": ("a",) * 11}, "11 class parts for 12 classes"),
        ({"images": torch.zeros(72, 16, 16, 1, dtype=torch.uint8)}, r"\(72, 16, 16, 1\)"),
        ({"images": torch.zeros(72, 1, 16, 32, dtype=torch.uint8)[..., ::2]}, "contiguous"),
        ({"labels": torch.zeros(72, dtype=torch.int32)}, "torch.int32"),
        ({"labels": torch.zeros(71, dtype=torch.int64)}, r"\(71,\)"),
        ({"labels": torch.full((72,), 12)}, "from 12 to 12"),
        ({"labels": torch.full((72,), -1)}, "from -1 to -1"),
        ({"classes": ("a",) * 12}, "more than once"),
        ({"class_splits": ("train",) * 11}, "11 class splits for 12 classes"),
        ({"class_splits": ("training",) * 12}, "'training'"),
    ],
)
def test_bad_content_is_refused_with_what_was_wrong(
    dataset: FewShotDataset, change: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(dataset, **change)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_split_holds_exactly_the_images_of_its_classes(dataset: FewShotDataset, name: str) -> None:
    part = dataset.split(name)
    assert set(part.classes) == {
        one for one, where in zip(dataset.classes, dataset.class_splits, strict=True) if where == name
    }
    for one in part.classes:
        mine = part.images[part.labels == part.classes.index(one)]
        assert torch.equal(mine, dataset.images[dataset.labels == dataset.classes.index(one)])
    assert torch.equal(part.images, dataset.images[part.original_index])
    assert [dataset.classes[index] for index in part.original_classes] == list(part.classes)


def test_splits_are_a_partition(dataset: FewShotDataset) -> None:
    rows = torch.cat([dataset.split(name).original_index for name in ("train", "val", "test")])
    assert sorted(rows.tolist()) == list(range(len(dataset)))
    assert dataset.split("all") is dataset


def test_splits_and_copies_share_the_identity_of_the_whole(dataset: FewShotDataset) -> None:
    whole = dataset.lde_facts()
    assert dataset.split("test").lde_facts() == whole
    assert dataset.prepared(size=8, channels=3).split("train").split("all").lde_facts() == whole
    assert dataset.split("train").prepared(size=8, channels=3).original is dataset
    assert whole["n_samples"] == 72
    assert whole["class_counts"] == {f"class {one}": 6 for one in range(12)}
    assert whole["sample_shape"] == [1, 16, 16]
    assert whole["size_bytes"] == 72 * 256
    assert whole["uri"] == "made up"


def test_a_split_of_a_split_still_points_into_the_original(dataset: FewShotDataset) -> None:
    once = dataset.split("test")
    twice = once.prepared(size=8, channels=1).split("test")
    assert once.original_index.tolist() != list(range(len(once)))
    assert torch.equal(twice.original_index, once.original_index)
    assert torch.equal(twice.original_classes, once.original_classes)


def test_unknown_and_empty_splits_are_refused(dataset: FewShotDataset) -> None:
    with pytest.raises(DataError, match="'dev' is unknown"):
        dataset.split("dev")
    with pytest.raises(DataError, match="no class in split 'val'"):
        dataset.split("test").split("val")


def test_fingerprint_follows_content_and_not_the_name(dataset: FewShotDataset) -> None:
    assert make_dataset().fingerprint == dataset.fingerprint
    assert dataclasses.replace(dataset, name="other", licence=None).fingerprint == dataset.fingerprint
    pixels = dataset.images.clone()
    pixels[-1, 0, -1, -1] += 1
    changed = [
        dataclasses.replace(dataset, images=pixels),
        dataclasses.replace(dataset, images=dataset.images.view(-1, 1, 8, 32)),
        dataclasses.replace(dataset, labels=dataset.labels.roll(1)),
        dataclasses.replace(dataset, classes=tuple(f"klass {one}" for one in range(12))),
        dataclasses.replace(dataset, class_splits=("test",) * 12),
    ]
    prints = {one.fingerprint for one in changed}
    assert len(prints) == len(changed)
    assert dataset.fingerprint not in prints


def test_fingerprint_is_specified() -> None:
    tiny = FewShotDataset("t", torch.tensor([[[[7]]]], dtype=torch.uint8), torch.tensor([0]), ("a",), ("val",))
    head = b'{"class_splits": ["val"], "classes": ["a"], "dtype": "uint8", "shape": [1, 1, 1, 1]}'
    assert tiny.fingerprint == hashlib.sha256(head + b"\x07" + bytes(8)).hexdigest()


def test_prepared_matches_pillow() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    colour = FewShotDataset("c", images, torch.zeros(3, dtype=torch.int64), ("a",), ("test",))
    resized = colour.prepared(size=16, channels=3)
    grey = colour.prepared(size=16, channels=1)
    for row, one in enumerate(pixels):
        picture = Image.fromarray(one)
        wanted = np.asarray(picture.resize((16, 16), Image.Resampling.BILINEAR), dtype=float)
        assert np.abs(resized.images[row].permute(1, 2, 0).numpy() - wanted).max() <= 1
        wanted = np.asarray(picture.convert("L").resize((16, 16), Image.Resampling.BILINEAR), dtype=float)
        assert np.abs(grey.images[row, 0].numpy() - wanted).max() <= 2


def test_prepared_repeats_grey_and_leaves_what_fits(dataset: FewShotDataset) -> None:
    colour = dataset.prepared(size=16, channels=3)
    assert torch.equal(colour.images, dataset.images.repeat(1, 3, 1, 1))
    assert dataset.prepared(size=16, channels=1) is dataset
    with pytest.raises(ConfigurationError, match="channels=2"):
        dataset.prepared(size=16, channels=2)
