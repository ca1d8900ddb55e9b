"""Samples that came and went, against counting by hand, and in lakes of real trainings."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from lightning_lde import Lake, LDECallback
from lightning_lde.cli import app
from lightning_lde.lake import LakeStorage
from lightning_lde.query import DataVersion, SampleChanges, data_history
from lightning_lde.query._manifests import compare_samples, match

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::lightning_lde.errors.LDEWarning")


def rows_table(rows: list[int], labels: list[str] | None = None) -> pa.Table:
    columns: dict[str, Any] = {"hash": pa.array(rows, pa.uint64())}
    return pa.table(columns if labels is None else {**columns, "label": pa.array(labels, pa.string())})


few = st.lists(st.integers(0, 6), max_size=12)


@settings(deadline=None)
@given(few, few)
def test_rows_are_counted(old: list[int], new: list[int]) -> None:
    found = compare_samples(rows_table(old), rows_table(new))
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    assert (found.removed, found.added) == (gone.total(), come.total())
    assert found.kept == len(old) - gone.total() == len(new) - come.total()
    matched = match(np.array(old, np.uint64), np.array(new, np.uint64))
    assert Counter(old[place] for place in matched.removed) == gone
    assert Counter(new[place] for place in matched.added) == come
    assert [old[place] for place in matched.old] == [new[place] for place in matched.new]
    assert sorted([*matched.old, *matched.removed]) == list(range(len(old)))
    assert sorted([*matched.new, *matched.added]) == list(range(len(new)))


@settings(deadline=None)
@given(few, few)
def test_labels_are_those_of_what_came_and_went(old: list[int], new: list[int]) -> None:
    def labels(rows: list[int]) -> list[str]:
        return [str(row % 3) for row in rows]

    found = compare_samples(rows_table(old, labels(old)), rows_table(new, labels(new)))
    assert found.labels_removed == Counter(labels(list((Counter(old) - Counter(new)).elements())))
    assert found.labels_added == Counter(labels(list((Counter(new) - Counter(old)).elements())))
    assert list(found.labels_added) == sorted(found.labels_added)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=12, unique=True), st.data())
def test_order_and_place(rows: list[int], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(rows), unique=True) if rows else st.just([]))
    shuffled = data.draw(st.permutations(rows))
    kept = [row for row in rows if row in some]
    assert compare_samples(rows_table(rows), rows_table(kept)).in_order
    assert compare_samples(rows_table(rows), rows_table(shuffled)).in_order == (shuffled == rows)
    changed = [row if row in some else row + 2 * 10**6 for row in rows]
    found = compare_samples(rows_table(rows), rows_table(changed))
    assert found.replaced == found.added == found.removed == len(rows) - len(some)
    assert found.examples_added == tuple(place for place, row in enumerate(rows) if row not in some)[:5]


def test_equal_rows_that_move_are_no_move() -> None:
    assert compare_samples(rows_table([1, 2, 1]), rows_table([2, 1])).in_order
    assert compare_samples(rows_table([1, 2, 1]), rows_table([1, 2])).in_order
    assert not compare_samples(rows_table([1, 2, 3]), rows_table([3, 2])).in_order
    assert compare_samples(rows_table([1, 2, 3]), rows_table([2, 1, 4])).replaced == 0


folders = st.dictionaries(
    st.sampled_from([f"{name}.png" for name in "abcdefgh"]), st.tuples(st.integers(0, 4), st.sampled_from("xy"))
)


@settings(deadline=None)
@given(folders, folders)
def test_files_by_their_paths(old: dict[str, tuple[int, str]], new: dict[str, tuple[int, str]]) -> None:
    def table(files: dict[str, tuple[int, str]]) -> pa.Table:
        rows = rows_table([content for content, _ in files.values()], [label for _, label in files.values()])
        return rows.append_column("path", pa.array(list(files), pa.string()))

    found = compare_samples(table(old), table(new))
    assert (found.added, found.removed) == (len(new.keys() - old.keys()), len(old.keys() - new.keys()))
    changed = [path for path in new if path in old and old[path] != new[path]]
    assert found.changed == len(changed)
    assert found.kept == sum(old.get(path) == file for path, file in new.items())
    assert set(found.examples_changed) <= set(changed)
    gone = Counter(old[path][0] for path in old.keys() - new.keys())
    come = Counter(new[path][0] for path in new.keys() - old.keys())
    assert found.renamed == (gone & come).total()
    assert found.labels_added == Counter(new[path][1] for path in {*(new.keys() - old.keys()), *changed})
    assert found.labels_removed == Counter(old[path][1] for path in {*(old.keys() - new.keys()), *changed})
    assert found.in_order == ([path for path in old if path in new] == [path for path in new if path in old])


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(4, 3)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(self.net(batch[0].float()), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(lake: str, dataset: Any, *, fingerprint: str = "exact", **settings: Any) -> None:
    callback = LDECallback(
        lake, project="p", data_fingerprint=fingerprint, on_error="raise", system_metrics_every_s=None,
        artifacts="none", **settings,
    )  # fmt: skip
    trainer = pl.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[callback],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        trainer.fit(Net(), DataLoader(dataset, batch_size=2))


class Flowers(TensorDataset):
    """A data set with a name of its own."""


class Faces(Dataset[Any]):
    """As torchvision's ``ImageFolder``: a file for each sample, a folder for each class."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.classes = sorted(path.name for path in root.iterdir())
        self.samples = [(str(path), self.classes.index(path.parent.name)) for path in sorted(root.glob("*/*"))]
        self.targets = [label for _, label in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[index]
        return torch.frombuffer(bytearray(Path(path).read_bytes()[:4]), dtype=torch.uint8), label


def last(lake: Lake, name: str) -> DataVersion:
    return data_history(lake, name)[-1]


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def any_lake(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any] | None]:
    if request.param == "local":
        return str(tmp_path / "lake"), None
    return request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options


