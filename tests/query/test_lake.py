"""SQL over a lake: views, lost runs, one row per content, and clear errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_lde import Lake
from lightning_lde.errors import LakeNotFoundError, QueryError, RunNotFoundError
from lightning_lde.schema import TABLES, Dataset, Run, arrow_schema, new_run_id, utc_now


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def lake(request: pytest.FixtureRequest, lake_path: Path) -> Lake:
    if request.param == "local":
        return Lake(lake_path).create()
    options = request.getfixturevalue("s3_server").options
    return Lake(request.getfixturevalue("bucket_url"), options).create()


def run_state(**changes: object) -> Run:
    now = utc_now()
    state = Run(
        run_id=new_run_id(), segment=0, revision=1, project="p", status="running",
        started_at=now, heartbeat_at=now, heartbeat_every_s=5.0,
    )  # fmt: skip
    return replace(state, **changes)


def add(lake: Lake, *states: Run) -> None:
    for state in states:
        lake.storage.add_records("runs", [state], project="p")


def test_an_empty_lake_has_all_tables(lake: Lake) -> None:
    for table in TABLES:
        assert lake.sql(f"select * from {table}").num_rows == 0
    assert set(TABLES) <= set(lake.sql("show tables").column("name").to_pylist())


def test_the_newest_state_of_a_run_counts(lake: Lake) -> None:
    first = run_state()
    add(lake, first, replace(first, revision=2, status="finished"), replace(first, segment=1, revision=3))
    rows = lake.sql("select status, segment from runs").to_pylist()
    assert rows == [{"status": "running", "segment": 1}]
    assert lake.sql("select count(*) as n from stored.runs").to_pylist() == [{"n": 3}]


def test_a_running_run_without_heartbeat_is_lost(lake: Lake) -> None:
    old = utc_now() - timedelta(seconds=16)
    add(
        lake,
        run_state(name="silent", heartbeat_at=old),
        run_state(name="alive"),
        run_state(name="slow", heartbeat_at=old, heartbeat_every_s=60.0),
        run_state(name="done", heartbeat_at=old, status="finished"),
    )
    found = {row["name"]: row["status"] for row in lake.sql("select name, status from runs").to_pylist()}
    assert found == {"silent": "lost", "alive": "running", "slow": "running", "done": "finished"}


def test_content_is_one_row_and_later_facts_fill_gaps(lake: Lake) -> None:
    now = utc_now()
    plain = Dataset(dataset_id="d", recorded_at=now, name="digits", n_samples=10)
    measured = replace(plain, recorded_at=now + timedelta(seconds=1), n_samples=None, diversity=0.25)
    again = replace(plain, recorded_at=now + timedelta(seconds=2))
    for row in (plain, measured, again):
        lake.storage.add_records("datasets", [row], project="p")
    rows = lake.sql("select name, n_samples, diversity from datasets").to_pylist()
    assert rows == [{"name": "digits", "n_samples": 10, "diversity": 0.25}]


def test_parameters_and_times(lake: Lake) -> None:
    state = run_state(name="it's")
    add(lake, state)
    row = lake.sql("select started_at from runs where name = ?", ["it's"]).to_pylist()[0]
    assert row["started_at"] == state.started_at


def test_a_run_is_found_by_id_prefix_or_name(lake: Lake) -> None:
    one, two = run_state(name="one"), run_state(name="two")
    add(lake, one, two)
    assert lake.resolve_run(one.run_id) == one.run_id
    assert lake.resolve_run("two") == two.run_id
    with pytest.raises(RunNotFoundError, match="no run 'three'"):
        lake.resolve_run("three")
    with pytest.raises(RunNotFoundError, match="2 runs"):
        lake.resolve_run(one.run_id[:3])


@pytest.mark.parametrize("query", ["selec 1", "select nothing from runs", "select * from nowhere", "select 1/", ""])
def test_bad_queries(lake: Lake, query: str) -> None:
    if query == "":
        assert lake.sql(query).num_rows == 0
        return
    with pytest.raises(QueryError) as caught:
        lake.sql(query)
    assert "\n" not in str(caught.value)


def test_columns_of_a_newer_writer_survive(lake: Lake) -> None:
    add(lake, run_state(name="old"))
    newer = lake.sql("select * from stored.runs").append_column("mood", pa.array(["fine"]))
    newer = newer.set_column(newer.schema.get_field_index("run_id"), "run_id", pa.array([new_run_id()]))
    lake.storage.append("runs", newer, project="p", day=utc_now().date(), writer=new_run_id(), first=0)
    assert sorted(str(mood) for mood in lake.sql("select mood from runs").column("mood").to_pylist()) == [
        "None",
        "fine",
    ]


def test_other_files_and_leftovers_do_no_harm(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    add(lake, run_state())
    folder = next(lake_path.glob("hot/runs/*/*"))
    (folder / ".0badc0de.tmp").write_bytes(b"half a file")
    (folder / "notes.txt").write_text("hello")
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]


def test_a_damaged_file_is_named(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    add(lake, run_state())
    file = next(lake_path.glob("hot/runs/*/*/*.parquet"))
    file.write_bytes(b"not parquet at all")
    with pytest.raises((QueryError, OSError), match=file.name):
        lake.sql("select * from runs")


def test_no_lake_no_answer(tmp_path: Path) -> None:
    with pytest.raises(LakeNotFoundError):
        Lake(tmp_path / "none").sql("select 1")


def test_files_replaced_while_reading_are_looked_up_again(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(lake_path).create()
    add(lake, run_state())
    real = type(lake.storage).snapshot
    calls = []

    def stale_once(storage):
        snapshot = real(storage)
        if not calls:
            for file in lake_path.glob("hot/runs/*/*/*.parquet"):
                pq.write_table(pq.read_table(file), file.with_name(f"{new_run_id()}-000000.parquet"))
                file.unlink()
        calls.append(1)
        return snapshot

    monkeypatch.setattr(type(lake.storage), "snapshot", stale_once)
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]
    assert len(calls) == 2


@pytest.mark.parametrize("table", TABLES)
def test_every_column_can_be_named_without_quotes(lake_path: Path, table: str) -> None:
    columns = arrow_schema(table).names
    assert Lake(lake_path).create().sql(f"select {', '.join(columns)} from {table}").column_names == columns


def test_pandas_and_polars_are_one_call_away(lake: Lake) -> None:
    import polars

    add(lake, run_state(name="one"), run_state(name="two"))
    table = lake.sql("select name, started_at from runs order by name")
    assert table.to_pandas()["name"].tolist() == ["one", "two"]
    assert polars.from_arrow(table)["name"].to_list() == ["one", "two"]
