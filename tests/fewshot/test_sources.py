"""Data sets of others, folders of images, and the ways to state a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import TensorDataset

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import Episodes, from_dataset, from_folder, from_hugging_face, split_classes

COLOUR = np.random.default_rng(0).integers(0, 256, (12, 9, 13, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
LABELS = [0, 1, 2, 3] * 3
HALVES = {"train": 0.5, "test": 0.5}


class Pairs:
    """A map-style data set as torchvision's are: pictures and indices, names in ``classes``."""

    classes = ("ant", "bee", "cat", "dog")

    def __init__(self, pictures: Sequence[Any], labels: Sequence[Any] = LABELS) -> None:
        self.pictures, self.labels = pictures, labels

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return self.pictures[row], self.labels[row]


@pytest.mark.parametrize(
    "kind",
    [Image.fromarray, np.asarray, lambda one: torch.from_numpy(one.transpose(2, 0, 1).copy())],
    ids=["pillow", "array", "tensor"],
)
def test_pictures_of_any_kind_become_the_same_images(kind: Any) -> None:
    found = from_dataset("pairs", Pairs([kind(one) for one in COLOUR]), splits=HALVES)
    assert np.array_equal(found.images.numpy(), COLOUR.transpose(0, 3, 1, 2))
    assert found.labels.tolist() == LABELS
    assert found.classes == Pairs.classes
    assert found.preparation is None


def test_resizing_on_the_way_is_that_of_prepared() -> None:
    whole = from_dataset("pairs", Pairs(COLOUR), splits=HALVES)
    for channels in (1, 3):
        small = from_dataset("pairs", Pairs(COLOUR), splits=HALVES, size=6, channels=channels)
        assert torch.equal(small.images, whole.prepared(size=6, channels=channels).images)
        assert small.preparation == whole.prepared(size=6, channels=channels).preparation
    mixed = from_dataset("mixed", Pairs([*COLOUR[:6], *GREY[6:]]), splits=HALVES, channels=1)
    luma = COLOUR[:6] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(mixed.images[:6, 0].numpy() - luma).max() <= 0.501
    assert np.array_equal(mixed.images[6:, 0].numpy(), GREY[6:])


def test_pictures_with_palette_alpha_and_sixteen_bits() -> None:
    palette = Image.fromarray(COLOUR[0]).quantize(8)
    alpha = Image.fromarray(np.dstack([COLOUR[0], GREY[0]]))
    deep = Image.fromarray(GREY[0].astype(np.uint16) * 257)
    data = Pairs([palette, alpha, np.dstack([COLOUR[0], GREY[0]])], ["a", "b", "b"])
    read = from_dataset("odd", data, classes=["a", "b"], splits=HALVES)
    assert np.array_equal(read.images[0].permute(1, 2, 0), np.asarray(palette.convert("RGB")))
    for row in (1, 2):
        assert np.array_equal(read.images[row].permute(1, 2, 0), COLOUR[0])
    grey = from_dataset("deep", Pairs([deep, GREY[0] > 99], "ab"), classes="ab", splits=HALVES)
    assert np.array_equal(grey.images[0, 0], GREY[0])
    assert np.array_equal(grey.images[1, 0], np.where(GREY[0] > 99, 255, 0))