def test_arrays_of_real_trainings(any_lake: tuple[str, dict[str, Any] | None]) -> None:
    url, options = any_lake
    images, labels = torch.randint(0, 255, (20, 4), dtype=torch.uint8), torch.arange(20) % 3
    # The loader's part does not matter: a Subset is one use of the data.
    train(url, Subset(Flowers(images, labels), range(10)), storage_options=options)
    edited = labels.clone()
    edited[[4, 7]] = 0  # rows 4 and 7 were of the class 1
    train(url, Flowers(images, edited), storage_options=options)
    more = torch.cat([images[3:], images[:1] + 1]), torch.cat([edited[3:], torch.tensor([2])])
    train(url, Flowers(*more), storage_options=options)
    train(url, Flowers(more[0].flip(0), more[1].flip(0)), storage_options=options)
    lake = Lake(url, options)
    first, second, third, fourth = data_history(lake, "Flowers")
    assert (first.samples, first.samples_unknown) == (None, None)
    assert second.samples == SampleChanges(
        known_by="row", added=2, removed=2, changed=0, renamed=0, replaced=2, kept=18, in_order=True,
        labels_added={"0": 2}, labels_removed={"1": 2}, examples_added=(4, 7), examples_removed=(4, 7),
    )  # fmt: skip
    assert third.samples == SampleChanges(
        known_by="row", added=1, removed=3, changed=0, renamed=0, replaced=0, kept=17, in_order=True,
        labels_added={"2": 1}, labels_removed={"0": 1, "1": 1, "2": 1}, examples_added=(17,),
        examples_removed=(0, 1, 2),
    )  # fmt: skip
    assert fourth.samples is not None
    assert (fourth.samples.added, fourth.samples.kept, fourth.samples.in_order) == (0, 18, False)


def folder(root: Path) -> Path:
    for number in range(8):
        path = root / ("rose" if number % 2 else "tulip") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"image {number}".encode())
    return root


def test_files_of_real_trainings(tmp_path: Path) -> None:
    images, url = folder(tmp_path / "images"), str(tmp_path / "lake")
    train(url, Faces(images))
    (images / "rose/1.png").write_bytes(b"another")
    (images / "rose/3.png").unlink()
    (images / "rose/5.png").rename(images / "tulip/5.png")
    (images / "tulip/9.png").write_bytes(b"new")
    train(url, Faces(images))
    assert last(Lake(url), "Faces").samples == SampleChanges(
        known_by="path", added=2, removed=2, changed=1, renamed=1, replaced=0, kept=5, in_order=True,
        labels_added={"0": 1, "1": 2}, labels_removed={"0": 3},
        examples_added=("tulip/5.png", "tulip/9.png"), examples_removed=("rose/3.png", "rose/5.png"),
        examples_changed=("rose/1.png",),
    )  # fmt: skip


def history(url: str, *words: str) -> Any:
    return CliRunner().invoke(app, ["data", "history", url, *words], catch_exceptions=False)


def test_the_command_shows_it(tmp_path: Path) -> None:
    images, url = folder(tmp_path / "images"), str(tmp_path / "lake")
    train(url, Faces(images))
    (images / "rose/3.png").unlink()
    train(url, Faces(images))
    done = history(url, "Faces")
    assert "1 file removed; samples 8 → 7 (-1)" in done.stdout
    wanted = [
        "since version 1  1 file removed",
        "kept             7",
        "classes removed  0 (1)",
        "files removed    rose/3.png",
    ]
    assert "\nsamples of version 2\n" + "".join(f"  {line}\n" for line in wanted) in done.stdout
    assert done.stderr == ""
    rows = json.loads(history(url, "Faces", "--format", "json").stdout)
    assert rows[0]["samples"] is None
    assert json.loads(rows[1]["samples"])["examples_removed"] == ["rose/3.png"]
    short = history(url, "Faces", "--no-samples")
    assert "samples of version" not in short.stdout
    assert short.stderr == ""


