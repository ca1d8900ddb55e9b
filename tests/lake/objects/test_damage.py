"""Chunks that are damaged, missing or half there are never taken for good."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lightning_lde.errors import StoreError
from lightning_lde.lake import LakeStorage, StoredObject
from lightning_lde.lake.objects._codec import decode, encode
from lightning_lde.lake.objects._put import Writer
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .files import numbers, random_bytes, saved


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    path.write_bytes(saved({f"{number}": numbers(20_000, number) for number in range(6)}))
    return path


@pytest.fixture
def storage(tmp_path: Path) -> LakeStorage:
    return LakeStorage(tmp_path / "lake")


def readers(storage: LakeStorage, stored: StoredObject, folder: Path):
    yield lambda: storage.get_object(stored.object_id, stored.recipe)
    yield lambda: storage.copy_object(stored.object_id, stored.recipe, folder / "copy")
    yield lambda: storage.open_object(stored.object_id, stored.recipe).read()


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "other", "bomb", "code"])
def test_a_damaged_chunk_is_named(storage: LakeStorage, source: Path, tmp_path: Path, damage: str) -> None:
    stored = storage.put_artifact(source)
    for path in (stored.paths[0], stored.paths[3]):
        good = storage.store.get(path)
        bad = {
            "flipped": good[:20] + bytes([good[20] ^ 1]) + good[21:],
            "cut": good[: len(good) // 2],
            "empty": b"",
            "other": encode(random_bytes(len(good))),
            "bomb": good[:1] + (1 << 62).to_bytes(8, "little") + good[9:] if good[0] else b"\1" + b"\xff" * 20,
            "code": b"\7" + good[1:],
        }[damage]
        storage.store.put(path, bad)
        for read in readers(storage, stored, tmp_path):
            with pytest.raises(StoreError, match=path.rsplit("/", 1)[1]):
                read()
        assert not (tmp_path / "copy").exists()
        storage.store.put(path, good)


def test_a_missing_chunk_is_named(storage: LakeStorage, source: Path, tmp_path: Path) -> None:
    stored = storage.put_artifact(source)
    storage.store.delete(stored.paths[2])
    for read in readers(storage, stored, tmp_path):
        with pytest.raises(FileNotFoundError, match=stored.paths[2]):
            read()


def test_a_copy_that_fails_leaves_what_was_there(storage: LakeStorage, source: Path, tmp_path: Path) -> None:
    stored, target = storage.put_artifact(source), tmp_path / "target"
    target.write_bytes(b"before")
    storage.store.delete(stored.paths[-1])
    with pytest.raises(FileNotFoundError):
        storage.copy_object(stored.object_id, stored.recipe, target)
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "last.ckpt", "target"]


def test_the_next_writer_replaces_what_is_half_there(tmp_path: Path, source: Path) -> None:
    whole = LakeStorage(tmp_path / "other").put_artifact(source)
    for number in range(len(whole.paths)):
        storage = LakeStorage(tmp_path / f"lake{number}")
        real, count = storage.store, 0

        def torn(operation: str, _: str, number: int = number) -> Fault | None:
            nonlocal count
            count += operation == "put"
            return Fault(FaultKind.TORN) if operation == "put" and count == number + 1 else None

        storage.store = FaultyStore(real, torn)
        with pytest.raises(StoreError, match="injected"):
            storage.put_artifact(source)
        # The same process, and another one.
        for again in (storage, LakeStorage(tmp_path / f"lake{number}")):
            stored = again.put_artifact(source)
            assert again.get_object(stored.object_id, stored.recipe) == source.read_bytes()


def test_what_is_there_is_looked_at_once_and_sent_never(storage: LakeStorage, source: Path, tmp_path: Path) -> None:
    storage.put_artifact(source)
    another = LakeStorage(tmp_path / "lake")
    another.store = watched = FaultyStore(another.store)
    another.put_artifact(source)
    assert {call.operation for call in watched.calls} == {"list", "size", "get"}
    watched.calls.clear()
    another.put_artifact(source)
    assert {call.operation for call in watched.calls} == {"list", "size"}


def test_no_more_than_a_bounded_part_is_in_memory(tmp_path: Path) -> None:
    source = tmp_path / "large"
    with source.open("wb") as file:
        for seed in range(20):
            file.write(random_bytes(8 << 20, seed))
    at_work, most = [0], [0]
    real = Writer.put_chunk

    def counting(writer, content):
        at_work[0] += len(content)
        most[0] = max(most[0], at_work[0])
        piece = real(writer, content)
        at_work[0] -= len(content)
        return piece

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "put_chunk", counting)
        LakeStorage(tmp_path / "lake").put_artifact(source)
    assert most[0] <= 64 << 20


@pytest.mark.parametrize("n_bytes", [0, 1, 7, 8, 9, 100, 4097, 100_003])
def test_chunks_of_any_length_come_back(n_bytes: int) -> None:
    for data in (random_bytes(n_bytes), bytes(n_bytes), numbers(n_bytes, 1).numpy().tobytes()[:n_bytes]):
        assert decode(encode(data), hashlib.sha256(data).hexdigest()) == data
