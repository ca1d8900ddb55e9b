"""Hashes of single samples, against the definition in docs/format.md worked out number by number."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Dataset, StackDataset, Subset, TensorDataset

from lightning_lde.capture import Pace, Samples, describe_dataset, describe_with_samples, look_at_loader
from lightning_lde.capture import _columns as columns_module
from lightning_lde.capture import _files as files
from lightning_lde.capture import _samples as samples_module
from lightning_lde.capture._samples import chained, coded, hash_rows, hash_values

_WORD = 2**64


def mixed(word: int) -> int:
    """SplitMix64's output function, from the paper."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % _WORD
    return word ^ (word >> 31)


def row_hash(row: bytes) -> int:
    """By docs/format.md."""
    filled = row + bytes(-len(row) % 8)
    words = [int.from_bytes(filled[at : at + 8], "little") for at in range(0, len(filled), 8)]
    places = (mixed((word + (j + 1) * 0x9E3779B97F4A7C15) % _WORD) for j, word in enumerate(words))
    return (mixed(len(row)) + sum(places)) % _WORD


def joint_hash(*parts: int) -> int:
    return row_hash(b"".join(part.to_bytes(8, "little") for part in parts))


def content_hash(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "little")


def samples_of(dataset: Any) -> Samples | None:
    loader = DataLoader(dataset)
    pace = Pace(fingerprint="exact", by_sample=True)
    described, _, samples = describe_with_samples(look_at_loader(loader), pace)
    # Looking at samples changes nothing of what is found without it.
    assert described.dataset_id == describe_dataset(dataset, fingerprint="exact").dataset_id
    assert describe_with_samples(look_at_loader(loader), Pace(fingerprint="exact"))[2] is None
    assert describe_with_samples(look_at_loader(loader), Pace(fingerprint="cheap", by_sample=True))[2] is None
    return samples


def known(dataset: Any) -> Samples:
    samples = samples_of(dataset)
    assert samples is not None
    return samples


def labels_of(samples: Samples) -> list[str] | None:
    return None if samples.labels is None else [samples.classes[code] for code in samples.labels.tolist()]


@given(st.integers(0, 40), st.integers(0, 6), st.randoms(use_true_random=False))
def test_rows_by_the_definition(width: int, n: int, chance: random.Random) -> None:
    rows = [chance.randbytes(width) for _ in range(n)]
    found = hash_rows(np.frombuffer(b"".join(rows), np.uint8).reshape(n, width))
    assert found.tolist() == [row_hash(row) for row in rows]


@given(st.lists(st.binary(max_size=40), max_size=12), st.sampled_from([8, 24, 2**20]))
def test_values_of_any_size_by_the_definition(values: list[bytes], block_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples_module, "_BLOCK_BYTES", block_bytes)
        assert hash_values(values).tolist() == [row_hash(value) for value in values]


def test_rows_larger_than_a_block_and_not_contiguous() -> None:
    rows = np.random.default_rng(0).integers(0, 255, (5, 3 * 2**19), np.uint8)
    assert hash_rows(rows[::2]).tolist() == [row_hash(row.tobytes()) for row in rows[::2]]


def test_many_near_rows_have_hashes_of_their_own() -> None:
    # One bit, one place or one swap apart, as images and one-hot rows are.
    base = np.zeros((784, 784), np.uint8)
    np.fill_diagonal(base, 1)
    rows = np.concatenate([base, base * 2, base * 128, np.zeros((1, 784), np.uint8), base + np.roll(base, 8, axis=1)])
    assert len(np.unique(hash_rows(rows))) == len(np.unique(rows, axis=0)) == len(rows)
    wide = [np.zeros((1, width), np.uint8) for width in range(1, 300)]
    assert len({hash_rows(row)[0] for row in wide}) == len(wide)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.complex64, torch.bool])
def test_tensors(dtype: torch.dtype) -> None:
    images = torch.arange(60).reshape(5, 3, 4).to(dtype)
    labels = torch.tensor([3, 1, 3, 0, 9])
    samples = known(TensorDataset(images, labels))
    parts = zip(images.view(torch.uint8).reshape(5, -1).numpy(), labels.tolist(), strict=True)
    expected = [joint_hash(row_hash(row.tobytes()), row_hash(label.to_bytes(8, "little"))) for row, label in parts]
    assert samples.hashes.tolist() == expected
    assert labels_of(samples) == ["3", "1", "3", "0", "9"]
    assert samples.paths is None


def test_strides_and_pieces_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_lde.capture import _arrays

    data = torch.randn(50, 6)
    strided = torch.empty(6, 50).t()
    strided.copy_(data)
    whole = known(TensorDataset(data)).hashes
    assert whole.tolist() == [row_hash(row.numpy().tobytes()) for row in data]
    monkeypatch.setattr(_arrays, "_PIECE_BYTES", 7 * 24)
    assert known(TensorDataset(strided)).hashes.tolist() == whole.tolist()


