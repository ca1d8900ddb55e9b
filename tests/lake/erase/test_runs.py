"""Erasing a run: no byte of it is left anywhere, and nothing of others is touched."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from lightning_lde.errors import EraseError
from lightning_lde.lake import LakeStorage, Receipt, Request
from lightning_lde.lake.cold import newest_manifest
from lightning_lde.lake.erase._receipt import Plan
from lightning_lde.schema import TABLES, Link, new_run_id, records_to_arrow, utc_now

from .planted import LONG_AGO, Planted, all_found_in, contents, embed, found_in, rows_of

NONE = timedelta(0)
CONTENT = ("datasets", "dataset_configs", "pipelines", "pipeline_configs", "environments", "code", "params")


@pytest.fixture
def storage(lake_path: Path) -> LakeStorage:
    made = LakeStorage(lake_path)
    made.initialise()
    return made


def erase(storage: LakeStorage, *runs: Planted, force: bool = False) -> Receipt | None:
    return storage.erase(Request("run", tuple(run.run_id for run in runs)), silent_for=NONE, force=force)


def compact(storage: LakeStorage) -> None:
    storage.compact(silent_for=NONE, grace=NONE)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("tier", [pytest.param("hot", marks=SLOW), pytest.param("cold", marks=SLOW), "both"])
def test_no_byte_is_left_and_nothing_of_others_is_touched(storage: LakeStorage, tmp_path: Path, tier: str) -> None:
    gone, stays = Planted(storage, "ERASEME").write(tmp_path), Planted(storage, "keeper").write(tmp_path)
    if tier != "hot":
        compact(storage)
    later = Planted(storage, "later").write(tmp_path) if tier == "both" else stays
    expected = {run.name: rows_of(storage, run.run_id) for run in (stays, later)}
    before = contents(storage.store)
    assert all_found_in(storage.store, gone.traces())
    receipt = erase(storage, gone)
    assert receipt is not None
    assert found_in(storage.store, gone.traces()) == []
    assert {run.name: rows_of(storage, run.run_id) for run in (stays, later)} == expected
    assert rows_of(storage, gone.run_id) == {table: [] for table in TABLES}
    for run in (stays, later):
        file = run.objects["file"]
        assert storage.get_object(file.object_id, file.recipe).endswith(run.tensor + b"tail")
        assert all(run.name in str(rows_of(storage)[table]) for table in CONTENT)
    untouched = [path for path in before if later.run_id in path or path.startswith("objects/")]
    after = contents(storage.store)
    assert {path: after[path] for path in untouched if path in after} == {
        path: before[path] for path in untouched if path in after
    }
    assert all(path in after for path in before if later.run_id in path)
    assert erase(storage, gone) is None


def test_who_names_the_run_stays_without_its_id(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    names = Planted(storage, "keeper", names_run=gone.run_id).write(tmp_path)
    compact(storage)
    again = Planted(storage, "later", names_run=gone.run_id).write(tmp_path)
    receipt = erase(storage, gone)
    assert receipt is not None
    assert found_in(storage.store, gone.traces()) == []
    for run in (names, again):
        rows = rows_of(storage, run.run_id)
        assert "reproduces" not in str(rows["runs"])
        assert len(rows["links"]) == 1
        assert any("as <erased> did" in row for row in rows["events"])
        assert len(rows["metrics"]) == 3
    # The links of others are rows that were erased; rows that lost a word are not.
    assert receipt.rows["links"]["count"] == 3
    assert receipt.rows["events"]["count"] == 1


@pytest.mark.slow
def test_what_others_need_stays(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME", dataset="shared").write(tmp_path)
    stays = Planted(storage, "keeper", dataset="shared").write(tmp_path)
    alone = Planted(storage, "ALSO", dataset="analysed").write(tmp_path)
    embed(storage, "analysed")
    erase(storage, gone, alone)
    rows = rows_of(storage)
    assert {"shared", "analysed"} == {name for name in ("shared", "analysed") if name in str(rows["datasets"])}
    assert "keeper" in str(rows["dataset_configs"])
    assert len(rows["embeddings"]) == 1
    assert rows_of(storage, stays.run_id)["runs"]
    # The data set is the runs' no longer, and its manifest is needed by its row.
    left = {path for path, _ in found_in(storage.store, [gone.name.encode(), alone.name.encode()])}
    manifests = {f"objects/{run.objects['manifest'][:2]}/{run.objects['manifest']}" for run in (gone, alone)}
    assert left <= manifests


@pytest.mark.slow
def test_rows_that_another_process_wrote_for_the_run_go_too(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    writer = new_run_id()
    for number, (table, records) in enumerate(gone.rows().items()):
        gone.append(table, records_to_arrow(table, records), number, writer)
    erase(storage, gone)
    assert found_in(storage.store, [*gone.traces(), writer.encode()]) == []
    gone.append("events", records_to_arrow("events", gone.rows()["events"]), 9, writer)
    gone.append("events", records_to_arrow("events", gone.rows()["events"]), 9)
    assert rows_of(storage) == {table: [] for table in TABLES}
    compact(storage)
    assert found_in(storage.store, [*gone.traces(), writer.encode()]) == []


def test_a_run_that_is_running_is_erased_only_by_force(storage: LakeStorage, tmp_path: Path) -> None:
    alive = Planted(storage, "ERASEME", status="running").write(tmp_path, heard_at=utc_now())
    before = contents(storage.store)
    with pytest.raises(EraseError, match=f"{alive.run_id} is running"):
        erase(storage, alive)
    after = contents(storage.store)
    assert after == before
    erase(storage, alive, force=True)
    alive.append("metrics", records_to_arrow("metrics", alive.rows()["metrics"]), 20)
    assert rows_of(storage) == {table: [] for table in TABLES}


@pytest.mark.slow
def test_what_a_running_run_has_written_is_not_taken_from_it(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    alive = Planted(storage, "alive", names_run=gone.run_id, status="running").write(tmp_path, heard_at=utc_now())
    before = contents(storage.store)
    with pytest.raises(EraseError, match=f"{alive.run_id} is running"):
        erase(storage, gone, force=True)
    assert contents(storage.store) == before
    preview = storage.preview_erase(Request("run", (gone.run_id,)), silent_for=NONE)
    assert list(preview.waits_for) == [alive.run_id]


@pytest.mark.slow
def test_a_preview_says_what_happens_and_changes_nothing(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    Planted(storage, "keeper", names_run=gone.run_id).write(tmp_path)
    before = contents(storage.store)
    preview = storage.preview_erase(Request("run", (gone.run_id,)), silent_for=NONE)
    assert contents(storage.store) == before
    assert preview.runs == (gone.run_id,)
    assert preview.changed == {"runs": 2, "events": 1}
    receipt = erase(storage, gone)
    assert receipt is not None
    assert {table: words["count"] for table, words in receipt.rows.items()} == preview.rows
    assert (receipt.objects["count"], receipt.objects["bytes"]) == (preview.objects, preview.object_bytes)
    assert preview.rows["metrics"] == 3


def test_the_receipt_tells_who_asks_and_nobody_else(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    receipt = erase(storage, gone)
    assert receipt is not None
    [kept] = storage.receipts()
    assert kept == receipt
    assert (kept.is_about(gone.run_id), kept.is_about(new_run_id())) == (True, False)
    assert kept.asked["kind"] == "run"
    action = storage.actions()[0]
    assert (action.action, action.details["receipt"]) == ("erase", receipt.erasure_id)
    assert action.details["rows"]["metrics"] == 3
    assert list(storage.store.list("erasing/")) == []
    assert list(storage.store.list("condemned/")) == []


@pytest.mark.slow
def test_the_hash_of_the_rows_is_that_of_a_copy_from_elsewhere(storage: LakeStorage, tmp_path: Path) -> None:
    import hashlib

    from lightning_lde.schema import canonical_json

    gone = Planted(storage, "ERASEME").write(tmp_path)
    rows = records_to_arrow("metrics", gone.rows()["metrics"]).to_pylist()
    texts = [
        canonical_json(
            {
                key: str(value).replace(" ", "T") if key == "time" else value
                for key, value in row.items()
                if value is not None
            }
        )
        for row in rows
    ]
    total = sum(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") for text in texts) % (1 << 256)
    receipt = erase(storage, gone)
    assert receipt is not None
    assert receipt.rows["metrics"] == {"count": 3, "sha256": f"{total:064x}"}


@pytest.mark.slow
def test_former_versions_lists_and_notes_hold_nothing(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    compact(storage)
    stays = Planted(storage, "keeper").write(tmp_path)
    compact(storage)
    storage.note_action("trial", {"path": f"hot/{gone.run_id}", "kept": stays.run_id})
    assert len(list(storage.store.list("cold/manifests/"))) > 2
    erase(storage, gone)
    assert len(list(storage.store.list("cold/manifests/"))) == 1
    assert found_in(storage.store, gone.traces()) == []
    [note] = [one for one in storage.actions() if one.action == "trial"]
    assert note.details == {"path": "hot/<erased>", "kept": stays.run_id}
    # Who sends the other run's rows again is refused as before.
    absorbed = storage.absorbed_numbers(stays.run_id)
    assert absorbed.have("metrics", list(stays.rows()).index("metrics"))
    assert newest_manifest(storage.store).absorbed[0].files


def test_a_run_of_which_the_lake_knows_nothing_leaves_its_hash(storage: LakeStorage) -> None:
    unknown = new_run_id()
    receipt = storage.erase(Request("run", (unknown,)))
    assert receipt is not None
    assert storage.was_erased(unknown)
    assert not storage.was_erased(new_run_id())


@pytest.mark.slow
def test_a_plan_that_is_damaged_is_said(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    path = Plan(new_run_id(), utc_now(), {}, None, version=1).path  # type: ignore[arg-type]
    storage.store.put(path, b"{")
    with pytest.raises(EraseError, match="is damaged"):
        erase(storage, gone)
    compact(storage)  # goes on without it
    storage.store.delete(path)
    assert erase(storage, gone) is not None


@pytest.mark.slow
def test_links_between_others_and_the_run_go(storage: LakeStorage, tmp_path: Path) -> None:
    gone = Planted(storage, "ERASEME").write(tmp_path)
    edge = Link(
        source_kind="weights", source_id="w", relation="produced", target_kind="evaluation",
        target_id=f"{gone.run_id}/0", run_id=None, recorded_at=LONG_AGO,
    )  # fmt: skip
    storage.add_records("links", [edge], project="p")
    erase(storage, gone)
    assert rows_of(storage)["links"] == []
