"""Appends, snapshots and objects of one lake."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from lightning_lde.errors import LakeNotFoundError, LakeURLError, StoreError
from lightning_lde.lake import LakeStorage, object_path
from lightning_lde.schema import Event, new_run_id, utc_now

DAY = date(2026, 11, 21)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, lake_path: Path) -> LakeStorage:
    if request.param == "local":
        made = LakeStorage(lake_path)
    else:
        made = LakeStorage(request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options)
    made.initialise()
    return made


def event(message: str) -> Event:
    return Event(run_id="r", segment=0, time=utc_now(), level="info", kind="test", message=message)


def test_rows_are_in_the_next_snapshot(storage: LakeStorage) -> None:
    file = storage.add_records("events", [event("a"), event("b")], project="p")
    assert storage.snapshot().paths("events") == [file.path]
    assert storage.read(file).column("message").to_pylist() == ["a", "b"]


def test_many_writers_at_once_lose_nothing(storage: LakeStorage) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: storage.add_records("events", [event(str(n))], project="p"), range(64)))
    files = storage.snapshot().files["events"]
    messages = [row for file in files for row in storage.read(file).column("message").to_pylist()]
    assert sorted(messages, key=int) == [str(n) for n in range(64)]


def test_a_merge_never_shows_a_row_twice(storage: LakeStorage) -> None:
    writer, rows = new_run_id(), pa.table({"x": [1]})
    place = {"project": "p", "day": DAY, "writer": writer}
    parts = [storage.append("events", rows, first=n, **place) for n in range(3)]
    merged = storage.append("events", pa.concat_tables([rows] * 3), first=0, last=2, **place)
    assert storage.snapshot().paths("events") == [merged.path]
    for part in parts:
        storage.remove(part)
    assert storage.snapshot().paths("events") == [merged.path]


def test_initialise_twice_changes_nothing(storage: LakeStorage) -> None:
    before = storage.store.get("lde.json")
    assert storage.initialise() is False
    assert storage.store.get("lde.json") == before


def test_objects_are_content_addressed_and_verified(storage: LakeStorage, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"content")
    object_id = storage.put_object(source)
    assert object_id == hashlib.sha256(b"content").hexdigest()
    assert storage.put_object(source) == object_id
    assert len(list(storage.store.list("objects/"))) == 1
    assert storage.get_object(object_id) == b"content"
    storage.store.put(object_path(object_id), b"damaged")
    with pytest.raises(StoreError, match="damaged"):
        storage.get_object(object_id)


def test_half_an_object_is_stored_again(storage: LakeStorage, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"content")
    object_id = hashlib.sha256(b"content").hexdigest()
    storage.store.put(object_path(object_id), b"cont")
    assert storage.put_object(source) == object_id
    assert storage.get_object(object_id) == b"content"


def test_a_file_that_changes_on_the_way_is_not_stored(
    storage: LakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"content")
    real = type(storage.store).size

    def changing(store, path):
        source.write_bytes(b"CONTENT")
        return real(store, path)

    monkeypatch.setattr(type(storage.store), "size", changing)
    with pytest.raises(StoreError, match="changed while it was stored"):
        storage.put_object(source)
    assert list(storage.store.list("objects/")) == []


def test_vanished_files_are_known_by_their_tables(storage: LakeStorage) -> None:
    here, gone = (storage.add_records("events", [event(word)], project="p") for word in ("here", "gone"))
    assert storage.vanished([here.path, gone.path]) == set()
    storage.remove(gone)
    assert storage.vanished([here.path, gone.path]) == {gone.path}
    assert storage.vanished([]) == set()


def test_there_must_be_a_lake(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFoundError, match="no folder"):
        LakeStorage(tmp_path / "none").require()
    with pytest.raises(LakeNotFoundError, match="lde init"):
        LakeStorage(tmp_path).require()


def test_newer_and_damaged_lakes_are_refused(lake_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    (lake_path / "lde.json").write_text('{"format": "lightning-lde", "format_version": 99}')
    with pytest.raises(LakeURLError, match="format 99"):
        storage.require()
    (lake_path / "lde.json").write_text("not json")
    with pytest.raises(LakeURLError, match=r"lde\.json"):
        storage.require()