def test_floats_and_labels_of_any_kind_are_taken_as_they_are() -> None:
    series = torch.randn(12, 2, 5)
    found = from_dataset("series", TensorDataset(series, torch.tensor(LABELS)), splits=HALVES)
    assert torch.equal(found.images, series)
    assert found.classes == ("0", "1", "2", "3")
    named = from_dataset("named", list(zip(series.numpy(), "dcba" * 3, strict=True)), splits=HALVES)
    assert named.classes == ("a", "b", "c", "d")
    assert named.labels.tolist() == [3, 2, 1, 0] * 3
    arrays = [(one, np.int64(label)) for one, label in zip(series, [30, 4] * 6, strict=True)]
    assert from_dataset("numbers", arrays, splits=HALVES).classes == ("4", "30")


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([GREY[0], GREY[1]], "sample 0 of data set 'x' is a ndarray; expected a pair"),
        (Pairs([GREY[0], GREY[1][:5]], [0, 1]), r"\(1, 5, 13\), the first one torch.uint8 of shape \(1, 9, 13\)"),
        (Pairs([GREY[0], "a.png"], [0, 1]), "sample 1 of data set 'x' is a str"),
        (Pairs([GREY[0].astype(int)], [0]), "torch.int64"),
        (Pairs([Image.fromarray(GREY[0].astype(np.float32))], [0]), "mode 'F'"),
        (Pairs([GREY[0]], [[0, 1]]), r"the label \[0, 1\]"),
        (Pairs([GREY[0]], [4]), "has the label 4, but 4 classes"),
        (Pairs([GREY[0]], ["eel"]), r"no class: \['eel'\]"),
        (Pairs(GREY[:3], [0, 1, 3]), r"no sample of the classes \['cat'\]"),
        ([(GREY[0], "a")], "has 1 classes"),
        ([], "has 0 classes"),
    ],
)
def test_what_does_not_fit_is_named(dataset: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_dataset("x", dataset, splits=None)


class Rows:
    """Speaks as ``datasets.Dataset`` does: columns in ``features``, rows as mappings."""

    def __init__(self, rows: slice, names: Sequence[str] | None = Pairs.classes) -> None:
        self.features = {"picture": object(), "kind": SimpleNamespace(names=None if names is None else list(names))}
        self._rows = [
            {"picture": Image.fromarray(one), "kind": label}
            for one, label in zip(COLOUR[rows], LABELS[rows], strict=True)
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        assert 0 <= row < len(self)
        return self._rows[row]


def test_hugging_face_parts_become_one_set() -> None:
    parts = {"train": Rows(slice(0, 7)), "empty": Rows(slice(0, 0)), "test": Rows(slice(7, 12))}
    found = from_hugging_face("hub", parts, image="picture", label="kind", splits=HALVES)
    assert found.fingerprint == from_dataset("pairs", Pairs(COLOUR), splits=HALVES).fingerprint
    alone = from_hugging_face("hub", parts["train"], image="picture", label="kind", splits=HALVES)
    assert len(alone) == 7
    with pytest.raises(DataError, match=r"the columns \['picture', 'kind'\] and no \['image', 'label'\]"):
        from_hugging_face("hub", parts)
    parts["test"] = Rows(slice(7, 12), "abcd")
    with pytest.raises(DataError, match="name their classes differently"):
        from_hugging_face("hub", parts, image="picture", label="kind")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for row, one in enumerate(COLOUR):
        place = tmp_path / "animals" / Pairs.classes[LABELS[row]] / ("deeper" if row % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(place / f"{row:02}.PNG")
    (tmp_path / "animals" / "ant" / "readme.txt").write_text("no image")
    (tmp_path / "animals" / ".cache").mkdir()
    return tmp_path / "animals"


def test_a_folder_is_read_class_by_class(folder: Path) -> None:
    found = from_folder(folder, splits=HALVES)
    assert (found.name, found.classes) == ("animals", Pairs.classes)
    assert found.labels.tolist() == sorted(LABELS)
    for one in range(4):
        mine = {image.numpy().tobytes() for image in found.images[found.labels == one]}
        assert mine == {COLOUR[row].transpose(2, 0, 1).tobytes() for row in range(12) if LABELS[row] == one}
    assert from_folder(folder, splits=HALVES).fingerprint == found.fingerprint


def test_folders_can_say_the_splits(folder: Path) -> None:
    for part, names in {"train": ("dog", "ant"), "test": ("bee", "cat")}.items():
        (folder / part).mkdir()
        for name in names:
            (folder / name).rename(folder / part / name)
    found = from_folder(folder, name="said", size=8, channels=1)
    assert dict(zip(found.classes, found.class_splits, strict=True)) == {
        "ant": "train", "dog": "train", "bee": "test", "cat": "test",
    }  # fmt: skip
    assert len(list(Episodes(found, ways=2, shots=1, queries=2, n_episodes=3))) == 3
    with pytest.raises(DataError, match="leave splits out"):
        from_folder(folder, splits=HALVES)
    (folder / "test" / "ant").mkdir()
    with pytest.raises(DataError, match="class 'ant' lies in test and in train"):
        from_folder(folder)


@pytest.mark.parametrize("content", [b"", b"not an image", "cut"])
def test_a_broken_image_is_named(folder: Path, content: bytes | str) -> None:
    broken = folder / "cat" / "02.PNG"
    broken.write_bytes(content if isinstance(content, bytes) else broken.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cat/02\.PNG cannot be read as an image"):
        from_folder(folder, splits=HALVES)


def test_folders_that_cannot_work_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is no folder"):
        from_folder(tmp_path / "nowhere")
    (folder / "eel").mkdir()
    with pytest.raises(DataError, match="eel holds no image"):
        from_folder(folder)
    with pytest.raises(DataError, match="has 0 classes"):
        from_folder(folder / "eel")
    with pytest.raises(ConfigurationError, match="size=0"):
        from_folder(folder, size=0)


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=5), min_size=3, max_size=60, unique=True),
    weights=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 99),
    shuffle=st.randoms(),
)
def test_fractions_are_exact_and_follow_the_names(
    names: list[str], weights: tuple[int, int, int], seed: int, shuffle: Any
) -> None:
    fractions = {part: one / sum(weights) for part, one in zip(("train", "val", "test"), weights, strict=True)}
    try:
        found = dict(zip(names, split_classes(names, fractions, seed=seed), strict=True))
    except DataError:
        assert min(fractions.values()) * len(names) < 1
        return
    for part, fraction in fractions.items():
        assert abs(list(found.values()).count(part) - fraction * len(names)) < 1
    other = shuffle.sample(names, len(names))
    assert dict(zip(other, split_classes(other, fractions, seed=seed), strict=True)) == found