def test_a_subset_has_the_samples_of_its_base() -> None:
    base = TensorDataset(torch.randn(9, 2), torch.arange(9) % 2)
    assert known(Subset(Subset(base, [4, 2, 0]), [1])).hashes.tolist() == known(base).hashes.tolist()


def test_parts_one_after_the_other_and_side_by_side() -> None:
    one, two = (TensorDataset(torch.randn(n, 2), torch.arange(n) % k) for n, k in ((6, 2), (4, 3)))
    joint = known(ConcatDataset([one, Subset(two, [3, 0])]))
    assert joint.hashes.tolist() == [*known(one).hashes.tolist(), *known(two).hashes[[3, 0]].tolist()]
    assert labels_of(joint) == ["0", "1", "0", "1", "0", "1", "0", "0"]
    stacked = known(StackDataset(one, Subset(one, [5, 4, 3, 2, 1, 0])))
    pairs = zip(known(one).hashes.tolist(), known(one).hashes.tolist()[::-1], strict=True)
    assert stacked.hashes.tolist() == [joint_hash(*pair) for pair in pairs]


def test_one_part_that_is_unknown_makes_all_unknown() -> None:
    class Silent(Dataset[int]):
        def __len__(self) -> int:
            return 3

    pace = Pace(fingerprint="exact", by_sample=True)
    loader = DataLoader(ConcatDataset([TensorDataset(torch.zeros(2, 1)), Silent()]))
    assert describe_with_samples(look_at_loader(loader), pace)[2] is None


class Own(Dataset[Any]):
    """A data set of a user's own, of any attributes."""

    def __init__(self, n: int, **attributes: Any) -> None:
        self.n = n
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return self.n


def test_attributes_with_a_value_for_each_sample() -> None:
    images, words = torch.randn(4, 3), ["a", "b", "a", "ü"]
    samples = known(Own(4, images=images, labels=words, table=torch.zeros(9)))
    rows = [row_hash(row.numpy().tobytes()) for row in images]
    texts = [row_hash(json.dumps(word, ensure_ascii=False).encode()) for word in words]
    assert samples.hashes.tolist() == [joint_hash(*pair) for pair in zip(rows, texts, strict=True)]
    assert labels_of(samples) == words
    assert samples_of(Own(4, table=torch.zeros(9))) is None


def test_lists_of_arrays_of_different_sizes() -> None:
    items = [torch.arange(n, dtype=torch.float32) for n in (1, 3, 2)]
    assert known(Own(3, items=items)).hashes.tolist() == [content_hash(one.numpy().tobytes()) for one in items]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, content in {
        "cat/1.png": b"one",
        "cat/2.png": b"two",
        "cat/3.png": b"",
        "dog/1.png": b"x" * 2_500_000,
    }.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(content)
    return tmp_path / "images"


class Folder(Dataset[Any]):
    """As torchvision's ``ImageFolder`` keeps its files."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.classes = sorted(path.name for path in root.iterdir())
        found = sorted(root.glob("*/*"))
        self.samples = [(str(path), self.classes.index(path.parent.name)) for path in found]
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)


class Lazy(Dataset[Any]):
    """Finds its files by itself."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __len__(self) -> int:
        return 1


def test_files(images: Path) -> None:
    for dataset in (Folder(images), Lazy(images)):
        samples = known(dataset)
        assert samples.paths == ["cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png"]
        assert samples.hashes.tolist() == [content_hash((images / name).read_bytes()) for name in samples.paths]
        assert labels_of(samples) == (["0", "0", "0", "1"] if isinstance(dataset, Folder) else None)


def test_a_file_that_cannot_be_read(images: Path) -> None:
    dataset = Folder(images)
    (images / "cat/2.png").unlink()
    assert known(dataset).hashes[1] == content_hash(b"unreadable")


def test_tables_whatever_their_chunks() -> None:
    rows = {
        "number": [1, None, 3, 1],
        "text": ["a", "", None, "a"],
        "list": [[1.0, 2.0], [], None, [1.0, 2.0]],
        "image": [
            {"bytes": b"i", "path": "/x/a.png"},
            None,
            {"bytes": b"", "path": "b"},
            {"bytes": b"i", "path": "a.png"},
        ],
        "gaps": [[1, None], [1, 0], [None, 1], [1, None]],
        "words": [["a", "b"], ["ab"], [None], ["a", "b"]],
        "flag": [True, False, None, True],
    }
    table = pa.table(rows)
    hashes = known(table).hashes.tolist()
    assert hashes[0] == hashes[3]
    assert len(set(hashes)) == 3
    chunked = pa.concat_tables([table.slice(2), table.slice(0, 2)])
    assert known(chunked).hashes.tolist() == hashes[2:] + hashes[:2]
    for name in rows:
        for other in (row for row in (0, 1, 2) if rows[name][row] != rows[name][(row + 1) % 3]):
            changed = {**rows, name: [*rows[name]]}
            changed[name][other] = rows[name][(other + 1) % 3]
            found = known(pa.table({key: pa.array(column, table[key].type) for key, column in changed.items()})).hashes
            assert [place for place in range(4) if found[place] != hashes[place]] == [other], name


