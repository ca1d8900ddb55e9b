"""Erasing beside readers, writers, other maintenance, other engines, and in other places than a folder."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.errors import EraseError
from lightning_lde.lake import LakeStorage, Request
from lightning_lde.lake.cold._lock import held
from lightning_lde.lake.stores import open_store
from lightning_lde.schema import TABLES, Artifact, records_to_arrow, utc_now
from lightning_lde.testing import Fault, FaultyStore

from .planted import Planted, all_found_in, contents, found_in, rows_of

NONE = timedelta(0)


@pytest.fixture
def storage(lake_path: Path) -> LakeStorage:
    made = LakeStorage(lake_path)
    made.initialise()
    return made


def request_for(*runs: Planted) -> Request:
    return Request("run", tuple(run.run_id for run in runs))


@pytest.mark.parametrize("path", ["cold/lock.json", "cold/tiers-lock.json"])
def test_other_maintenance_goes_first(storage: LakeStorage, tmp_path: Path, path: str) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    with held(storage.store, path) as lock:
        assert lock is not None
        before = contents(storage.store)
        with pytest.raises(EraseError, match="other maintenance"):
            storage.erase(request_for(gone), silent_for=NONE)
        assert contents(storage.store) == before
    assert storage.erase(request_for(gone), silent_for=NONE) is not None


@pytest.mark.slow
def test_a_compaction_meanwhile_steps_aside(storage: LakeStorage, tmp_path: Path) -> None:
    gone, stays = Planted(storage, "ERASEME").write(tmp_path), Planted(storage, "keeper").write(tmp_path)
    expected = rows_of(storage, stays.run_id)
    seen = []

    def compact_meanwhile(operation: str, path: str) -> Fault | None:
        if operation == "create" and path.startswith("cold/manifests/") and not seen:
            seen.append(LakeStorage(storage.url).compact(silent_for=NONE, grace=NONE).was_busy)
        return None

    erasing = LakeStorage(storage.url)
    erasing.store = FaultyStore(erasing.store, compact_meanwhile)
    erasing.erase(request_for(gone), silent_for=NONE)
    assert seen == [True]
    assert found_in(storage.store, gone.traces()) == []
    assert rows_of(storage, stays.run_id) == expected


@pytest.mark.slow
def test_readers_see_others_each_time(storage: LakeStorage, tmp_path: Path) -> None:
    gone = [Planted(storage, f"ERASEME{number}").write(tmp_path) for number in range(6)]
    stays = Planted(storage, "keeper").write(tmp_path)
    storage.compact(silent_for=NONE, grace=NONE)
    later = Planted(storage, "later", names_run=gone[0].run_id).write(tmp_path)
    lake, is_over, counts = Lake(storage.url), threading.Event(), []

    def read() -> None:
        query = "select count(*) as n from stored.metrics where run_id in (?, ?)"
        while not is_over.is_set():
            counts.append(lake.sql(query, [stays.run_id, later.run_id]).column("n")[0].as_py())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for run in gone:
            storage.erase(request_for(run), silent_for=NONE)
    finally:
        is_over.set()
        reader.join()
    assert counts
    assert set(counts) == {6}


@pytest.mark.parametrize("moment", ["condemned/", pytest.param("chunks/", marks=pytest.mark.slow)])
def test_a_writer_that_stores_the_same_file_meanwhile_keeps_it(
    storage: LakeStorage, tmp_path: Path, moment: str
) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    writer = Planted(storage, "keeper").write(tmp_path)
    source = tmp_path / "same"
    source.write_bytes(storage.get_object(gone.objects["file"].object_id, gone.objects["file"].recipe))
    other, stored = LakeStorage(storage.url), []

    def send() -> None:
        one = other.put_artifact(source)
        row = Artifact(
            run_id=writer.run_id, segment=0, path="same", kind="file", size_bytes=one.size_bytes,
            object_id=one.object_id, recipe=one.recipe, recorded_at=utc_now(),
        )  # fmt: skip
        writer.append("artifacts", records_to_arrow("artifacts", [row]), 50 + len(stored))
        stored.append(one)

    def store_meanwhile(operation: str, path: str) -> Fault | None:
        if operation in {"create", "delete"} and path.startswith(moment) and not stored:
            send()
        return None

    erasing = LakeStorage(storage.url)
    erasing.store = FaultyStore(erasing.store, store_meanwhile)
    erasing.erase(request_for(gone), silent_for=NONE)
    assert len(stored) == 1
    while other.is_condemned_since(stored[-1]):
        send()
    assert len(stored) <= 2
    assert storage.get_object(stored[-1].object_id, stored[-1].recipe) == source.read_bytes()
    assert rows_of(storage, gone.run_id) == {table: [] for table in TABLES}


@pytest.mark.slow
def test_delta_tables_are_made_anew(storage: LakeStorage, tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    gone, stays = Planted(storage, "ERASEME").write(tmp_path), Planted(storage, "keeper").write(tmp_path)
    storage.compact(silent_for=NONE, grace=NONE)
    place = f"{storage.absolute_url}/cold/metrics"
    assert set(deltalake.DeltaTable(place).to_pyarrow_table().column("run_id").to_pylist()) == {
        gone.run_id,
        stays.run_id,
    }
    storage.erase(request_for(gone), silent_for=NONE)
    assert set(deltalake.DeltaTable(place).to_pyarrow_table().column("run_id").to_pylist()) == {stays.run_id}
    assert found_in(storage.store, gone.traces()) == []
    Planted(storage, "later").write(tmp_path)
    storage.compact(silent_for=NONE, grace=NONE)
    assert deltalake.DeltaTable(place).to_pyarrow_table().num_rows == 6


@pytest.mark.slow
def test_copies_in_the_cold_root_go_too(storage: LakeStorage, tmp_path: Path) -> None:
    gone, stays = Planted(storage, "ERASEME").write(tmp_path), Planted(storage, "keeper").write(tmp_path)
    cold = tmp_path / "cold root"
    storage.set_tiers(storage.tiers().changed("tiers.cold", str(cold)).with_rules("to=cold"))
    storage.tier()
    root = open_store(cold)
    traces = [gone.tensor[1000:1032]]
    assert all_found_in(root, traces)
    receipt = storage.erase(request_for(gone))
    assert receipt is not None
    assert receipt.objects["count"] >= 2
    for store in (root, storage.store):
        assert found_in(store, gone.traces()) == []
    file = stays.objects["file"]
    assert storage.get_object(file.object_id, file.recipe).endswith(stays.tensor + b"tail")


@pytest.mark.slow
def test_what_was_damaged_and_moved_aside_goes_too(storage: LakeStorage, tmp_path: Path) -> None:
    gone, stays = Planted(storage, "ERASEME").write(tmp_path), Planted(storage, "keeper").write(tmp_path)
    for path, content in list(contents(storage.store).items()):
        if path.startswith(("hot/events/", "objects/")):
            storage.store.put(f"damaged/{path}", content)
    storage.store.put("damaged/cold/events/x.parquet", b"PAR1 half a file")
    storage.erase(request_for(gone), silent_for=NONE)
    left = [stored.path for stored in storage.store.list("damaged/")]
    assert left
    assert not any(gone.run_id in path or "cold" in path for path in left)
    assert any(stays.run_id in path for path in left)
    assert not any(str(gone.objects[kind]) in path for path in left for kind in ("snapshot", "manifest", "state"))


@pytest.mark.slow
@pytest.mark.parametrize("place", [pytest.param("s3", marks=pytest.mark.s3), "memory"])
def test_in_a_bucket_and_in_memory(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> None:
    if place == "s3":
        url, options = request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options
    else:
        url, options = f"memory://{tmp_path}", {}
    storage = LakeStorage(url, options)
    storage.initialise()
    gone, stays = Planted(storage, "ERASEME").write(tmp_path), Planted(storage, "keeper").write(tmp_path)
    storage.compact(silent_for=NONE, grace=NONE)
    later = Planted(storage, "later", names_run=gone.run_id).write(tmp_path)
    expected = rows_of(storage, stays.run_id)
    assert all_found_in(storage.store, gone.traces())
    receipt = storage.erase(request_for(gone), silent_for=NONE)
    assert receipt is not None
    assert receipt.warnings == ()
    assert found_in(storage.store, gone.traces()) == []
    assert rows_of(storage, stays.run_id) == expected
    assert storage.erase(Request("match", (later.name,)), silent_for=NONE) is not None
    assert found_in(storage.store, later.traces()) == []


@pytest.mark.slow
@pytest.mark.s3
def test_a_bucket_that_keeps_versions_is_said(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    import boto3

    url, server = request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server")
    client = boto3.client(
        "s3", endpoint_url=server.endpoint, aws_access_key_id=server.key, aws_secret_access_key=server.secret,
        region_name="us-east-1",
    )  # fmt: skip
    bucket = url.split("/")[2]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    storage = LakeStorage(url, server.options)
    storage.initialise()
    gone = Planted(storage, "ERASEME").write(tmp_path)
    receipt = storage.erase(request_for(gone), silent_for=NONE)
    assert receipt is not None
    assert "keeps versions" in receipt.warnings[0]
    assert found_in(storage.store, gone.traces()) == []
    assert client.list_object_versions(Bucket=bucket)["Versions"]