def test_the_division_by_names_has_not_changed() -> None:
    """Frozen: a set that was divided once must be divided in the same way for years."""
    assert "".join(part[1] for part in split_classes("abcdefghij")) == FROZEN
    assert split_classes("abcdefghij", seed=1) != split_classes("abcdefghij")


def test_splits_can_be_stated_in_four_ways() -> None:
    wanted = ("train", "test", "val")
    for splits in (
        list(wanted),
        {"c": "val", "a": "train", "b": "test"},
        {"train": ["a"], "test": ("b",), "val": {"c"}},
    ):
        assert split_classes("abc", splits) == wanted


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train"], "1 splits for 3 classes"),
        (["train", "test", "dev"], r"\['dev'\] are unknown"),
        ({"a": "train", "b": "test"}, r"no split for 1 classes, such as \['c'\]"),
        ({"train": ["a", "b"], "test": ["c", "d"]}, r"there are not: \['d'\]"),
        ({"train": ["a", "b"], "test": ["b", "c"]}, r"\['b'\] stand in more than one place"),
        ({"train": ["a", "b", "a"], "test": ["c"]}, r"\['a'\] stand in more than one place"),
        ({"train": 0.9, "test": 0.1}, "3 classes are too few"),
        ({"train": 0.5, "dev": 0.5}, "'dev'"),
    ],
)
def test_splits_that_do_not_fit_are_named(splits: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_classes("abc", splits)


@pytest.mark.parametrize(
    "splits", ["abc", 7, {}, {"train": 0.5, "test": ["a"]}, {"train": 0.5}, {"train": 2, "test": -1}]
)
def test_splits_of_no_known_form_are_refused(splits: Any) -> None:
    with pytest.raises(ConfigurationError, match="splits="):
        split_classes("abc", splits)


FROZEN = "rearerrrar"
