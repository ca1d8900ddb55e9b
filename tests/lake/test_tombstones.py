"""What was erased stays erased: hashes in the manifest keep late rows out of answers, and out of the cold tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.cold import newest_manifest
from lightning_lde.lake.cold._commit import commit
from lightning_lde.lake.cold._erased import hash_of, write_erased
from lightning_lde.recording import Rows, RunState, has_finished_elsewhere, spool_root, sync_spools
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import SpoolHeader
from lightning_lde.schema import Event, new_run_id, records_to_arrow

from .writers import LONG_AGO, Writer

NOW = {"silent_for": timedelta(0), "grace": timedelta(0), "kept_for": timedelta(0)}


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    return Lake(lake_path).create()


def bury(storage: LakeStorage, *names: str) -> None:
    before = newest_manifest(storage.store)
    wanted = replace(before, erased=write_erased(storage.store, map(hash_of, names)))
    commit(storage.store, before, wanted, ())


def run_ids(lake: Lake) -> set[str]:
    return set(lake.sql("select run_id from stored.runs").column("run_id").to_pylist())


def paths(lake: Lake) -> str:
    return " ".join(one.path for one in lake.storage.store.list(""))


def test_files_of_an_erased_writer_are_in_no_answer_and_go_with_the_next_compaction(lake: Lake) -> None:
    gone, stays = Writer(lake.storage), Writer(lake.storage)
    for writer in (gone, stays):
        writer.send(status="finished")
    bury(lake.storage, gone.run_id)
    assert run_ids(lake) == {stays.run_id}
    assert gone.run_id in paths(lake)
    lake.storage.compact(**NOW)
    assert gone.run_id not in paths(lake)
    assert run_ids(lake) == {stays.run_id}
    gone.send_again(0)  # a PUT whose answer was lost, once more
    assert run_ids(lake) == {stays.run_id}
    lake.storage.compact(**NOW)
    lake.storage.compact(**NOW)
    assert newest_manifest(lake.storage.store).erased is not None
    assert run_ids(lake) == {stays.run_id}


def test_rows_that_another_process_sent_for_the_run_do_not_get_into_the_cold_tables(lake: Lake) -> None:
    gone, stays = Writer(lake.storage), Writer(lake.storage)
    for writer in (gone, stays):
        writer.send(status="finished")
    bury(lake.storage, gone.run_id)
    late = Writer(lake.storage)
    rows = gone._rows(0, "finished", lake.sql("select now() as t").column("t")[0].as_py())
    for table, part in rows.items():
        lake.storage.append(table, part, first=0, **late.place)
    lake.storage.compact(**NOW)
    assert run_ids(lake) == {stays.run_id}
    assert lake.sql("select distinct run_id from stored.metrics").column("run_id").to_pylist() == [stays.run_id]
    # Settings name no run; whether anybody needs them is not for a compaction to say.
    assert lake.sql("select count(*) as n from params").to_pylist() == [{"n": 1}]


def test_what_waits_in_a_spool_is_given_up(lake: Lake) -> None:
    gone, stays = new_run_id(), new_run_id()
    for run_id in (gone, stays):
        header = SpoolHeader(
            lake=str(Path(lake.url)), project="p", day="2026-01-01", run_id=run_id, writer=new_run_id(), number=0
        )
        event = Event(run_id=run_id, segment=0, time=LONG_AGO, level="info", kind="k", message="m")
        outbox = Outbox(spool_root(), header)
        outbox.add(Rows({"events": records_to_arrow("events", [event])}))
        outbox.close()
    bury(lake.storage, gone)
    outcomes = {one.run_id: one for one in sync_spools(spool_root(), lambda url, _: LakeStorage(url))}
    assert (outcomes[gone].is_erased, outcomes[gone].error, outcomes[gone].rows) == (True, None, 0)
    assert (outcomes[stays].is_erased, outcomes[stays].rows) == (False, 1)
    assert lake.sql("select run_id from events").column("run_id").to_pylist() == [stays]
    assert list(spool_root().rglob("*.spool")) == []


def test_training_that_goes_on_from_a_checkpoint_of_an_erased_run_is_a_new_run(lake: Lake) -> None:
    state = RunState(run_id=new_run_id(), started_at="2026-01-01T00:00:00+00:00", segment=0, until=0)
    assert not has_finished_elsewhere(lake.storage, "p", state)
    bury(lake.storage, state.run_id)
    assert has_finished_elsewhere(LakeStorage(lake.url), "p", state)


def test_who_goes_on_in_an_erased_run_all_the_same_leaves_nothing(lake: Lake) -> None:
    state = RunState(run_id=new_run_id(), started_at="2026-01-01T00:00:00+00:00", segment=0, until=0)
    bury(lake.storage, state.run_id)
    with (
        pytest.warns(RecordingWarning, match="was erased"),
        Recorder(lake.url, project="p", resume=state.as_dict()) as run,
    ):
        run.log({"x": 1.0}, step=0)
    assert run.run_id == state.run_id
    assert list(lake.storage.store.list("hot/")) == []
    assert list(spool_root().rglob("*.spool")) == []