def test_where_it_is_not_known_it_says_why(tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    train(url, Flowers(torch.zeros(4, 4), torch.tensor([0, 1, 0, 1])))
    train(url, Flowers(torch.ones(4, 4), torch.tensor([0, 1, 0, 1])), fingerprint="cheap")
    train(url, Flowers(torch.ones(4, 4) * 2, torch.tensor([0, 1, 0, 1])), capture="minimal")
    versions = data_history(Lake(url), "Flowers")
    assert [version.facts["manifest_object"] is not None for version in versions] == [True, False, False]
    assert [version.samples for version in versions] == [None] * 3
    assert versions[1].samples_unknown == "this version: no manifest of the samples was kept"
    done = history(url, "Flowers")
    assert "content only: all counts and sizes are equal" in done.stdout
    assert versions[2].samples_unknown == "both versions: no manifest of the samples was kept"
    assert "version 2 since 1: this version: no manifest" in done.stderr
    assert 'data_fingerprint="exact"' in done.stderr
    # Nothing of the third was stored.
    stored = LakeStorage(url).store.list("objects/")
    objects = [LakeStorage(url).store.get(each.path) for each in stored]
    assert sum(data.startswith(b"PAR1") for data in objects) == 1


def test_a_manifest_that_comes_later(tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    one, two = (Flowers(torch.full((4, 4), value), torch.arange(4) % 2) for value in (0.0, 1.0))
    for dataset in (one, two):
        train(url, dataset, fingerprint="cheap")
    assert last(Lake(url), "Flowers").samples is None
    for dataset in (one, two):
        train(url, dataset)
    samples = last(Lake(url), "Flowers").samples
    assert samples is not None
    assert (samples.added, samples.removed, samples.replaced) == (4, 4, 4)


def test_manifests_that_are_lost_or_damaged(tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    for value in (0.0, 1.0):
        train(url, Flowers(torch.full((4, 4), value), torch.arange(4) % 2))
    object_id = last(Lake(url), "Flowers").facts["manifest_object"]
    path = tmp_path / "lake" / "objects" / object_id[:2] / object_id
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"?")
    assert "is damaged" in str(last(Lake(url), "Flowers").samples_unknown)
    path.unlink()
    assert last(Lake(url), "Flowers").samples_unknown == "a manifest is not in the lake any more"


def test_the_object_is_as_the_format_says(tmp_path: Path) -> None:
    images, url = folder(tmp_path / "images"), str(tmp_path / "lake")
    dataset = Faces(images)
    train(url, dataset)
    object_id = last(Lake(url), "Faces").facts["manifest_object"]
    table = pq.read_table(io.BytesIO((tmp_path / "lake" / "objects" / object_id[:2] / object_id).read_bytes()))
    assert table.schema.names == ["hash", "path", "label"]
    assert [field.type for field in table.schema] == [pa.uint64(), pa.string(), pa.string()]
    assert table.column("path").to_pylist() == [str(Path(path).relative_to(images)) for path, _ in dataset.samples]
    assert table.column("label").to_pylist() == [str(label) for label in dataset.targets]
    assert Lake(url).sql(
        f"select count(distinct hash) as n from read_parquet('{url}/objects/{object_id[:2]}/{object_id}')"
    ).to_pylist() == [{"n": 8}]
    # Moved to another place, the data is the same and so is the object.
    shutil.copytree(images, tmp_path / "copy")
    train(url, Faces(tmp_path / "copy"))
    assert last(Lake(url), "Faces").facts["manifest_object"] == object_id


def test_nothing_at_all(tmp_path: Path) -> None:
    from lightning_lde.capture import Samples
    from lightning_lde.recording import write_manifest

    tables = []
    for number, paths in enumerate(([], ["a", "b"])):
        samples = Samples(np.arange(len(paths), dtype=np.uint64), paths, np.zeros(len(paths), np.int32), ["x"])
        write_manifest(tmp_path / str(number), samples, str)
        tables.append(pq.read_table(tmp_path / str(number)))
    none, two = tables
    assert compare_samples(none, none).kept == 0
    found = compare_samples(none, two)
    assert (found.added, found.removed, found.labels_added) == (2, 0, {"x": 2})
    assert compare_samples(two, none).examples_removed == ("a", "b")


def test_a_difference_beside_the_samples(tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    numbers, labels = torch.arange(16, dtype=torch.int32).reshape(4, 4), torch.arange(4) % 2
    train(url, Flowers(numbers, labels))
    train(url, Flowers(numbers.view(torch.float32), labels))
    train(url, Flowers(numbers.view(torch.float32).flip(0), labels.flip(0)))
    done = history(url, "Flowers")
    assert "the same rows, the difference is beside them; sample dtype int32 → float32" in done.stdout
    assert "the same rows (in another order)" in done.stdout
