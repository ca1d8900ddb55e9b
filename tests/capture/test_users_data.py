"""Data sets of a user's own, wrappers and collections: known by what they keep, never by what they give."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ChainDataset, DataLoader, Dataset, IterableDataset, StackDataset, Subset, TensorDataset

from lightning_lde.capture import (
    Pace,
    describe_dataset,
    describe_loader,
    describe_look,
    describe_with_samples,
    look_at_loader,
)
from lightning_lde.capture import _arrays as arrays


class Forbidden(Dataset[Any]):
    """Whose samples, and everything that computes, must not be touched."""

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a sample was drawn")

    def __iter__(self) -> Any:
        raise AssertionError("it was iterated")

    @property
    def computed(self) -> Any:
        raise AssertionError("a property ran")


class Own(Forbidden):
    def __init__(self, n: int = 4, **attributes: Any) -> None:
        self.n = n
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self.n


class Wrapper(Forbidden):
    def __init__(self, base: Any, transform: Any = None, **attributes: Any) -> None:
        self.base, self.transform = base, transform
        vars(self).update(attributes)

    def __len__(self) -> int:
        return len(self.base)


class Part(Wrapper):
    def __len__(self) -> int:
        return 2


class Stream(IterableDataset[int]):
    def __init__(self, start: int = 0, words: str = "x") -> None:
        self.start, self.words = start, words

    def __iter__(self) -> Any:
        raise AssertionError("the stream was iterated")


def _x() -> torch.Tensor:
    return torch.arange(8.0).reshape(4, 2)


KINDS: dict[str, Callable[[float], dict[str, Any]]] = {
    "tensor": lambda v: {"x": torch.tensor([1.0, v])},
    "private tensor": lambda v: {"_x": torch.tensor([1.0, v])},
    "array": lambda v: {"x": np.array([1.0, v])},
    "list of tensors": lambda v: {"x": [torch.tensor([1.0]), torch.tensor([v])]},
    "ragged list": lambda v: {"x": [torch.tensor([1.0, 2.0]), torch.tensor([v])]},
    "list of pairs": lambda v: {"x": [(torch.tensor([1.0]), 0), (np.array([v]), 1)]},
    "list of numbers": lambda v: {"x": [1.0, v]},
    "list of words": lambda v: {"x": ["one", str(v)]},
    "list of dicts": lambda v: {"x": [{"text": "a", "label": v}]},
    "list of bytes": lambda v: {"x": [b"a", str(v).encode()]},
    "dict of arrays": lambda v: {"x": {"a": torch.tensor([v]), "b": 3}},
    "dict with a number": lambda v: {"x": {"a": torch.tensor([1.0]), "b": v}},
    "Arrow table": lambda v: {"x": pa.table({"a": [1.0, v]})},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_in_attributes_is_the_content(kind: str) -> None:
    make = KINDS[kind]
    row = describe_dataset(Own(**make(2.0)))
    assert "1 attributes" in str(row.fingerprint_method)
    assert describe_dataset(Own(**make(2.0))).dataset_id == row.dataset_id
    assert describe_dataset(Own(**make(3.0))).dataset_id != row.dataset_id


def test_shape_and_classes_of_a_users_arrays() -> None:
    row = describe_dataset(Own(images=torch.zeros(4, 3, 2), labels=[0, 1, 1, 1], table=torch.zeros(9)))
    assert (row.sample_shape, row.sample_dtype) == ([3, 2], "float32")
    assert (row.n_classes, row.class_counts) == (2, {"0": 1, "1": 3})
    assert row.size_bytes == 4 * 6 * 4 + 9 * 4


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"cache": {}},
        {"cache": {1: torch.zeros(2)}, "_cached": [1]},
        {"x": [object()]},
        {"model": torch.nn.Linear(1, 1)},
    ],
)
def test_where_nothing_can_be_known_the_method_says_so(attributes: dict[str, Any]) -> None:
    assert describe_dataset(Own(**attributes)).fingerprint_method == "structure"


def test_a_list_that_grew_since_the_look_is_no_content() -> None:
    dataset = Own(gathered=[1, 2], x=torch.zeros(4))
    loader = DataLoader(dataset)
    still = describe_look(look_at_loader(loader), Pace())[0]
    assert "2 attributes" in str(still.fingerprint_method)
    look = look_at_loader(loader)
    dataset.gathered.append(3)
    assert "1 attributes" in str(describe_look(look, Pace())[0].fingerprint_method)


def test_a_wrapper_is_described_as_what_it_wraps() -> None:
    base = TensorDataset(_x())
    wrapped = Wrapper(Subset(base, [3, 1]), str.upper)
    dataset, config = describe_loader(DataLoader(wrapped))
    plain, plain_config = describe_loader(DataLoader(Subset(base, [3, 1])))
    assert dataset.dataset_id == plain.dataset_id
    assert (config.n_samples, config.indices_hash) == (2, plain_config.indices_hash)
    assert config.transforms == "str.upper"
    assert config.dataset_config_id != plain_config.dataset_config_id


def test_a_wrapper_with_labels_of_its_own_is_other_data() -> None:
    base = TensorDataset(_x())
    rows = [
        describe_dataset(dataset)
        for dataset in (Wrapper(base), Wrapper(base, labels=[0, 1, 0, 1]), Wrapper(base, labels=[0, 1, 1, 1]))
    ]
    assert len({row.dataset_id for row in rows}) == 3


def test_a_choice_of_another_length_is_known_by_what_it_chose() -> None:
    rows = [
        describe_dataset(Part(TensorDataset(_x() + add), chosen=chosen)).dataset_id
        for add, chosen in ((0, [1, 2]), (0, [1, 3]), (1, [1, 2]), (0, [1, 2]))
    ]
    assert len(set(rows)) == 3
    assert rows[0] == rows[3]


def test_stacks() -> None:
    one, two = TensorDataset(_x()), TensorDataset(_x() + 1)
    rows = [
        describe_dataset(stack)
        for stack in (
            StackDataset(one, two),
            StackDataset(two, one),
            StackDataset(a=one, b=two),
            StackDataset(a=one, c=two),
            StackDataset(one, Subset(two, [0, 1, 2, 3])),
        )
    ]
    assert len({row.dataset_id for row in rows}) == len(rows)
    assert describe_dataset(StackDataset(one, two)).dataset_id == rows[0].dataset_id
    assert (rows[0].kind, rows[0].n_samples) == ("stack", 4)


def test_streams_are_known_by_structure_and_their_settings_by_configuration() -> None:
    rows = [describe_loader(DataLoader(Stream(start, words))) for start, words in ((0, "x"), (5, "x"), (0, "y"))]
    assert {row.fingerprint_method for row, _ in rows} == {"structure"}
    assert {row.kind for row, _ in rows} == {"iterable"}
    assert len({config.dataset_config_id for _, config in rows}) == 3
    assert rows[1][1].settings["dataset"][0]["settings"] == {"start": 5, "words": "x"}
    assert describe_dataset(ChainDataset([Stream(), Stream()])).n_samples is None


def test_a_memory_mapped_array_is_sampled_and_hashed_whole_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MAX_BYTES", 1000)
    monkeypatch.setattr(arrays, "_SAMPLE_BYTES", 400)
    mapped = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(1000, 2))
    dataset = Own(1000, x=mapped)
    cheap, exact = (describe_dataset(dataset, fingerprint=word) for word in ("cheap", "exact"))
    assert cheap.fingerprint_method == "sha256 of 1 attributes (sha256 of 50 evenly spaced rows)"
    assert exact.fingerprint_method == "sha256 of 1 attributes (sha256 of content)"
    mapped[1] = 1.0
    assert describe_dataset(dataset).dataset_id == cheap.dataset_id
    assert describe_dataset(dataset, fingerprint="exact").dataset_id != exact.dataset_id


def test_in_pieces_or_whole_the_hash_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.arange(1000.0).reshape(100, 10)
    whole = describe_dataset(tensor).fingerprint
    monkeypatch.setattr(arrays, "_PIECE_BYTES", 70)
    assert describe_dataset(tensor).fingerprint == whole


def test_in_a_hurry_only_the_structure_is_described() -> None:
    pace = Pace()
    pace.hurry()
    hurried = Pace(fingerprint="exact", by_sample=True)
    hurried.hurry()
    assert describe_with_samples(look_at_loader(DataLoader(TensorDataset(_x()))), hurried)[2] is None
    loader = DataLoader(Subset(TensorDataset(_x()), [1]), batch_size=3)
    dataset, config = describe_look(look_at_loader(loader), pace)
    assert (dataset.fingerprint_method, dataset.n_samples) == ("structure", 4)
    assert (config.batch_size, config.dataset_id) == (3, dataset.dataset_id)


def test_why_data_was_not_read_makes_it_no_other_data_set() -> None:
    rows = []
    for reason in ("it would have taken too long", "the run was interrupted", ""):
        pace = Pace()
        pace.hurry(reason)
        rows.append(describe_look(look_at_loader(DataLoader(TensorDataset(_x()))), pace)[0])
    slow, interrupted, unknown = rows
    assert slow.fingerprint_method == "structure, not read to the end: it would have taken too long"
    assert interrupted.fingerprint_method == "structure, not read to the end: the run was interrupted"
    assert slow.dataset_id == interrupted.dataset_id != unknown.dataset_id


# Hugging Face's data sets, by what is known of their attributes ------------------------------------

HuggingFaceTable = type("MemoryMappedTable", (), {"__module__": "datasets.table"})
ClassLabel = type("ClassLabel", (), {})


def hf_table(table: pa.Table) -> Any:
    wrapped = HuggingFaceTable()
    wrapped.table = table
    return wrapped


class HuggingFace(Forbidden):
    def __init__(self, table: pa.Table, indices: list[int] | None = None, fingerprint: str = "f") -> None:
        self._data, self._fingerprint, self.split = hf_table(table), fingerprint, "train"
        self._indices = None if indices is None else hf_table(pa.table({"indices": pa.array(indices, pa.uint64())}))
        self._info = self.info = type("Info", (), {"dataset_name": "toy", "license": "MIT", "version": None})()
        label = ClassLabel()
        label.names = ["no", "yes"]
        self.info.features = {"text": object(), "label": label}
        self._format_kwargs: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._data.table if self._indices is None else self._indices.table)


def test_hugging_face_by_rows_and_choice() -> None:
    table = pa.table({"text": ["a", "b", "c"], "label": [0, 1, 1]})
    dataset, config = describe_loader(DataLoader(HuggingFace(table, [2, 0], "other on every machine")))
    assert (dataset.name, dataset.n_samples, dataset.n_classes) == ("toy", 3, 2)
    assert dataset.class_counts == {"0": 1, "1": 2}
    assert (dataset.fingerprint_method, dataset.licence) == ("sha256 of rows", "MIT")
    assert config.split == "train"
    whole, whole_config = describe_loader(DataLoader(HuggingFace(table)))
    assert whole.dataset_id == dataset.dataset_id
    assert (whole_config.n_samples, whole_config.indices_hash) == (3, None)
    _, subset = describe_loader(DataLoader(Subset(HuggingFace(table, [2, 0]), [0])))
    _, direct = describe_loader(DataLoader(HuggingFace(table, [2])))
    assert (subset.n_samples, subset.indices_hash) == (1, direct.indices_hash)
    other = pa.table({"text": ["a", "b", "d"], "label": [0, 1, 1]})
    assert describe_dataset(HuggingFace(other)).dataset_id != dataset.dataset_id


def test_samples_of_hugging_face() -> None:
    table = pa.table({"text": ["a", "b", "a"], "label": [0, 1, 0]})
    pace = Pace(fingerprint="exact", by_sample=True)
    # What was chosen is one use of the data; the samples are those of the table.
    samples = describe_with_samples(look_at_loader(DataLoader(HuggingFace(table, [2, 0]))), pace)[2]
    assert samples is not None
    first, second, third = samples.hashes.tolist()
    assert first == third != second
    assert (samples.labels.tolist(), samples.classes) == ([0, 1, 0], ["0", "1"])


def test_files_in_a_table_are_their_bytes_not_their_places() -> None:
    def described(folder: str, content: bytes) -> str:
        image = pa.array([{"bytes": content, "path": f"{folder}/1.png"}])
        return describe_dataset(HuggingFace(pa.table({"image": image}))).dataset_id

    assert described("/home/ann/cache", b"x") == described("/mnt/ben", b"x") != described("/mnt/ben", b"y")


def test_a_transform_of_hugging_face() -> None:
    dataset = HuggingFace(pa.table({"text": ["a"]}))
    dataset._format_kwargs = {"transform": str.upper}
    assert describe_loader(DataLoader(dataset))[1].transforms == "str.upper"


@st.composite
def choices(draw: st.DrawFn) -> list[list[int]]:
    """Indices of a subset, of a subset of it, and so on."""
    n, chosen = 20, []
    for _ in range(draw(st.integers(1, 4))):
        chosen.append(draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
        n = len(chosen[-1])
    return chosen


@settings(deadline=None)
@given(choices(), st.data())
def test_subsets_of_subsets_are_rows_of_the_root(chosen: list[list[int]], data: st.DataObject) -> None:
    """Against the way of each single sample from the outermost subset to the root."""
    root = TensorDataset(torch.arange(20))
    nested: Any = root
    for indices in chosen:
        wrap = data.draw(st.sampled_from([list, tuple, np.array, torch.tensor]))
        nested = Subset(nested, wrap(indices))
        if data.draw(st.booleans()):
            nested = Wrapper(nested)
    rows = [int(_given(nested, position)) for position in range(len(nested))]
    dataset, config = describe_loader(DataLoader(nested))
    assert dataset.n_samples == 20
    assert config.n_samples == len(rows)
    assert config.indices_hash == hashlib.sha256(np.array(rows, "<i8").tobytes()).hexdigest()[:32]


def _given(dataset: Any, position: int) -> Any:
    while isinstance(dataset, Wrapper):
        dataset = dataset.base
    if isinstance(dataset, Subset):
        return _given(dataset.dataset, int(dataset.indices[position]))
    return dataset.tensors[0][position]
