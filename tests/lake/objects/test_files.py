"""Whatever a file holds, it comes back bit for bit; what does not change between files is stored once."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import uuid
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.errors import StoreError
from lightning_lde.lake import WHOLE, LakeStorage
from lightning_lde.lake.objects import Recipe
from lightning_lde.lake.objects._cutting import SMALLEST_STORAGE_BYTES, Cutter, storages

from .files import ODD_FILES, numbers, random_bytes, saved

FEW = ["one byte", "at the limit", "checkpoint"]


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> LakeStorage:
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        return LakeStorage(f"s3://{server.new_bucket()}/lake", server.options)
    return LakeStorage(tmp_path / "lake" if request.param == "folder" else f"memory://{uuid.uuid4()}")


def written(folder: Path, data: bytes) -> Path:
    path = folder / hashlib.sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    return path


def stored_bytes(storage: LakeStorage) -> int:
    return sum(file.size_bytes for prefix in ("objects/", "chunks/") for file in storage.store.list(prefix))


def test_odd_files_come_back(storage: LakeStorage, tmp_path: Path) -> None:
    names = FEW if storage.url.startswith("s3://") else ODD_FILES
    for name, data in ((name, ODD_FILES[name]) for name in names):
        stored = storage.put_artifact(written(tmp_path, data))
        assert (stored.object_id, stored.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data)), name
        assert (stored.recipe == WHOLE) == (len(data) < 256 << 10), name
        storage.copy_object(stored.object_id, stored.recipe, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data, name
        with storage.open_object(stored.object_id, stored.recipe) as file:
            assert file.read() == data, name
        assert storage.get_object(stored.object_id, stored.recipe) == data, name
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@given(
    runs=st.lists(
        st.tuples(st.integers(0, 400_000), st.sampled_from(["random", "zeros", "text"]), st.integers(0, 3)),
        min_size=1, max_size=6,
    ),
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 100_000)), max_size=4),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_any_bytes_come_back_and_can_be_read_anywhere(
    runs: list[tuple[int, str, int]], places: list[tuple[float, int]]
) -> None:
    kinds = {"random": random_bytes, "zeros": lambda n, _: bytes(n), "text": lambda n, _: (b"loss 0.25\n" * n)[:n]}
    data = b"".join(kinds[kind](n_bytes, seed) for n_bytes, kind, seed in runs)
    with tempfile.TemporaryDirectory() as folder:
        storage = LakeStorage(Path(folder) / "lake")
        stored = storage.put_artifact(written(Path(folder), data))
        assert storage.get_object(stored.object_id, stored.recipe) == data
        with storage.open_object(stored.object_id, stored.recipe) as file:
            for share, n_bytes in places:
                start = int(share * len(data))
                assert file.seek(start) == start
                assert file.read(n_bytes) == data[start : start + n_bytes]
            assert file.seek(-min(5, len(data)), io.SEEK_END) == max(0, len(data) - 5)
            assert file.read() == data[-5:]


def test_torch_loads_what_lies_in_chunks(storage: LakeStorage, tmp_path: Path) -> None:
    stored = storage.put_artifact(written(tmp_path, ODD_FILES["checkpoint"]))
    with storage.open_object(stored.object_id, stored.recipe) as file:
        loaded = torch.load(file)
    assert torch.equal(loaded["shared"], numbers(60_000, 1)[100:50_000].view(-1, 2))
    assert torch.equal(loaded["half"], numbers(40_000, 2, torch.bfloat16))


def test_every_storage_of_a_checkpoint_is_a_piece() -> None:
    tensors = {f"layer.{number}": numbers(4096 + number, number) for number in range(20)}
    data = saved({"state_dict": {**tensors, "small": numbers(100, 99)}})
    cut = {bytes(data[span.start : span.start + span.size_bytes]) for span in storages(io.BytesIO(data), len(data))}
    assert cut == {tensor.numpy().tobytes() for tensor in tensors.values()}
    assert min(map(len, cut)) >= SMALLEST_STORAGE_BYTES


@pytest.mark.parametrize("name", sorted(ODD_FILES))
def test_where_a_file_is_cut_lies_in_it(name: str) -> None:
    data = ODD_FILES[name]
    end = 0
    for span in storages(io.BytesIO(data), len(data)):
        assert end <= span.start
        assert 0 < span.size_bytes <= 16 << 20
        end = span.start + span.size_bytes
        assert end <= len(data)
    assert b"".join(read for read, _ in Cutter(io.BytesIO(data), len(data))) == data


def test_tensors_that_stay_as_they_are_are_stored_once(tmp_path: Path) -> None:
    storage = LakeStorage(tmp_path / "lake")
    backbone = {f"backbone.{number}": numbers(50_000, number) for number in range(20)}
    for epoch in range(4):
        head = numbers(30_000, 1000 + epoch)
        storage.put_artifact(written(tmp_path, saved({"state_dict": {**backbone, "head": head}, "epoch": epoch})))
    distinct = 20 * 200_000 + 4 * 120_000
    assert stored_bytes(storage) < distinct * 1.02


def test_what_is_put_into_the_middle_of_a_file_costs_little(tmp_path: Path) -> None:
    storage, data = LakeStorage(tmp_path / "lake"), random_bytes(16 << 20)
    storage.put_artifact(written(tmp_path, data))
    before = stored_bytes(storage)
    storage.put_artifact(written(tmp_path, data[: 5 << 20] + b"something new" + data[5 << 20 :]))
    assert stored_bytes(storage) - before < 5 << 20


def test_numbers_take_less_room_than_they_have(tmp_path: Path) -> None:
    storage = LakeStorage(tmp_path / "lake")
    data = saved({"w": numbers(1 << 20, 1)})
    storage.put_artifact(written(tmp_path, data))
    assert stored_bytes(storage) < 0.9 * len(data)


def test_equal_files_have_equal_recipes_in_any_lake(tmp_path: Path) -> None:
    source = written(tmp_path, ODD_FILES["checkpoint"])
    assert len({LakeStorage(tmp_path / name).put_artifact(source).recipe for name in "abc"}) == 1


def test_a_file_that_changes_meanwhile_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, source = LakeStorage(tmp_path / "lake"), tmp_path / "file"
    source.write_bytes(random_bytes(1 << 20))
    real = Cutter.__iter__

    def changing(cutter):
        yield from real(cutter)
        source.write_bytes(random_bytes(1 << 20, seed=1) + b"longer")

    monkeypatch.setattr(Cutter, "__iter__", changing)
    with pytest.raises(StoreError, match=r"file changed while it was stored"):
        storage.put_artifact(source)


def test_a_file_that_becomes_shorter_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, source = LakeStorage(tmp_path / "lake"), tmp_path / "file"
    source.write_bytes(random_bytes(20 << 20))
    real = Cutter._read

    def shortening(cutter, n_bytes):
        source.write_bytes(b"short")
        return real(cutter, n_bytes)

    monkeypatch.setattr(Cutter, "_read", shortening)
    with pytest.raises(StoreError, match=r"file became shorter while it was stored"):
        storage.put_artifact(source)


@pytest.mark.parametrize(
    "changed",
    [
        {"pieces": [["../../lde.json", 5]], "rest": [], "order": [[0, 1]], "size": 5},
        {"pieces": [["a" * 64, 7]], "order": [[0, 1]]},
        {"order": [[5, 0], [-5, 0]]},
        {"size": -1},
        {"sha256": "x"},
        {"rest": None},
        {"order": [[1 << 60, 0]]},
    ],
    ids=["a path", "size", "negative", "no size", "no hash", "no list", "too long"],
)
def test_recipes_that_cannot_be_are_refused(changed: dict[str, object]) -> None:
    fine = Recipe(5, "a" * 64, (), (("b" * 64, 5),), ((5, 0),))  # type: ignore[arg-type]
    assert Recipe.from_bytes(fine.to_bytes(), "name") == fine
    with pytest.raises(StoreError, match="recipe"):
        Recipe.from_bytes(json.dumps(json.loads(fine.to_bytes()) | changed).encode(), "name")