def test_numbers_of_a_table_by_the_definition() -> None:
    table = pa.table({"x": pa.array([1, 2], pa.int32()), "y": pa.array([0.5, -1.0])})
    expected = [
        joint_hash(row_hash(np.int32(x).tobytes()), row_hash(np.float64(y).tobytes())) for x, y in ((1, 0.5), (2, -1.0))
    ]
    assert known(table).hashes.tolist() == expected


def cell(value: Any, *, of_numbers: bool = False) -> bytes:
    """By docs/format.md; lists of numbers stand in another way than other lists."""
    if value is None:
        return b"\0"
    if isinstance(value, dict):
        return b"\1" + b"".join(map(cell, value.values()))
    if isinstance(value, list) and of_numbers and not any(isinstance(item, list) for item in value):
        gaps = bytes(item is None for item in value)
        numbers = np.array([item or 0 for item in value], "<i8").tobytes()
        return b"\1" + len(value).to_bytes(8, "little") + (b"\1" + gaps if any(gaps) else b"\0") + numbers
    if isinstance(value, list):
        return b"\1" + len(value).to_bytes(8, "little") + b"".join(cell(item, of_numbers=of_numbers) for item in value)
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"\1" + len(data).to_bytes(8, "little") + data


@pytest.mark.parametrize(
    "values",
    [
        ["a", "", None, "üß"],
        [b"\0\xff", None, b""],
        [["a", "bc"], [], None, ["abc", None]],
        [[1, 2], [], None, [None, 3], [3, 0]],
        [[[1], [2, 3]], [[1, 2], [3]], None],
        [{"bytes": b"x", "name": "a"}, None, {"bytes": None, "name": "b"}],
        [True, None, False],
    ],
    ids=str,
)
def test_other_values_of_a_table_by_the_definition(values: list[Any]) -> None:
    for chosen in (values, values[::-1], values[:1]):
        table = pa.table({"x": pa.array(chosen, pa.array(values).type)})
        of_numbers = "int64" in str(table.schema)
        assert known(table).hashes.tolist() == [row_hash(cell(value, of_numbers=of_numbers)) for value in chosen]


def test_a_table_of_many_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"x": np.arange(3000), "y": [str(number) for number in range(3000)]})
    expected = [joint_hash(row_hash(np.int64(n).tobytes()), row_hash(cell(str(n)))) for n in range(3000)]
    assert known(table).hashes.tolist() == expected
    monkeypatch.setattr(columns_module, "_HASHED_BYTES", 20_000)
    assert known(table).hashes.tolist() == expected
    monkeypatch.setattr(columns_module, "_HASHED_BYTES", 1)
    assert known(table.slice(5)).hashes.tolist() == expected[5:]


def test_a_null_among_numbers_of_a_table() -> None:
    table = pa.table({"x": pa.array([0, None], pa.int16())})
    assert known(table).hashes.tolist() == [row_hash(bytes(2)), 0]


def test_too_many_samples(monkeypatch: pytest.MonkeyPatch, images: Path) -> None:
    from lightning_lde.capture import _arrays, _columns, _contents, _samples

    for module in (_arrays, _columns, _contents, _samples, files):
        monkeypatch.setattr(module, "MOST_SAMPLES", 2)
    some = TensorDataset(torch.zeros(2, 1))
    assert samples_of(some) is not None
    for dataset in (
        TensorDataset(torch.zeros(3, 1)),
        Folder(images),
        Own(3, words=["a", "b", "c"]),
        pa.table({"x": [1, 2, 3]}),
    ):
        assert samples_of(dataset) is None
    assert samples_of(ConcatDataset([some, some])) is None


def test_labels_in_any_form() -> None:
    for labels in ([5, 5, -1], np.array([5, 5, -1], np.int8), torch.tensor([5, 5, -1])):
        codes, classes = coded(labels) or (None, [])
        assert [classes[code] for code in codes.tolist()] == ["5", "5", "-1"]  # type: ignore[union-attr]
    big = [2**40, 3, 2**40]
    codes, classes = coded(big) or (None, [])
    assert [int(classes[code]) for code in codes.tolist()] == big  # type: ignore[union-attr]
    assert coded(list(range(10_001))) is None
    assert coded([str(one) for one in range(10_001)]) is None
    assert coded([0.5, 1.0]) is None


def test_parts_of_files_keep_apart() -> None:
    one = Samples(np.array([1, 2], np.uint64), ["a", "b"])
    assert Counter((chained([one, one]) or one).paths or []) == Counter(["0/a", "0/b", "1/a", "1/b"])


def test_random_states_stay() -> None:
    def states() -> list[Any]:
        return [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]

    before = states()
    known(TensorDataset(torch.zeros(9, 3), torch.zeros(9, dtype=torch.int64)))
    assert states() == before
