"""A check finds what is wrong with a lake, each thing by itself, and nothing where nothing is."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import LakeNotFoundError, LakeURLError, StoreError
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.cold import newest_manifest
from lightning_lde.schema import Artifact, Link, Metric, Record, Resume, Run, new_run_id, records_to_arrow, utc_now
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .damage import NONE, add, compacted, first, grow_old, paths, said, values, whole
from .writers import LONG_AGO, Writer, run_id_of


@pytest.fixture(
    params=[
        "local",
        pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.slow]),
        pytest.param("memory", marks=pytest.mark.slow),
    ]
)
def lake(request: pytest.FixtureRequest, lake_path: Path) -> Lake:
    if request.param == "local":
        return Lake(lake_path).create()
    if request.param == "memory":
        return Lake(f"memory://{lake_path}").create()
    return Lake(request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options).create()


@pytest.fixture
def local(lake_path: Path) -> Lake:
    made = Lake(lake_path).create()
    whole(made)
    return made


def nothing_is_found(lake: Lake) -> None:
    for deep in (False, True):
        assert lake.storage.check(deep=deep).findings == []


def test_in_a_lake_that_is_whole_nothing_is_found(lake: Lake) -> None:
    writers = whole(lake)
    nothing_is_found(lake)
    compacted(lake, grace=timedelta(hours=1))
    nothing_is_found(lake)
    compacted(lake)
    writers.append(Writer(lake.storage, run_id=run_id_of(LONG_AGO)))
    writers[-1].send()
    writers[-1].send(status="finished")
    writers[-1].merge()
    nothing_is_found(lake)
    compacted(lake, kept_for=NONE)
    nothing_is_found(lake)
    report = lake.storage.check()
    assert (report.files, report.objects) == (10, 2)
    assert report.rows == sum(lake.sql(f"select 1 from stored.{table}").num_rows for table in newest(lake))


def newest(lake: Lake) -> list[str]:
    return list(newest_manifest(lake.storage.store).tables)


def test_an_empty_lake_is_whole(lake: Lake) -> None:
    assert lake.storage.check(deep=True).findings == []


def test_in_what_the_recorder_wrote_nothing_is_found(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    with Recorder(lake.url, project="p", system_metrics_every_s=None) as run:
        for step in range(3):
            run.log({"x": float(step)}, step=step)
        # While it goes on, too.
        nothing_is_found(lake)
    nothing_is_found(lake)
    compacted(lake)
    nothing_is_found(lake)


def test_no_lake_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFoundError, match="lde init"):
        LakeStorage(tmp_path / "nothing").check()
    (tmp_path / "empty").mkdir()
    with pytest.raises(LakeNotFoundError, match="lde init"):
        LakeStorage(tmp_path / "empty").check()


@pytest.mark.parametrize(
    "content", [b"", b'{"format": "lightning', b"[]", b'{"format": "x", "format_version": 1}', b"\xff\xfe", None]
)
def test_a_damaged_marker(local: Lake, content: bytes | None) -> None:
    if content is None:
        local.storage.store.delete("lde.json")
    else:
        local.storage.store.put("lde.json", content)
    report = local.storage.check()
    assert said(report) == {("marker", "lde.json")}
    assert report.findings[0].severity == "error"


def test_a_newer_format_is_not_looked_at(local: Lake) -> None:
    local.storage.store.put("lde.json", b'{"format": "lightning-lde", "format_version": 99}')
    with pytest.raises(LakeURLError, match="format 99"):
        local.storage.check()


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(_: bytes) -> bytes:
    return b""


def without_rows(content: bytes) -> bytes:
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(pq.read_table(pa.BufferReader(content)).slice(0, 0), buffer)
    return bytes(buffer.getvalue())


def with_other_types(content: bytes) -> bytes:
    import pyarrow.parquet as pq

    rows = pq.read_table(pa.BufferReader(content))
    buffer = pa.BufferOutputStream()
    index = rows.column_names.index("value")
    pq.write_table(rows.set_column(index, "value", rows.column("value").cast(pa.string())), buffer)
    return bytes(buffer.getvalue())


def without_a_column(content: bytes) -> bytes:
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(pq.read_table(pa.BufferReader(content)).drop(["name"]), buffer)
    return bytes(buffer.getvalue())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (truncated, "unreadable"), (emptied, "unreadable"), (without_rows, "empty"), (with_other_types, "columns"),
        (without_a_column, "columns"),
    ],
)  # fmt: skip
def test_a_damaged_hot_file(local: Lake, change: Callable[[bytes], bytes], kind: str) -> None:
    store, path = local.storage.store, first(local, "hot/metrics/")
    store.put(path, change(store.get(path)))
    assert said(local.storage.check()) == {(kind, path)}


def test_a_file_in_the_place_of_one_of_another_table(local: Lake) -> None:
    store = local.storage.store
    path, other = first(local, "hot/metrics/"), first(local, "hot/runs/")
    store.put(path, store.get(other))
    assert said(local.storage.check()) == {("columns", path)}


def test_columns_of_newer_writers_and_tables_that_are_not_known_are_fine(local: Lake) -> None:
    run_id = run_id_of(LONG_AGO)
    place = {"project": "p", "day": LONG_AGO.date(), "writer": run_id}
    local.storage.append("dreams", pa.table({"x": [1]}), first=9, **place)
    row = Link(
        source_kind="run", source_id="a", relation="x", target_kind="run", target_id="b", recorded_at=LONG_AGO
    )  # fmt: skip
    rows = records_to_arrow("links", [row]).append_column("unit", pa.array(["kg"]))
    local.storage.append("links", rows, first=0, **place)
    nothing_is_found(local)


def test_older_writers_lack_columns(local: Lake) -> None:
    path = first(local, "hot/runs/")
    file = local.storage.snapshot().files["runs"][0]
    rows = local.storage.read(file).drop(["number_in_process", "stage"])
    local.storage.append(
        "runs", rows, project="p", day=LONG_AGO.date(), writer=file.writer, first=file.first
    )  # fmt: skip
    assert file.path == path
    nothing_is_found(local)


def test_files_with_strange_names(local: Lake) -> None:
    store = local.storage.store
    for path in ("hot/metrics/x.parquet", "cold/readme.txt", "objects/ab/short"):
        store.put(path, b"x")
    assert said(local.storage.check(deep=True)) == {
        ("foreign", "hot/metrics/x.parquet"), ("foreign", "cold/readme.txt"), ("foreign", "objects/ab/short"),
    }  # fmt: skip


def test_objects(local: Lake) -> None:
    store = local.storage.store
    checkpoint, snapshot = sorted(paths(local, "objects/"), key=lambda path: len(store.get(path)), reverse=True)
    content = store.get(checkpoint)
    store.put(checkpoint, content[:-1])
    assert said(local.storage.check()) == {("size", checkpoint)}
    store.put(checkpoint, bytes([content[0] ^ 1]) + content[1:])
    assert said(local.storage.check()) == set()
    assert said(local.storage.check(deep=True)) == {("hash", checkpoint)}
    store.delete(checkpoint)
    store.delete(snapshot)
    report = local.storage.check()
    assert said(report) == {("missing", checkpoint), ("missing", snapshot)}
    messages = " ".join(finding.message for finding in report.findings)
    assert "last.ckpt of the run" in messages
    assert "code.snapshot_object" in messages


def test_files_in_chunks(local: Lake, tmp_path: Path) -> None:
    import random

    content = random.Random(0).randbytes(3 << 20)
    (tmp_path / "x.bin").write_bytes(content)
    stored = local.storage.put_artifact(tmp_path / "x.bin")
    again = local.storage.put_artifact(tmp_path / "x.bin")
    assert again.recipe == stored.recipe != "whole"
    row = Artifact(
        run_id=run_id_of(LONG_AGO), segment=0, path="x.bin", kind="file", size_bytes=len(content),
        object_id=stored.object_id, recipe=stored.recipe, recorded_at=LONG_AGO,
    )  # fmt: skip
    add(local.storage, "runs", [finished_run(row.run_id)])
    add(local.storage, "artifacts", [row])
    nothing_is_found(local)
    store = local.storage.store
    recipe = f"chunks/{stored.recipe[:2]}/{stored.recipe}"
    chunk = next(path for path in paths(local, "chunks/") if path != recipe)
    files = {path: store.get(path) for path in (recipe, chunk)}
    for path, file in files.items():
        store.put(path, file[:-1] + bytes([file[-1] ^ 1]))
        assert said(local.storage.check(deep=True)) == {("hash", path)}
        store.delete(path)
        assert said(local.storage.check()) == {("missing", path)}
        store.put(path, file)
    # The same file by another recipe that can be followed: nothing is lost.
    add(local.storage, "artifacts", [replace(row, recipe="0" * 64)])
    nothing_is_found(local)
    add(local.storage, "artifacts", [replace(row, path="y.bin", object_id="1" * 64)])
    assert [(one.kind, "recipe of a file with the hash" in one.message) for one in local.storage.check().findings] == [
        ("hash", True)
    ]


def finished_run(run_id: str) -> Run:
    return Run(
        run_id=run_id, segment=0, revision=0, project="p", status="finished", started_at=LONG_AGO,
        heartbeat_at=LONG_AGO, heartbeat_every_s=5.0,
    )  # fmt: skip


def test_objects_that_were_stored_again(local: Lake) -> None:
    store = local.storage.store
    for path in paths(local, "objects/"):
        store.put(f"{path}-1", store.get(path))
        store.delete(path)
    nothing_is_found(local)


def test_objects_that_nobody_names_are_no_finding(local: Lake) -> None:
    local.storage.put_object_bytes(b"nobody's")
    nothing_is_found(local)


def test_rows_that_name_what_is_not_there(local: Lake) -> None:
    run = Run(
        run_id=run_id_of(LONG_AGO), segment=0, revision=0, project="p", status="finished", started_at=LONG_AGO,
        heartbeat_at=LONG_AGO, heartbeat_every_s=5.0, dataset_config_id="u", pipeline_config_id="no config",
        environment_id="no environment", code_id="k",
    )  # fmt: skip
    point = Metric(run_id=run_id_of(LONG_AGO), segment=0, name="x", time=LONG_AGO, value=1.0)
    resume = Resume(run_id=run.run_id, segment=1, from_segment=7, until=LONG_AGO, recorded_at=LONG_AGO)
    rows: dict[str, list[Record]] = {"runs": [run], "metrics": [point], "resumes": [resume]}
    where = {table: add(local.storage, table, records) for table, records in rows.items()}
    report = local.storage.check()
    assert [finding.kind for finding in report.findings] == ["reference"] * 4
    assert {finding.severity for finding in report.findings} == {"warning"}
    found = {(finding.path, finding.message.partition(";")[0]) for finding in report.findings}
    assert found == {
        (where["runs"], f"the run {run.run_id} has pipeline_config_id no config, of which pipeline_configs has no row"),
        (where["runs"], f"the run {run.run_id} has environment_id no environment, of which environments has no row"),
        (where["metrics"], f"rows of metrics are of {point.run_id}, of which runs has no row"),
        (where["resumes"], f"segment 1 of the run {run.run_id} goes on from 7, of which runs has no row"),
    }


def test_of_a_run_that_goes_on_more_may_come(local: Lake) -> None:
    run = Run(
        run_id=run_id_of(LONG_AGO), segment=0, revision=0, project="p", status="running", started_at=LONG_AGO,
        heartbeat_at=utc_now(), heartbeat_every_s=5.0, dataset_config_id="not yet",
    )  # fmt: skip
    place = {"project": "p", "day": LONG_AGO.date()}
    local.storage.append("runs", records_to_arrow("runs", [run]), writer=run.run_id, first=0, **place)
    young = new_run_id()
    point = Metric(run_id=young, segment=0, name="x", time=utc_now(), value=1.0)
    local.storage.append("metrics", records_to_arrow("metrics", [point]), writer=young, first=0, **place)
    nothing_is_found(local)


def test_leftovers_count_when_they_are_old(local: Lake, lake_path: Path) -> None:
    for name in (".a.tmp", "hot/.b.tmp", "cold/.c.tmp", "objects/ab/.d.tmp"):
        (lake_path / name).parent.mkdir(parents=True, exist_ok=True)
        (lake_path / name).write_bytes(b"half")
    merged = local.storage.store.get(first(local, "hot/metrics/"))
    nothing_is_found(local)
    grow_old(local)
    names = {".a.tmp", "hot/.b.tmp", "cold/.c.tmp", "objects/ab/.d.tmp"}
    assert said(local.storage.check()) == {("temporary", name) for name in names}
    assert merged


def test_condemned_lists_that_are_old(local: Lake) -> None:
    for name, days in (("new", 1), ("old", 30)):
        content = {"created_at": (utc_now() - timedelta(days=days)).isoformat(), "paths": []}
        local.storage.store.put(f"condemned/{name}.json", json.dumps(content).encode())
    assert said(local.storage.check()) == {("condemned", "condemned/old.json")}


def test_a_storage_that_fails_is_no_finding(local: Lake) -> None:
    broken = LakeStorage(local.url)
    broken.store = FaultyStore(
        broken.store, lambda operation, _: Fault(FaultKind.BEFORE) if operation == "list" else None
    )
    with pytest.raises(StoreError, match="injected fault"):
        broken.check()
    result = CliRunner().invoke(app, ["check", str(local.url) + "x"])
    assert isinstance(result.exception, LakeNotFoundError)


@pytest.mark.slow
def test_beside_writers_and_compactions_there_is_no_false_alarm(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    whole(lake, 1)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            writer = Writer(lake.storage, run_id=run_id_of(LONG_AGO))
            for number in range(3):
                writer.send(status="finished" if number == 2 else "running")
            writer.merge()
            compacted(lake, kept_for=NONE)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(6):
            assert Lake(lake_path).storage.check(deep=number % 2 == 0).findings == []
    finally:
        stop.set()
        worker.join()
    nothing_is_found(lake)


class Vanishing:
    """Lets a compaction and its deletions happen at an operation of a check."""

    def __init__(self, lake: Lake, number: int) -> None:
        self._lake = lake
        self._left = number

    def __call__(self, operation: str, path: str) -> Fault | None:
        self._left -= 1
        if self._left == 0:
            compacted(self._lake, kept_for=NONE)
        return None


@pytest.mark.parametrize("number", [3, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 2, 4, 5, 6, 7, 8))])
def test_what_is_compacted_at_any_moment_is_looked_for_again(local: Lake, number: int) -> None:
    writer = Writer(local.storage, run_id=run_id_of(LONG_AGO))
    compacted(local)
    writer.send(status="finished")
    checked = LakeStorage(local.url)
    checked.store = FaultyStore(checked.store, Vanishing(local, number))
    report = checked.check(deep=True)
    assert report.findings == []
    assert report.rows == sum(local.sql(f"select 1 from stored.{table}").num_rows for table in newest(local))


@pytest.mark.s3
def test_a_bucket_is_asked_little(request: pytest.FixtureRequest) -> None:
    lake = Lake(request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options).create()
    whole(lake, 3)
    checked = LakeStorage(lake.url, lake.storage_options)
    calls = checked.store = FaultyStore(checked.store)
    assert checked.check().findings == []
    asked = [(call.operation, call.path) for call in calls.calls]
    # One read for each file of rows, and besides a number that does not grow with them.
    assert [operation for operation, _ in asked].count("size") == 0
    reads = [path for operation, path in asked if operation == "get" and path.startswith("hot/")]
    assert sorted(reads) == paths(lake, "hot/")
    assert len(asked) - len(reads) < 12


def test_the_command(local: Lake) -> None:
    result = CliRunner().invoke(app, ["check", local.url, "--deep"])
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "everything is as it should be")
    path = first(local, "hot/metrics/")
    local.storage.store.put(path, b"x")
    result = CliRunner().invoke(app, ["check", local.url])
    assert result.exit_code == 1
    assert "unreadable" in result.output
    assert "1 error; `--repair` can do something about 1 of 1" in result.output
    result = CliRunner().invoke(app, ["check", local.url, "--format", "json"])
    assert result.exit_code == 1
    content = json.loads(result.output)
    assert [(one["kind"], one["path"]) for one in content["findings"]] == [("unreadable", path)]
    assert content["is_fine"] is False
    result = CliRunner().invoke(app, ["check", local.url, "--repair"])
    assert (result.exit_code, "1 of 1 were repaired" in result.output) == (0, True)
    assert local.storage.check().findings == []
    assert local.storage.actions()[0].action == "repair"
    assert replace(local.storage.check(), seconds=0.0).is_fine
    assert len(values(local)) == 9
