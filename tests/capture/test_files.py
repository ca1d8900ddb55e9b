"""Data in files: what the fingerprint sees, what it does not, and what it never opens."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from torch.utils.data import Dataset

from lightning_lde.capture import Pace, describe_dataset
from lightning_lde.capture import _files as files
from lightning_lde.schema import records_to_arrow


class Folder(Dataset[Any]):
    """As torchvision's ``ImageFolder``."""

    def __init__(self, root: Path, transform: Any = None) -> None:
        self.root, self.transform = str(root), transform
        self.classes = sorted(path.name for path in root.iterdir())
        self.samples = [
            (str(path), label) for label, name in enumerate(self.classes) for path in sorted((root / name).iterdir())
        ]
        self.imgs = self.samples
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a sample was drawn")


class Paths(Dataset[Any]):
    """A user's own list of files, under whatever name."""

    def __init__(self, paths: list[Any], **more: Any) -> None:
        self.paths = paths
        vars(self).update(more)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("a sample was drawn")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(3 + label):
            (root / name / f"{number}.png").write_bytes(bytes([label, number]) * 10)
    return root


def test_facts_of_a_folder(images: Path) -> None:
    os.utime(images / "dog" / "2.png", (2_000_000_000, 2_000_000_000))
    row = describe_dataset(Folder(images))
    assert (row.name, row.kind, row.n_samples, row.n_classes) == ("Folder", "files", 7, 2)
    assert row.class_counts == {"0": 3, "1": 4}
    assert (row.size_bytes, row.fingerprint_method) == (7 * 20, "sha256 of 7 files")
    assert row.modified_at is not None
    assert row.modified_at.timestamp() == 2_000_000_000
    assert records_to_arrow("datasets", [row]).num_rows == 1


def test_the_fingerprint_is_the_documented_hash(images: Path) -> None:
    dataset = Folder(images)
    rows = [[path.removeprefix(f"{images}/"), 20, label] for path, label in dataset.samples]
    content = b"".join(Path(path).read_bytes() for path, _ in dataset.samples)
    text = json.dumps(rows, separators=(",", ":")).encode()
    assert describe_dataset(dataset).fingerprint == hashlib.sha256(text + content).hexdigest()[:32]


def test_a_copy_elsewhere_and_later_is_the_same(images: Path, tmp_path: Path) -> None:
    copied = tmp_path / "other place" / "renamed"
    shutil.copytree(images, copied, copy_function=shutil.copyfile)
    assert describe_dataset(Folder(copied)).dataset_id == describe_dataset(Folder(images)).dataset_id


@pytest.mark.parametrize("change", ["content", "size", "name", "class", "fewer", "more", "order"])
def test_another_folder_another_id(images: Path, change: str) -> None:
    base, dataset = describe_dataset(Folder(images)).dataset_id, Folder(images)
    target = images / "cat" / "1.png"
    if change == "content":
        target.write_bytes(b"x" * 20)
    elif change == "size":
        target.write_bytes(b"x" * 21)
    elif change == "name":
        target.rename(images / "cat" / "9.png")
    elif change == "class":
        dataset.samples[1] = (dataset.samples[1][0], 1)
    elif change == "fewer":
        target.unlink()
    elif change == "more":
        (images / "dog" / "9.png").write_bytes(b"x" * 20)
    else:
        dataset.samples.reverse()
    changed = dataset if change in {"class", "order"} else Folder(images)
    assert describe_dataset(changed).dataset_id != base


