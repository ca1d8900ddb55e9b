"""Data sets: every kind's facts and fingerprint, without one sample being drawn."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ChainDataset, ConcatDataset, IterableDataset, Subset, TensorDataset

from lightning_lde.capture import _arrays as arrays
from lightning_lde.capture import describe_dataset
from lightning_lde.schema import records_to_arrow


class Forbidden:
    """A data set whose samples must not be touched."""

    def __init__(self, n_samples: int = 5) -> None:
        self.n_samples = n_samples

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a sample was drawn")

    def __iter__(self) -> Any:
        raise AssertionError("the data set was iterated")


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        raise AssertionError("the stream was iterated")


class Digits(Forbidden):
    """Like torchvision's MNIST."""

    def __init__(self, data: Any, targets: Any, transform: Any = None) -> None:
        super().__init__(len(data))
        self.data, self.targets, self.transform, self.train = data, targets, transform, True
        self.classes = ["zero", "one", "two"]


class Facts(Forbidden):
    def __init__(self, **facts: Any) -> None:
        super().__init__()
        self.facts = facts

    def lde_facts(self) -> dict[str, Any]:
        return self.facts


class Info:
    dataset_name, license, version = "imdb", "MIT", "1.0.0"


class HuggingFace(Forbidden):
    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self._fingerprint, self.info, self.split = fingerprint, Info(), "train"


class Hostile:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __len__(self) -> int:
        raise OSError("no disk")


def _images(seed: int = 0, n: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(0, 256, (n, 4, 4), generator=generator, dtype=torch.uint8),
        torch.randint(0, 3, (n,), generator=generator),
    )


def test_tensor_dataset() -> None:
    images, labels = _images()
    row = describe_dataset(TensorDataset(images, labels))
    assert (row.n_samples, row.n_classes, row.sample_shape, row.sample_dtype) == (30, 3, [4, 4], "uint8")
    assert row.class_counts == {str(label): count for label, count in Counter(labels.tolist()).items()}
    assert row.size_bytes == 30 * 16 + 30 * 8
    assert row.fingerprint_method == "sha256 of content"
    assert records_to_arrow("datasets", [row]).num_rows == 1


def test_the_fingerprint_is_the_documented_hash() -> None:
    images = _images()[0]
    text = b'["uint8",[30,4,4]]'
    expected = hashlib.sha256(text + images.numpy().tobytes()).hexdigest()[:32]
    assert describe_dataset(TensorDataset(images)).fingerprint == expected


def test_equal_content_equal_id_whatever_the_memory_looks_like() -> None:
    images, labels = _images()
    strided = images.transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    one, two = describe_dataset(TensorDataset(images, labels)), describe_dataset(TensorDataset(strided, labels.clone()))
    assert one.dataset_id == two.dataset_id
    digits = [describe_dataset(Digits(*pair)) for pair in (_images(), [part.numpy() for part in _images()])]
    digits.append(describe_dataset(Digits(images, labels.tolist())))
    assert len({row.dataset_id for row in digits}) == 1
    assert digits[0].fingerprint == one.fingerprint


@pytest.mark.parametrize("change", ["value", "dtype", "shape", "label", "order", "fewer"])
def test_other_content_other_id(change: str) -> None:
    images, labels = _images()
    base = describe_dataset(TensorDataset(images, labels)).dataset_id
    if change == "value":
        images[17, 2, 3] += 1
    elif change == "dtype":
        images = images.view(torch.int8)
    elif change == "shape":
        images = images.reshape(30, 2, 8)
    elif change == "label":
        labels[4] = (labels[4] + 1) % 3
    elif change == "order":
        images, labels = images.flip(0), labels.flip(0)
    else:
        images, labels = images[:-1], labels[:-1]
    assert describe_dataset(TensorDataset(images, labels)).dataset_id != base


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.bool, torch.complex64, torch.float16, torch.int64, torch.uint8]
)
def test_every_element_type_is_hashed(dtype: torch.dtype) -> None:
    row = describe_dataset(TensorDataset(torch.ones(3, 2).to(dtype)))
    other = describe_dataset(TensorDataset(torch.zeros(3, 2).to(dtype)))
    assert row.fingerprint_method == "sha256 of content"
    assert row.dataset_id != other.dataset_id


def test_large_content_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MAX_BYTES", 1000)
    monkeypatch.setattr(arrays, "_SAMPLE_BYTES", 400)
    data = torch.arange(1000, dtype=torch.int32)
    row = describe_dataset(TensorDataset(data))
    assert row.fingerprint_method == "sha256 of 100 evenly spaced rows"
    for index in (0, 999):
        changed = data.clone()
        changed[index] += 1
        assert describe_dataset(TensorDataset(changed)).dataset_id != row.dataset_id
    unseen = data.clone()
    unseen[1] += 1
    assert describe_dataset(TensorDataset(unseen)).dataset_id == row.dataset_id
    assert describe_dataset(TensorDataset(data[:-1])).dataset_id != row.dataset_id


