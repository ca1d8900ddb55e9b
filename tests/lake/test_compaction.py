"""Compaction: few large files, the same rows, whoever reads, writes, dies or compacts beside it."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import LakeNotFoundError, StoreError
from lightning_lde.lake import Compaction, LakeStorage
from lightning_lde.lake.cold import _compact, _files, _lock, _rows, newest_manifest
from lightning_lde.lake.cold._vacuum import vacuum
from lightning_lde.query import run_details
from lightning_lde.schema import new_run_id, records_to_arrow, utc_now
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .writers import LONG_AGO, KilledError, Writer, killed_at, run_id_of

NONE = timedelta(0)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3), "memory"])
def lake(request: pytest.FixtureRequest, lake_path: Path) -> Lake:
    if request.param == "local":
        return Lake(lake_path).create()
    if request.param == "memory":
        return Lake(f"memory://{lake_path}").create()
    return Lake(request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options).create()


@pytest.fixture
def local(lake_path: Path) -> Lake:
    return Lake(lake_path).create()


def values(lake: Lake) -> list[float]:
    return sorted(lake.sql("select value from stored.metrics").column("value").to_pylist())


def values_of(*writers: Writer) -> list[float]:
    return sorted(value for writer in writers for value in writer.values)


def hot_writers(lake: Lake) -> set[str]:
    return {path.rpartition("/")[2][:36] for path in hot_files(lake)}


def now(lake: Lake, **changes: timedelta) -> Compaction:
    return lake.storage.compact(**{"silent_for": NONE, "grace": NONE, **changes})


def hot_files(lake: Lake) -> list[str]:
    return [stored.path for stored in lake.storage.store.list("hot/")]


def cold_points(lake: Lake) -> list[str]:
    return [one.path for one in lake.storage.store.list("cold/metrics/") if one.path.endswith(".parquet")]


def finished(lake: Lake, parcels: int = 3) -> Writer:
    writer = Writer(lake.storage)
    for number in range(parcels):
        writer.send(status="finished" if number == parcels - 1 else "running")
    return writer


def test_rows_stay_and_files_become_few(lake: Lake) -> None:
    writers = [finished(lake) for _ in range(4)]
    expected = values_of(*writers)
    done = now(lake)
    assert (done.files_in, done.files_left, done.files_out) == (36, 0, 3)
    assert hot_files(lake) == []
    assert values(lake) == expected
    assert lake.sql("select distinct status from runs").to_pylist() == [{"status": "finished"}]
    # Each of 12 parcels brought the same row.
    assert lake.sql("select count(*) as n from stored.params").to_pylist() == [{"n": 1}]
    assert lake.sql("select count(*) as n from stored.runs").to_pylist() == [{"n": 4}]


def test_a_second_time_there_is_nothing_to_do(local: Lake) -> None:
    finished(local)
    now(local)
    before = newest_manifest(local.storage.store)
    done = now(local)
    assert (done.files_in, done.files_out, done.hot_deleted) == (0, 0, 0)
    assert newest_manifest(local.storage.store) == before


def test_a_lake_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFoundError):
        LakeStorage(tmp_path / "nothing").compact()


def test_hot_files_stay_for_a_while_and_do_not_count(lake: Lake) -> None:
    writer = finished(lake)
    before = hot_files(lake)
    assert now(lake, grace=timedelta(hours=1)).hot_deleted == 0
    assert sorted(hot_files(lake)) == sorted(before)
    assert values(lake) == writer.values
    assert now(lake).hot_deleted == len(before)
    assert values(lake) == writer.values


def test_runs_that_go_on_and_recent_ones_are_left_alone(local: Lake) -> None:
    old, recent, alive, dead, young = (Writer(local.storage, run_id=run_id_of(LONG_AGO)) for _ in range(5))
    young.run_id = new_run_id()
    old.send(status="finished")
    recent.send(status="finished", heard_at=utc_now() - timedelta(hours=23))
    alive.send(heard_at=utc_now())
    dead.send()
    # A file of a table may come before the first state of its run.
    young.send(status="finished")
    done = now(local, silent_for=timedelta(hours=24))
    assert hot_writers(local) == {recent.run_id, alive.run_id, young.run_id}
    assert (done.files_in, done.files_left) == (6, 9)
    now(local)
    assert hot_writers(local) == {alive.run_id}
    assert values(local) == values_of(old, recent, alive, dead, young)


def test_what_a_writer_left_beside_its_merged_file_does_not_come_back(local: Lake) -> None:
    writer = finished(local)
    parts = {path: local.storage.store.get(path) for path in hot_files(local)}
    writer.merge()
    path, content = next((path, content) for path, content in parts.items() if "/metrics/" in path)
    local.storage.store.put(path, content)
    now(local)
    assert values(local) == writer.values
    assert hot_files(local) == []


def test_rows_that_are_sent_once_more_are_there_once(local: Lake) -> None:
    writer = finished(local)
    now(local)
    writer.send_again(1)
    assert hot_files(local) == []
    assert values(local) == writer.values
    writer.send(status="finished")
    assert values(local) == writer.values
    now(local)
    assert values(local) == writer.values


def test_columns_of_newer_writers_stay(local: Lake) -> None:
    finished(local)
    newer = Writer(local.storage)
    newer.parcels.append([1e6])
    rows = newer._rows(0, "finished", utc_now())["metrics"].append_column("unit", pa.array(["kg"]))
    local.storage.append("metrics", rows, first=0, **newer.place)
    now(local)
    found = local.sql("select value, unit from stored.metrics where unit is not null").to_pylist()
    assert found == [{"value": 1e6, "unit": "kg"}]
    assert len(values(local)) == 10


def test_tables_that_are_not_known_stay_hot(local: Lake) -> None:
    writer = finished(local)
    local.storage.append("dreams", pa.table({"x": [1]}), first=9, **writer.place)
    now(local)
    assert [path.split("/")[1] for path in hot_files(local)] == ["dreams"]


def test_one_project_only(local: Lake) -> None:
    here, there = Writer(local.storage, project="a/b"), Writer(local.storage, project="other")
    for writer in (here, there):
        writer.send(status="finished")
    local.storage.compact(project="a/b", silent_for=NONE, grace=NONE)
    assert {path.split("/")[2] for path in hot_files(local)} == {"project=other"}
    assert values(local) == sorted(here.values + there.values)


def test_small_files_are_merged_again_and_large_ones_stay(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        finished(local)
        now(local)
    assert {table: len(files) for table, files in newest_manifest(local.storage.store).tables.items()} == {
        "metrics": 1, "params": 1, "runs": 1,
    }  # fmt: skip
    monkeypatch.setattr(_compact, "LARGEST_FILE", 100)
    finished(local)
    now(local)
    assert len(newest_manifest(local.storage.store).tables["metrics"]) == 2
    assert len(values(local)) == 6 * 9


def test_many_files_are_taken_in_steps(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = [finished(local) for _ in range(5)]
    monkeypatch.setattr(_compact, "MOST_FILES", 20)
    seen: list[int] = []
    local.storage.compact(silent_for=NONE, grace=NONE, tell=lambda done: seen.append(done.files_in))
    assert seen == [18, 36, 45]
    assert values(local) == values_of(*writers)


def test_large_tables_become_several_files_in_order(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_lde.lake.cold._files.LARGEST_FILE", 1)
    monkeypatch.setattr("lightning_lde.lake.cold._rows.ROWS_PER_GROUP", 5)
    monkeypatch.setattr("lightning_lde.lake.cold._rows._BATCH", 5)
    writers = [finished(local) for _ in range(4)]
    now(local)
    files = newest_manifest(local.storage.store).tables["metrics"]
    assert sum(file.rows for file in files) == 36
    assert len(files) > 2
    assert [file.last for file in files] == sorted(file.last or "" for file in files)
    assert values(local) == values_of(*writers)


def test_floats_and_moments_come_through_bit_by_bit(local: Lake) -> None:
    odd = [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 0.1]
    with Recorder(local.storage.url, project="p", system_metrics_every_s=None) as run:
        for step, value in enumerate(odd):
            run.log({"x": value}, step=step)
    query = "select * from metrics order by step"
    before = local.sql(query)
    now(local)
    after = local.sql(query)
    assert after.schema.equals(before.schema)
    assert [value.hex() for value in after.column("value").to_pylist()] == [value.hex() for value in odd]
    assert after.drop(["value"]).equals(before.drop(["value"]))


@pytest.mark.parametrize("every", [13, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER, FaultKind.TORN])
def test_killed_at_any_operation_the_lake_is_whole(
    lake_path: Path, kind: FaultKind, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who finds the lock of a dead process need not wait in a test.
    monkeypatch.setattr(_lock, "HELD_FOR", NONE)
    for number in range(0, 300, every):
        lake = Lake(lake_path / str(number)).create()
        writers = [finished(lake), finished(lake)]
        now(lake, grace=timedelta(hours=1))
        writers.append(finished(lake))
        expected = values_of(*writers)
        try:
            killed_at(lake.storage, number, kind).compact(silent_for=NONE, grace=NONE, kept_for=NONE)
        except KilledError:
            assert values(lake) == expected
        else:
            break
        now(lake, kept_for=NONE)
        assert values(lake) == expected
        assert hot_files(lake) == []
        _nothing_is_left_over(lake)
    assert 20 < number < 299 - every


def _nothing_is_left_over(lake: Lake) -> None:
    manifest = newest_manifest(lake.storage.store)
    vacuum(lake.storage.store, manifest, NONE)
    named = {file.path for files in manifest.tables.values() for file in files} | {
        one.path for one in manifest.absorbed
    }
    found = {stored.path for stored in lake.storage.store.list("cold/") if "/_delta_log/" not in stored.path}
    found -= {_lock.PATH}
    assert found == named | {manifest.path}


def test_an_answer_that_is_lost_is_no_failure(local: Lake) -> None:
    writer = finished(local)

    def fault(operation: str, path: str) -> Fault | None:
        return Fault(FaultKind.AFTER) if operation == "create" and "manifests" in path else None

    unlucky = LakeStorage(local.storage.url)
    unlucky.store = FaultyStore(unlucky.store, fault)
    unlucky.compact(silent_for=NONE, grace=NONE)
    assert hot_files(local) == []
    assert values(local) == writer.values


def test_a_store_that_fails_is_said_and_nothing_is_changed(local: Lake) -> None:
    writer = finished(local)
    before = sorted(hot_files(local))
    broken = LakeStorage(local.storage.url)
    broken.store = FaultyStore(
        broken.store, lambda operation, path: Fault(FaultKind.BEFORE) if path.startswith("cold/metrics") else None
    )
    with pytest.raises(StoreError, match="injected fault"):
        broken.compact(silent_for=NONE, grace=NONE)
    assert sorted(hot_files(local)) == before
    assert values(local) == writer.values
    now(local)
    assert values(local) == writer.values


def test_of_two_compactions_one_steps_aside(local: Lake) -> None:
    writer = finished(local)
    with _lock.held(local.storage.store) as lock:
        assert lock is not None
        assert now(local) == Compaction(was_busy=True)
    assert now(local).files_in == 9
    assert values(local) == writer.values


@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow])])
def test_even_without_the_lock_only_one_of_many_counts(
    request: pytest.FixtureRequest, lake_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(_lock, "_take", lambda *_: True)
    options = {} if where == "local" else request.getfixturevalue("s3_server").options
    lake = Lake(lake_path if where == "local" else request.getfixturevalue("bucket_url"), options).create()
    writers = [finished(lake) for _ in range(6)]

    def compact(_: int) -> bool:
        try:
            Lake(lake.url, options).storage.compact(silent_for=NONE, grace=NONE)
        except StoreError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert any(pool.map(compact, range(4)))
    assert values(lake) == values_of(*writers)


@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow])])
def test_readers_see_each_row_once_whenever_they_look(
    request: pytest.FixtureRequest, lake_path: Path, where: str
) -> None:
    options = {} if where == "local" else request.getfixturevalue("s3_server").options
    lake = Lake(lake_path if where == "local" else request.getfixturevalue("bucket_url"), options).create()
    written: list[float] = []
    stop, strange = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            sure = list(written)
            found = values(Lake(lake.url, options))
            if len(found) != len(set(found)) or set(sure) - set(found):
                strange.append((len(sure), len(found), len(set(found))))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(6 if where == "s3" else 12):
        writer = finished(lake, parcels=2)
        written += writer.values
        now(lake)
    stop.set()
    for reader in readers:
        reader.join()
    assert strange == []
    assert values(lake) == sorted(written)


def test_a_lake_of_the_first_format_is_read_and_lifted(local: Lake) -> None:
    writer = finished(local)
    store = local.storage.store
    marker = {**json.loads(store.get("lde.json")), "format_version": 1, "another": "key"}
    store.put("lde.json", json.dumps(marker).encode())
    assert values(local) == writer.values
    now(local)
    assert json.loads(store.get("lde.json")) == {**marker, "format_version": 2}
    assert values(local) == writer.values


def test_a_question_asks_little_of_the_store(lake: Lake) -> None:
    for _ in range(3):
        finished(lake)
        now(lake)
    reader = Lake(lake.url, lake.storage_options)
    calls = reader.storage.store = FaultyStore(reader.storage.store)
    for expected in (4, 3):
        reader.sql("select count(*) from metrics join runs using (run_id) join params on true")
        assert [call.operation for call in calls.calls] == ["get", "list", "list", "get"][:expected]
        calls.calls.clear()


def test_a_reader_that_stays_open_sees_what_is_compacted(lake: Lake) -> None:
    expected: list[float] = []
    for _ in range(3):
        expected += finished(lake).values
        assert values(lake) == sorted(expected)
        now(lake, grace=timedelta(hours=1))
        assert values(lake) == sorted(expected)


def test_former_versions_are_kept_for_a_while(local: Lake) -> None:
    for _ in range(3):
        finished(local)
        now(local)
    assert len(cold_points(local)) == 3
    done = now(local, kept_for=NONE)
    assert done.vacuumed > 2
    assert len(cold_points(local)) == 1
    assert len(list(local.storage.store.list("cold/manifests/"))) == 1
    assert len(values(local)) == 27


def test_lists_of_absorbed_files_stay_few(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compact, "_MANY_LISTS", 3)
    monkeypatch.setattr(_compact, "can_publish", lambda _: False)
    writers = []
    for _ in range(7):
        writers.append(finished(local))
        now(local)
    lists = newest_manifest(local.storage.store).absorbed
    assert len(lists) < 4
    assert sum(one.files for one in lists) == 7 * 9
    for writer in writers:
        writer.send_again(0)
    assert hot_files(local) == []


@pytest.mark.slow
def test_who_asks_about_one_run_opens_no_files_of_others(local: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "LARGEST_FILE", 1)
    monkeypatch.setattr(_rows, "ROWS_PER_GROUP", 3)
    first, second = sorted((finished(local, parcels=1) for _ in range(2)), key=lambda writer: writer.run_id)
    now(local)
    assert len(cold_points(local)) == 2
    late = finished(local, parcels=1)
    [other] = [file.path for file in local.storage.snapshot().cold["metrics"] if file.first == second.run_id]
    local.storage.store.delete(other)
    for writer in (first, late):
        assert sorted(local.metrics(writer.run_id).column("value").to_pylist()) == writer.values
        assert {row["points"] for row in run_details(local, writer.run_id).metrics} == {1, 2}
    with pytest.raises(StoreError):
        local.sql("select value from metrics")


def test_no_list_of_absorbed_files_grows_for_ever(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = Lake(f"memory://{lake_path}").create()
    monkeypatch.setattr(_compact, "_MANY_LISTS", 3)
    monkeypatch.setattr(_compact, "can_publish", lambda _: False)
    monkeypatch.setattr(_compact, "LONGEST_LIST", 40)
    writers = []
    for _ in range(12):
        writers.append(finished(local))
        now(local)
    lists = newest_manifest(local.storage.store).absorbed
    assert sum(one.files for one in lists) == 12 * 9
    assert 20 < max(one.files for one in lists) <= 40
    assert len(lists) < 8
    for writer in writers:
        writer.send_again(0)
    assert hot_files(local) == []


def test_a_run_that_goes_on_after_its_rows_were_taken(local: Lake) -> None:
    run = Recorder(local.storage.url, project="p", system_metrics_every_s=None)
    run.start_segment("fit")
    run.log({"x": 1.0}, step=0)
    run.finish_segment("finished")
    now(local)
    run.start_segment("test")
    run.log({"x": 2.0}, step=1)
    run.finish_segment("finished")
    assert local.sql("select value from metrics order by step").column("value").to_pylist() == [1.0, 2.0]
    now(local)
    assert local.sql("select value from metrics order by step").column("value").to_pylist() == [1.0, 2.0]
    assert local.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]


def test_cold_files_say_what_they_are(local: Lake) -> None:
    finished(local)
    now(local)
    [file] = newest_manifest(local.storage.store).tables["metrics"]
    place = local.storage.store.local_path(file.path)
    assert place is not None
    found = pq.ParquetFile(place)
    assert found.metadata.num_rows == file.rows == 9
    assert found.metadata.metadata[b"lde.table"] == b"metrics"
    assert Path(place).stat().st_size == file.size_bytes
    assert hashlib.sha256(Path(place).read_bytes()).hexdigest() == file.sha256
    rows = found.read()
    assert rows.column("run_id").to_pylist() == sorted(rows.column("run_id").to_pylist())
    assert {row["min"] for row in [_bounds(rows)]} == {file.first}


def test_manifests_that_know_no_hashes_are_read_and_gone_on_with(local: Lake) -> None:
    finished(local)
    now(local)
    store = local.storage.store
    manifest = newest_manifest(store)
    content = json.loads(manifest.to_bytes())
    for entry in itertools.chain(*content["tables"].values()):
        del entry["sha256"]
    store.put(manifest.path, json.dumps(content).encode())
    finished(local)
    local.storage.compact(silent_for=NONE)
    assert len(values(local)) == 18


def test_pages_have_checksums(local: Lake) -> None:
    """Of a file that is read without them, one flipped bit in four passes for another value."""
    finished(local)
    path = next(path for path in hot_files(local) if "/metrics/" in path)
    content = local.storage.store.get(path)
    for at in range(4, len(content) // 3):
        flipped = bytearray(content)
        flipped[at] ^= 1
        try:
            found = pq.ParquetFile(pa.BufferReader(flipped), page_checksum_verification=True).read()
        except (OSError, pa.ArrowException):
            continue
        # Bits of page headers that say nothing about the values.
        assert found.equals(pq.read_table(pa.BufferReader(content)))


def _bounds(rows: pa.Table) -> dict[str, str]:
    ids = rows.column("run_id").to_pylist()
    return {"min": min(ids), "max": max(ids)}


def test_the_command(local: Lake) -> None:
    finished(local)
    words = ["compact", local.storage.url, "--silent-for", "0", "--grace", "0"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "9 hot files" in result.output
    assert "rows in these: 9 of metrics, 1 of params, 1 of runs" in result.output
    other = CliRunner().invoke(app, [*words, "--project", "nobody"])
    assert "there is nothing to compact of a project 'nobody'" in other.output
    again = CliRunner().invoke(app, [*words, "--format", "json"])
    assert json.loads(again.output)["files_in"] == 0


@pytest.mark.parametrize("words", ["tomorrow", "-1h", "5"])
def test_a_duration_that_is_none_is_said(local: Lake, words: str) -> None:
    result = CliRunner().invoke(app, ["compact", local.storage.url, f"--silent-for={words}"])
    assert result.exit_code == 2
    assert "write 90s, 10m, 24h or 7d" in result.output


def test_facts_of_content_that_differ_keep_their_order(local: Lake) -> None:
    from lightning_lde.schema import Dataset

    def found(minute: int, **facts: object) -> None:
        at = utc_now() + timedelta(minutes=minute)
        row = Dataset(dataset_id="d", name="set", recorded_at=at, **facts)  # type: ignore[arg-type]
        local.storage.add_rows("datasets", records_to_arrow("datasets", [row]), project="p")

    found(0)
    found(1, diversity=0.1)
    found(2)
    found(3, diversity=0.2)
    found(4)
    found(5, diversity=0.1)
    now(local)
    assert local.sql("select diversity from datasets").to_pylist() == [{"diversity": 0.1}]
    found(6, diversity=0.3)
    now(local)
    assert local.sql("select diversity from datasets").to_pylist() == [{"diversity": 0.3}]
