"""What rows refer to is found wherever they lie: in any table, in any state, hot or cold."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lightning_lde.errors import StoreError
from lightning_lde.lake import WHOLE, Holding, LakeStorage, StoredObject
from lightning_lde.lake.objects import first_path
from lightning_lde.schema import Artifact, Code, Dataset, Event, Run, new_run_id

from .files import numbers, saved

LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def storage(tmp_path: Path) -> LakeStorage:
    storage = LakeStorage(tmp_path / "lake")
    storage.initialise()
    return storage


def add_artifact(storage: LakeStorage, stored: StoredObject, run_id: str) -> None:
    row = Artifact(
        run_id=run_id, segment=0, path="last.ckpt", kind="checkpoint", size_bytes=stored.size_bytes,
        object_id=stored.object_id, recipe=stored.recipe, recorded_at=LONG_AGO,
    )  # fmt: skip
    storage.add_records("artifacts", [row], project="p")


def put(storage: LakeStorage, folder: Path, seed: int, n: int = 100_000) -> StoredObject:
    (folder / "file").write_bytes(saved({"w": numbers(n, seed), "v": numbers(n, 99)}))
    return storage.put_artifact(folder / "file")


def test_every_table_counts(storage: LakeStorage, tmp_path: Path) -> None:
    run_id = new_run_id()
    chunked, whole = put(storage, tmp_path, 1), put(storage, tmp_path, 2, n=10)
    put(storage, tmp_path, 3)
    add_artifact(storage, chunked, run_id)
    add_artifact(storage, whole, run_id)
    ids = [storage.put_object_bytes(str(number).encode()) for number in range(5)]
    storage.add_records("code", [Code(code_id="c", recorded_at=LONG_AGO, snapshot_object=ids[0])], project="p")
    storage.add_records(
        "datasets", [Dataset(dataset_id="d", recorded_at=LONG_AGO, manifest_object=ids[1])], project="p"
    )
    for segment, object_id in enumerate(ids[2:4]):
        state = Run(
            run_id=run_id, segment=segment, revision=0, project="p", status="running", started_at=LONG_AGO,
            heartbeat_at=LONG_AGO, heartbeat_every_s=5.0, seeds={"random_state": object_id},
        )  # fmt: skip
        storage.add_records("runs", [state], project="p")
    said = Event(run_id=run_id, segment=0, time=LONG_AGO, level="info", kind="k", message=f"look at {ids[4]}!")
    storage.add_records("events", [said], project="p")
    expected = {*chunked.paths, *whole.paths, *(f"objects/{one[:2]}/{one}" for one in ids)}
    for _ in range(2):
        found = storage.references()
        stored = {file.path for prefix in ("objects/", "chunks/") for file in storage.store.list(prefix)}
        assert found.paths & stored == expected
        assert set(found.holdings) == {
            Holding(run_id, "last.ckpt", chunked.object_id, chunked.recipe, chunked.paths),
            Holding(run_id, "last.ckpt", whole.object_id, WHOLE, whole.paths),
        }
        storage.compact(silent_for=timedelta(0), grace=timedelta(0))


def test_nobody_knows_what_a_damaged_recipe_refers_to(storage: LakeStorage, tmp_path: Path) -> None:
    stored = put(storage, tmp_path, 1)
    add_artifact(storage, stored, new_run_id())
    recipe = stored.paths[0]
    storage.store.put(recipe, b"\0damaged")
    with pytest.raises(StoreError, match=stored.recipe):
        storage.references()
    storage.store.delete(recipe)
    assert storage.references().paths == {recipe}


def test_an_object_that_was_stored_again_goes_by_its_first_path() -> None:
    assert first_path("objects/ab/abc-12") == "objects/ab/abc"
    assert first_path("chunks/ab/abc-12") == "chunks/ab/abc-12"
    assert first_path("objects/ab/abc") == "objects/ab/abc"