def test_many_bytes_are_sampled_and_read_whole_on_demand(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    monkeypatch.setattr(files, "_MAX_SAMPLED", 2)
    cheap, exact = (describe_dataset(Folder(images), fingerprint=word) for word in ("cheap", "exact"))
    assert cheap.fingerprint_method == "sha256 of 7 names and sizes, 2 files read"
    assert exact.fingerprint_method == "sha256 of 7 files"
    (images / "cat" / "1.png").write_bytes(b"x" * 20)
    assert describe_dataset(Folder(images)).dataset_id == cheap.dataset_id
    assert describe_dataset(Folder(images), fingerprint="exact").dataset_id != exact.dataset_id
    (images / "cat" / "0.png").write_bytes(b"x" * 20)
    assert describe_dataset(Folder(images)).dataset_id != cheap.dataset_id


def test_many_small_files_are_not_all_opened(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MAX_WHOLE", 6)
    monkeypatch.setattr(files, "_MAX_SAMPLED", 3)
    opened: list[str] = []
    monkeypatch.setattr(files, "_update", lambda digest, path, limit, pace: opened.append(path))
    assert describe_dataset(Folder(images)).fingerprint_method == "sha256 of 7 names and sizes, 3 files read"
    assert [path.removeprefix(f"{images}/") for path in opened] == ["cat/0.png", "dog/0.png", "dog/3.png"]


def test_a_missing_file_is_part_of_what_is_known(images: Path) -> None:
    dataset, base = Folder(images), describe_dataset(Folder(images))
    (images / "cat" / "1.png").unlink()
    row = describe_dataset(dataset)
    assert row.n_samples == 7
    assert row.dataset_id != base.dataset_id


def test_odd_names_sizes_and_folders_are_as_the_format_says(tmp_path: Path) -> None:
    """Names that are no UTF-8, missing files, links and folders have the same hash as by the format's page."""
    root = tmp_path / "odd"
    root.mkdir()
    names = [b"a.bin", b"\xff\xfe.bin", "ü 'x'\n.bin".encode(), b"link.bin"]
    for number, name in enumerate(names[:3]):
        (root / os.fsdecode(name)).write_bytes(b"x" * number)
    (root / "link.bin").symlink_to(root / os.fsdecode(names[2]))
    paths = [str(root / os.fsdecode(name)) for name in names]
    paths.insert(2, f"{root}/missing.bin")
    found = files.fingerprint_files(paths, path_of=str, label_of=len, root=str(root), pace=Pace())
    rows = [["a.bin", 0], ["\ufffd\ufffd.bin", 1], ["missing.bin", None], ["ü 'x'\n.bin", 2], ["link.bin", 2]]
    rows = [[*row, len(path)] for row, path in zip(rows, paths, strict=True)]
    listed = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()
    assert found.fingerprint == hashlib.sha256(listed + b"" + b"x" + b"unreadable" + b"xx" + b"xx").hexdigest()[:32]
    assert found.size_bytes == 5
    assert files._sizes_and_times(paths) == [files._size_and_time(path) for path in paths]
    assert files._sizes_and_times([str(root), paths[0], f"{root}/missing"])[2] == (None, 0)


def _strings(root: Path) -> list[Any]:
    return [str(path) for path in sorted(root.rglob("*.png"))]


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (_strings, {}),
        (lambda root: sorted(root.rglob("*.png")), {}),
        (lambda root: [(path, 0) for path in _strings(root)], {}),
        (lambda root: [str(path.relative_to(root)) for path in sorted(root.rglob("*.png"))], {"root": "ROOT"}),
        (lambda root: [str(path.relative_to(root)) for path in sorted(root.rglob("*.png"))], {"root": "ROOT/"}),
    ],
)
def test_lists_of_files_of_any_form(images: Path, make: Callable[[Path], list[Any]], more: dict[str, str]) -> None:
    def described() -> Any:
        settings = {name: value.replace("ROOT", str(images)) for name, value in more.items()}
        return describe_dataset(Paths(make(images), **settings))

    row = described()
    assert row.fingerprint_method == "sha256 of 1 attributes (sha256 of 7 files)"
    assert row.size_bytes == 7 * 20
    (images / "dog" / "0.png").write_bytes(b"y" * 20)
    assert described().dataset_id != row.dataset_id


def test_words_that_are_no_files_are_words() -> None:
    row = describe_dataset(Paths(["a sentence", "another", "data"]))
    assert row.fingerprint_method == "sha256 of 1 attributes (sha256 of items)"
    assert describe_dataset(Paths(["a sentence", "another", "date"])).dataset_id != row.dataset_id


class Lazy(Dataset[Any]):
    """Knows only its folder, and the names in it."""

    def __init__(self, root: Path, ids: list[str]) -> None:
        self.root, self.ids = root, ids

    def __len__(self) -> int:
        return len(self.ids)