def test_tensors_without_bytes_are_known_by_structure() -> None:
    row = describe_dataset(TensorDataset(torch.zeros(3, 2, device="meta")))
    assert (row.fingerprint_method, row.sample_shape, row.n_samples) == ("structure", [2], 3)


@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (torch.tensor([5, -1, 5]), {"-1": 1, "5": 2}),
        (torch.tensor([2**40, 0]), {"0": 1, str(2**40): 1}),
        (torch.tensor([0.5, 1.0]), {}),
        (torch.zeros(3, 2, dtype=torch.int64), {}),
        (torch.arange(10_001), {}),
        (torch.zeros(0, dtype=torch.int64), {}),
        (np.array([1, 1], dtype=np.uint8), {"1": 2}),
        (["cat", "dog"], {}),
        ([3, 3], {"3": 2}),
    ],
)
def test_class_counts(labels: Any, counts: dict[str, int]) -> None:
    assert arrays.class_counts(labels) == counts


def test_torchvision_like() -> None:
    images, labels = _images()
    row = describe_dataset(Digits(images, labels))
    assert (row.name, row.kind, row.n_classes, row.n_samples) == ("Digits", "arrays", 3, 30)
    assert describe_dataset(Digits(images, labels, transform=print)).dataset_id == row.dataset_id


def test_hugging_face_like() -> None:
    row = describe_dataset(HuggingFace("abc123"))
    assert (row.fingerprint, row.fingerprint_method, row.name) == ("abc123", "huggingface", "imdb")
    assert (row.licence, row.version) == ("MIT", "1.0.0")
    assert describe_dataset(HuggingFace("abc124")).dataset_id != row.dataset_id


def test_a_subset_is_described_as_its_root() -> None:
    root = TensorDataset(*_images())
    nested = Subset(Subset(root, range(10)), [1, 2])
    assert describe_dataset(nested).dataset_id == describe_dataset(root).dataset_id


def test_a_concatenation_depends_on_parts_their_order_and_their_subsets() -> None:
    one, two = TensorDataset(_images(1)[0]), TensorDataset(_images(2)[0])
    kinds = [
        ConcatDataset([one, two]),
        ConcatDataset([two, one]),
        ConcatDataset([one, one]),
        ConcatDataset([one, Subset(two, [1])]),
        ConcatDataset([one, Subset(two, [2])]),
    ]
    rows = [describe_dataset(kind) for kind in kinds]
    assert len({row.dataset_id for row in rows}) == len(kinds)
    assert [row.n_samples for row in rows] == [60, 60, 60, 31, 31]
    assert describe_dataset(ConcatDataset([one, two])).dataset_id == rows[0].dataset_id
    assert "sha256 of content" in str(rows[0].fingerprint_method)
    assert describe_dataset(ChainDataset([Stream(), Stream()])).n_samples is None


def test_only_the_structure_of_others() -> None:
    row = describe_dataset(Forbidden(5))
    assert (row.n_samples, row.fingerprint_method, row.kind) == (5, "structure", "map")
    assert describe_dataset(Forbidden(5)).dataset_id == row.dataset_id
    assert describe_dataset(Forbidden(6)).dataset_id != row.dataset_id
    assert describe_dataset(Stream()).kind == "iterable"
    assert describe_dataset(Stream()).n_samples is None


def test_facts_of_the_duck_protocol_are_believed() -> None:
    row = describe_dataset(Facts(name="toy", n_samples=9, class_counts={1: 2}, fingerprint="f", fingerprint_method="m"))
    assert (row.name, row.n_samples, row.class_counts, row.fingerprint) == ("toy", 9, {"1": 2}, "f")
    other_name = describe_dataset(Facts(name="other", uri="x", n_samples=9, fingerprint="f", fingerprint_method="m"))
    assert other_name.dataset_id == row.dataset_id
    other_content = describe_dataset(Facts(name="toy", n_samples=9, fingerprint="g", fingerprint_method="m"))
    assert other_content.dataset_id != row.dataset_id


def test_wrong_and_secret_facts_are_not_believed() -> None:
    row = describe_dataset(Facts(n_samples="many", fingerprint=3, uri="s3://a:hunter2@b/c", strange=object()))
    assert (row.n_samples, row.fingerprint_method, row.uri) == (None, "structure", "s3://<redacted>@b/c")


@pytest.mark.parametrize("thing", [None, 3, "text", [1, 2], {}, object(), Forbidden, Facts, torch, print])
def test_odd_objects(thing: object) -> None:
    _check_row(thing)


def test_an_object_that_answers_nothing() -> None:
    _check_row(Hostile())


def _check_row(thing: object) -> None:
    row = describe_dataset(thing)
    assert row.dataset_id == describe_dataset(thing).dataset_id
    assert records_to_arrow("datasets", [row]).num_rows == 1
