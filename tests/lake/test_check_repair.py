"""Each kind of damage is found, and a repair loses nothing that could be read."""

from __future__ import annotations

import itertools
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_lde import Lake
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.check._tables import look_at_all
from lightning_lde.lake.cold import _compact, newest_manifest
from lightning_lde.schema import new_run_id
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .damage import NONE, compacted, first, grow_old, paths, said, values, whole
from .writers import LONG_AGO, KilledError, Writer, run_id_of


@pytest.fixture
def lake(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    # Delta tables are another matter, and take their time.
    monkeypatch.setattr(_compact, "can_publish", lambda _: False)
    return Lake(lake_path).create()


def repaired(lake: Lake, *, deep: bool = True) -> None:
    """Repair, and see that everything is as it should be then."""
    report = lake.storage.check(deep=deep, repair=True)
    assert [one for one in report.findings if not one.is_repaired] == []
    assert report.is_fine
    assert LakeStorage(lake.url).check(deep=deep).findings == []


def finished(lake: Lake, parcels: int = 2) -> Writer:
    writer = Writer(lake.storage, run_id=run_id_of(LONG_AGO))
    for number in range(parcels):
        writer.send(status="finished" if number == parcels - 1 else "running")
    return writer


def flipped(content: bytes, at: int, bit: int) -> bytes:
    at %= len(content)
    return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def rows_in(content: bytes) -> pa.Table | None:
    try:
        return pq.read_table(pa.BufferReader(content))
    except Exception:
        return None


FLIPS = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
PLACES = {"at": st.integers(0, 1 << 30), "bit": st.integers(0, 7)}


@FLIPS
@given(**PLACES)
def test_a_flipped_bit_of_a_hot_file_is_found_where_it_changes_anything(lake_path: Path, at: int, bit: int) -> None:
    a_flip_is_found_where_it_changes_anything(lake_path, at, bit)


@pytest.mark.slow
@settings(FLIPS, max_examples=400)
@given(**PLACES)
def test_many_flipped_bits_of_a_hot_file(lake_path: Path, at: int, bit: int) -> None:
    a_flip_is_found_where_it_changes_anything(lake_path, at, bit)


@pytest.mark.slow
def test_each_flipped_bit_of_a_file(lake: Lake) -> None:
    """All of them, past the lake."""
    whole(lake, 1)
    content = lake.storage.store.get(first(lake, "hot/metrics/"))
    before = rows_in(content)
    assert look_at_all(content, "metrics").problems == []
    for at in range(8 * len(content)):
        damaged = flipped(content, at // 8, at % 8)
        if not look_at_all(damaged, "metrics").problems:
            assert (after := rows_in(damaged)) is not None
            assert after.equals(before)


def a_flip_is_found_where_it_changes_anything(lake_path: Path, at: int, bit: int) -> None:
    lake = Lake(lake_path)
    if not (lake_path / "lde.json").exists():
        whole(lake.create(), 1)
    store, path = lake.storage.store, first(lake, "hot/metrics/")
    content = store.get(path)
    before = rows_in(content)
    damaged = flipped(content, at, bit)
    try:
        store.put(path, damaged)
        found = said(lake.storage.check(deep=True))
        assert {name for _, name in found} <= {path}
        if not found:
            # Bits that nobody looks at: who wrote it, sizes that are told twice.
            after = rows_in(damaged)
            assert after is not None
            assert before is not None
            assert after.equals(before)
    finally:
        store.put(path, content)


@pytest.mark.slow
@FLIPS
@given(**PLACES, table=st.sampled_from(["metrics", "runs", "params"]))
def test_each_flipped_bit_of_a_cold_file_is_found(lake_path: Path, at: int, bit: int, table: str) -> None:
    lake = Lake(lake_path)
    if not (lake_path / "lde.json").exists():
        whole(lake.create(), 1)
        compacted(lake)
    store, path = lake.storage.store, newest_manifest(lake.storage.store).tables[table][0].path
    content = store.get(path)
    try:
        store.put(path, flipped(content, at, bit))
        assert {name for kind, name in said(lake.storage.check(deep=True)) if kind != "reference"} == {path}
    finally:
        store.put(path, content)


def test_a_hot_file_that_cannot_be_read_is_moved_and_its_readable_rows_stay(lake: Lake) -> None:
    whole(lake)
    before = values(lake)
    groups = [pa.table({"x": [0]})]
    file = lake.storage.snapshot().files["metrics"][0]
    groups = [lake.storage.read(file)] * 3
    lake.storage.append("metrics", groups, project="p", day=LONG_AGO.date(), writer=file.writer, first=file.first)
    store = lake.storage.store
    content = store.get(file.path)
    place = pq.ParquetFile(pa.BufferReader(content)).metadata.row_group(1).column(0).dictionary_page_offset
    damaged = flipped(content, place + 40, 3)
    assert rows_in(damaged) is None or damaged != content
    store.put(file.path, damaged)
    assert said(lake.storage.check(deep=True)) == {("unreadable", file.path)}
    repaired(lake)
    assert store.get(f"damaged/{file.path}") == damaged
    # Two of three row groups can be read, and those of all other files.
    assert len(values(lake)) == len(before) + groups[0].num_rows


def test_parts_count_again_where_what_was_merged_from_them_is_damaged(lake: Lake) -> None:
    whole(lake, 1)
    writer = finished(lake, 3)
    parts = {path: lake.storage.store.get(path) for path in paths(lake, "hot/metrics/") if writer.run_id in path}
    writer.merge()
    merged = next(path for path in paths(lake, "hot/metrics/") if writer.run_id in path)
    expected = values(lake)
    for path, content in parts.items():
        lake.storage.store.put(path, content)
    grow_old(lake)
    content = lake.storage.store.get(merged)
    lake.storage.store.put(merged, content[:50])
    grow_old(lake)
    lake.storage.check(deep=True, repair=True)
    assert sorted(path for path in paths(lake, "hot/metrics/") if writer.run_id in path) == sorted(parts)
    assert values(lake) == expected


def test_parts_are_removed_where_the_merged_file_has_their_rows_and_only_there(lake: Lake) -> None:
    whole(lake, 1)
    writer = finished(lake, 3)
    parts = {path: lake.storage.store.get(path) for path in paths(lake, "hot/") if writer.run_id in path}
    writer.merge()
    for path, content in parts.items():
        lake.storage.store.put(path, content)
    assert lake.storage.check().findings == []
    grow_old(lake)
    assert said(lake.storage.check()) == {("obsolete", path) for path in parts}
    expected = values(lake)
    repaired(lake)
    assert not set(parts) & set(paths(lake, "hot/"))
    assert values(lake) == expected

    # A merged file that lacks a row keeps what it should stand for.
    merged = next(path for path in paths(lake, "hot/metrics/") if writer.run_id in path)
    file = next(file for file in lake.storage.snapshot().files["metrics"] if file.path == merged)
    rows = lake.storage.read(file)
    place = {"project": "p", "day": LONG_AGO.date(), "writer": writer.run_id}
    lake.storage.append("metrics", rows.slice(1), first=file.first, last=file.last, **place)
    part = next(path for path in parts if "/metrics/" in path and path.endswith("-000000.parquet"))
    lake.storage.store.put(part, parts[part])
    grow_old(lake)
    report = lake.storage.check(repair=True)
    assert [(one.kind, one.path, one.is_repaired) for one in report.findings] == [("obsolete", part, False)]
    assert part in paths(lake, "hot/")


def test_a_hot_file_that_came_back_after_its_rows_were_taken(lake: Lake) -> None:
    whole(lake)
    path = first(lake, "hot/metrics/")
    content = lake.storage.store.get(path)
    compacted(lake)
    expected = values(lake)
    lake.storage.store.put(path, content)
    assert len(values(lake)) == len(expected) + 3
    grow_old(lake)
    assert said(lake.storage.check()) == {("absorbed", path)}
    repaired(lake)
    assert values(lake) == expected
    assert lake.storage.store.get(f"damaged/{path}") == content


def test_an_object_with_another_content_can_be_stored_anew(lake: Lake) -> None:
    whole(lake)
    content = b"weights" * 100
    path = next(path for path in paths(lake, "objects/") if lake.storage.store.get(path) == content)
    lake.storage.store.put(path, content[::-1])
    report = lake.storage.check(deep=True, repair=True)
    assert [(one.kind, one.is_repaired) for one in report.findings] == [("hash", True)]
    # It is lost until somebody has the same file again.
    assert said(lake.storage.check(deep=True)) == {("missing", path)}
    lake.storage.put_object_bytes(content)
    assert lake.storage.check(deep=True).findings == []


def test_temporary_files_are_removed(lake: Lake, lake_path: Path) -> None:
    whole(lake, 1)
    (lake_path / "hot" / ".x.tmp").write_bytes(b"half")
    grow_old(lake)
    repaired(lake)
    assert not (lake_path / "hot" / ".x.tmp").exists()


@pytest.mark.parametrize(
    "what",
    [
        "torn",
        "swapped",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("missing", "other rows", "other bounds")),
    ],
)
def test_cold_files(lake: Lake, what: str) -> None:
    whole(lake)
    compacted(lake)
    store = lake.storage.store
    manifest = newest_manifest(store)
    [file], [other] = manifest.tables["metrics"], manifest.tables["runs"]
    content = store.get(file.path)
    expected = {("size", file.path), ("unreadable", file.path)}
    if what == "missing":
        store.delete(file.path)
        expected = {("missing", file.path)}
    elif what == "torn":
        store.put(file.path, content[: len(content) // 2])
    elif what == "swapped":
        store.put(file.path, store.get(other.path))
        store.put(other.path, content)
        kinds = ("columns", "size", "rows")
        expected = {(kind, one.path) for kind, one in itertools.product(kinds, (file, other))}
    else:
        said_ = json.loads(manifest.to_bytes())
        said_["tables"]["metrics"][0]["rows" if what == "other rows" else "last"] = 7 if what == "other rows" else "x"
        store.put(manifest.path, json.dumps(said_).encode())
        expected = {("rows" if what == "other rows" else "bounds", file.path)}
    report = lake.storage.check(repair=True)
    found = {(kind, path) for kind, path in said(report) if kind != "reference"}
    assert found <= expected if what == "swapped" else found == expected
    assert {path for _, path in found} == {path for _, path in expected}
    assert not report.is_fine
    assert store.get(other.path)


def test_manifests_that_are_swapped_or_old_and_damaged(lake: Lake) -> None:
    whole(lake)
    compacted(lake)
    store = lake.storage.store
    manifest = newest_manifest(store)
    older = f"cold/manifests/{manifest.number - 1:012d}.json"
    expected, content = values(lake), store.get(manifest.path)
    for damaged in (content, content[:30], b"", b"null"):
        store.put(older, damaged)
        report = lake.storage.check()
        assert [(one.severity, one.kind, one.path) for one in report.findings] == [("warning", "manifest", older)]
    repaired(lake)
    assert values(lake) == expected


def test_a_manifest_that_is_missing_between_two(lake: Lake) -> None:
    whole(lake)
    for _ in range(2):
        finished(lake)
        compacted(lake)
    number = newest_manifest(lake.storage.store).number - 1
    path = f"cold/manifests/{number:012d}.json"
    lake.storage.store.delete(path)
    assert ("manifest", path) in said(lake.storage.check())


@pytest.mark.parametrize(
    "damage", [b'{"number": 9', *(pytest.param(each, marks=pytest.mark.slow) for each in (b"", b"\x00\x01"))]
)
def test_the_newest_manifest_is_restored_where_nothing_is_lost_by_it(lake: Lake, damage: bytes) -> None:
    whole(lake)
    compacted(lake)
    writer = finished(lake)
    compacted(lake, grace=timedelta(hours=1))
    expected = values(lake)
    newest = newest_manifest(lake.storage.store)
    lake.storage.store.put(newest.path, damage)
    [finding] = [one for one in lake.storage.check().findings if one.severity == "error"]
    assert (finding.kind, finding.path) == ("manifest", newest.path)
    assert "makes the next one from number" in finding.repair
    lake.storage.check(repair=True)
    assert values(Lake(lake.url)) == expected
    compacted(lake)
    assert values(Lake(lake.url)) == expected
    assert set(writer.values) <= set(expected)


def test_the_newest_manifest_is_not_restored_where_hot_files_are_deleted(lake: Lake) -> None:
    whole(lake)
    compacted(lake, grace=timedelta(hours=1))
    store = lake.storage.store
    newest = newest_manifest(store)
    content = store.get(newest.path)
    hot = paths(lake, "hot/")
    store.put(newest.path, b"")
    store.delete(hot[0])
    report = lake.storage.check(repair=True)
    [finding] = [one for one in report.findings if one.severity == "error"]
    assert (finding.kind, finding.is_repaired) == ("manifest", False)
    assert "1 hot files whose rows were brought in later are deleted" in finding.message
    assert newest_manifest_number(lake) == newest.number
    # Nothing was touched: with the manifest back everything is.
    store.put(newest.path, content)
    assert len(values(Lake(lake.url))) == 12


class Killing:
    """Kills at a write or deletion of that number."""

    def __init__(self, number: int, kind: FaultKind) -> None:
        self._left = number
        self._kind = kind

    def __call__(self, operation: str, _: str) -> Fault | None:
        is_change = operation in {"put", "delete"}
        if self._left > 0 or not is_change:
            self._left -= is_change
            return None if self._left >= 0 else Fault(FaultKind.BEFORE, error=KilledError)
        self._left -= 1
        return Fault(self._kind if self._left == -1 else FaultKind.BEFORE, error=KilledError)


def newest_manifest_number(lake: Lake) -> int:
    return max(int(path[-17:-5]) for path in paths(lake, "cold/manifests/"))


def test_a_manifest_that_was_lost_is_told_by_its_list(lake: Lake) -> None:
    whole(lake)
    compacted(lake)
    finished(lake)
    compacted(lake)
    store = lake.storage.store
    expected = newest_manifest(store)
    for number in (expected.number, expected.number - 1):
        store.delete(f"cold/manifests/{number:012d}.json")
    report = lake.storage.check(repair=True)
    lost = [one for one in report.findings if one.kind == "manifest"]
    assert [(one.severity, one.path, one.is_repaired) for one in lost] == [("error", expected.absorbed[-1].path, False)]
    assert "a manifest was lost" in lost[0].message
    # Its files are there still.
    assert all(store.size(file.path) for files in expected.tables.values() for file in files)


def test_lists_of_absorbed_files(lake: Lake) -> None:
    whole(lake)
    compacted(lake, grace=timedelta(hours=1))
    store = lake.storage.store
    [absorbed] = newest_manifest(store).absorbed
    content = store.get(absorbed.path)
    store.put(absorbed.path, content[:100])
    assert said(lake.storage.check()) == {("unreadable", absorbed.path)} | {
        found for found in said(lake.storage.check()) if found[0] == "reference"
    }
    store.delete(absorbed.path)
    assert ("missing", absorbed.path) in said(lake.storage.check(repair=True))
    store.put(absorbed.path, content)
    assert lake.storage.check(deep=True).findings == []


def test_a_merged_list_is_made_again_from_its_parts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    whole(lake)
    monkeypatch.setattr(_compact, "_MANY_LISTS", 3)
    before = 0
    while len(newest_manifest(lake.storage.store).absorbed) >= before:
        before = len(newest_manifest(lake.storage.store).absorbed)
        finished(lake)
        compacted(lake)
    store = lake.storage.store
    merged = newest_manifest(store).absorbed[0]
    content = store.get(merged.path)
    store.put(merged.path, b"x")
    repaired(lake)
    assert pq.read_table(pa.BufferReader(store.get(merged.path))).equals(pq.read_table(pa.BufferReader(content)))


def test_stray_cold_files(lake: Lake) -> None:
    whole(lake)
    compacted(lake)
    store = lake.storage.store
    [file] = newest_manifest(store).tables["metrics"]
    content = store.get(file.path)
    same, young = (f"cold/metrics/{run_id}.parquet" for run_id in (run_id_of(LONG_AGO), new_run_id()))
    store.put(same, content)
    store.put(young, content)
    rows = pq.read_table(pa.BufferReader(content))
    changed = rows.set_column(rows.column_names.index("value"), "value", pa.array([-1.0] * rows.num_rows))
    buffer = pa.BufferOutputStream()
    pq.write_table(changed, buffer)
    other = f"cold/metrics/{run_id_of(LONG_AGO)}.parquet"
    store.put(other, bytes(buffer.getvalue()))
    assert said(lake.storage.check()) == {("stray", same), ("stray", other)}
    report = lake.storage.check(repair=True)
    assert {(one.path, one.is_repaired) for one in report.findings} == {(same, True), (other, False)}
    assert store.exists(other)
    assert not store.exists(same)
    assert store.exists(young)


@pytest.mark.parametrize(
    "what", ["damaged", *(pytest.param(each, marks=pytest.mark.slow) for each in ("missing", "late"))]
)
def test_delta_logs(lake: Lake, lake_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    deltalake = pytest.importorskip("deltalake")
    monkeypatch.undo()
    whole(lake, 1)
    compacted(lake)
    log = lake_path / "cold" / "metrics" / "_delta_log"
    if what == "damaged":
        for file in log.glob("*.json"):
            file.write_bytes(file.read_bytes()[:40])
    elif what == "missing":
        shutil.rmtree(log)
    else:
        kept = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
        finished(lake)
        compacted(lake)
        shutil.rmtree(log)
        log.mkdir()
        for path, content in kept.items():
            path.write_bytes(content)
    assert said(lake.storage.check()) == {("delta", "cold/metrics/_delta_log/")}
    repaired(lake, deep=False)
    table = deltalake.DeltaTable(str(lake_path / "cold" / "metrics"))
    assert sorted(table.to_pyarrow_table().column("value").to_pylist()) == values(lake)


@pytest.mark.parametrize("kind", [FaultKind.AFTER, pytest.param(FaultKind.BEFORE, marks=pytest.mark.slow)])
def test_a_repair_that_is_killed_at_any_operation_loses_nothing(lake_path: Path, kind: FaultKind) -> None:
    made = Lake(lake_path / "made").create()
    whole(made, 1)
    writer = finished(made, 2)
    damaged = next(path for path in paths(made, "hot/metrics/") if writer.run_id in path)
    expected = [value for value in values(made) if value not in writer.parcels[0]]
    content = made.storage.store.get(damaged)
    made.storage.store.put(damaged, content[:-20])
    for number in range(100):
        folder = lake_path / str(number)
        shutil.copytree(lake_path / "made", folder)
        dying = LakeStorage(folder)
        dying.store = FaultyStore(dying.store, Killing(number, kind))
        try:
            dying.check(repair=True)
        except KilledError:
            store = LakeStorage(folder).store
            assert any(store.exists(path) for path in (damaged, f"damaged/{damaged}"))
        else:
            break
        lake = Lake(folder)
        repaired(lake, deep=False)
        assert values(lake) == expected
        assert lake.storage.store.get(f"damaged/{damaged}") == content[:-20]
    assert 1 < number < 99


def test_a_repair_does_not_touch_what_is_fine(lake: Lake) -> None:
    whole(lake)
    finished(lake)
    compacted(lake, kept_for=NONE)
    finished(lake)
    before = {stored.path: lake.storage.store.get(stored.path) for stored in lake.storage.store.list("")}
    assert lake.storage.check(deep=True, repair=True).findings == []
    assert {stored.path: lake.storage.store.get(stored.path) for stored in lake.storage.store.list("")} == before