def test_a_folder_is_walked_where_nothing_else_says_what_lies_in_it(images: Path) -> None:
    row = describe_dataset(Lazy(images, ["0", "1"]))
    assert "sha256 of 7 files" in str(row.fingerprint_method)
    (images / "dog" / "3.png").write_bytes(b"z")
    assert describe_dataset(Lazy(images, ["0", "1"])).dataset_id != row.dataset_id


def test_the_folder_one_works_in_is_no_data_set(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (images, images / "cat"):
        monkeypatch.chdir(folder)
        row = describe_dataset(Lazy(images, ["0", "1"]))
        assert row.fingerprint_method == "sha256 of 1 attributes (sha256 of items)"


@pytest.mark.parametrize("kind", ["npy", "parquet", "csv"])
def test_single_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"data.{kind}"

    def write(number: int) -> None:
        table = pa.table({"x": [1, number]})
        if kind == "npy":
            np.save(path, np.array([1, number]))
        elif kind == "parquet":
            pq.write_table(table, path)
        else:
            table.to_pandas().to_csv(path)

    class One(Dataset[Any]):
        def __init__(self) -> None:
            self.file = str(path)

        def __len__(self) -> int:
            return 2

    write(2)
    row = describe_dataset(One())
    assert row.fingerprint_method == "sha256 of 1 attributes (sha256 of 1 files)"
    write(2)
    assert describe_dataset(One()).dataset_id == row.dataset_id
    write(3)
    assert describe_dataset(One()).dataset_id != row.dataset_id


class Table(Dataset[Any]):
    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)


WORDS = ["a", None, "ccc", ""]
COLUMNS: dict[str, list[Any]] = {
    "text": WORDS,
    "number": [1, None, 3, 4],
    "float": [0.5, 1.5, None, float("nan")],
    "flag": [True, None, False, None],
    "list": [[1, 2], None, [], [None, 4]],
    "struct": [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 3, "b": None}],
    "bytes": [b"\0\1", b"", None, b"z"],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_tables_are_known_by_their_values(name: str) -> None:
    values = COLUMNS[name]
    table = pa.table({name: values})
    row = describe_dataset(table)
    assert (row.kind, row.n_samples, row.fingerprint_method) == ("table", 4, "sha256 of rows")
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 2), table.slice(3)])
    padded = pa.concat_tables([table, table]).slice(4)
    assert describe_dataset(chunked).dataset_id == describe_dataset(padded).dataset_id == row.dataset_id
    for position in range(4):
        other = [*values[:position], values[(position + 1) % 4], *values[position + 1 :]]
        assert describe_dataset(pa.table({name: pa.array(other, table[name].type)})).dataset_id != row.dataset_id
    assert describe_dataset(table.rename_columns(["other"])).dataset_id != row.dataset_id


def test_a_null_is_not_what_stands_for_it() -> None:
    rows = [describe_dataset(pa.table({"x": pa.array([1, value], pa.int64())})).dataset_id for value in (None, 0)]
    assert rows[0] != rows[1]


def test_data_frames() -> None:
    frame = pd.DataFrame({"x": [1, 2, 3], "word": ["a", "b", "c"]})
    row = describe_dataset(Table(frame))
    assert row.fingerprint_method == "sha256 of 1 attributes (sha256 of rows)"
    assert describe_dataset(Table(frame.copy())).dataset_id == row.dataset_id
    frame.loc[1, "word"] = "z"
    assert describe_dataset(Table(frame)).dataset_id != row.dataset_id


def test_large_tables_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_lde.capture import _arrays

    monkeypatch.setattr(_arrays, "MAX_BYTES", 1000)
    monkeypatch.setattr(_arrays, "_SAMPLE_BYTES", 800)
    values = list(range(1000))
    cheap, exact = (describe_dataset(pa.table({"x": values}), fingerprint=word) for word in ("cheap", "exact"))
    assert cheap.fingerprint_method == "sha256 of 100 evenly spaced rows of a table"
    assert exact.fingerprint_method == "sha256 of rows"
    values[1] = -1
    assert describe_dataset(pa.table({"x": values})).dataset_id == cheap.dataset_id
    assert describe_dataset(pa.table({"x": values}), fingerprint="exact").dataset_id != exact.dataset_id
    values[999] = -1
    assert describe_dataset(pa.table({"x": values})).dataset_id != cheap.dataset_id
