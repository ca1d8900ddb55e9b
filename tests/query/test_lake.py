"""SQL over a lake: views, lost runs, one row per content, and clear errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lightning_lde import Lake
from lightning_lde.errors import ArtifactNotFoundError, LakeNotFoundError, QueryError, RunNotFoundError, StoreError
from lightning_lde.query import _lake, _views
from lightning_lde.schema import TABLES, Artifact, Dataset, Link, Param, Run, arrow_schema, new_run_id, utc_now


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


def test_a_file_that_was_noted_and_stored_is_one(lake: Lake) -> None:
    now = utc_now()
    stored = Artifact(
        run_id="r", segment=0, path="last.ckpt", kind="checkpoint", size_bytes=1, object_id="o", recorded_at=now
    )
    noted = replace(stored, recorded_at=now + timedelta(hours=1), recipe="stored once more")
    others = [replace(stored, segment=1), replace(stored, object_id="newer"), replace(stored, path="best.ckpt")]
    for row in (noted, stored, *others):
        lake.storage.add_records("artifacts", [row], project="p")
    found = lake.sql("select segment, path, object_id, recipe, recorded_at from artifacts").to_pylist()
    assert sorted((row["segment"], row["path"], row["object_id"]) for row in found) == [
        (0, "best.ckpt", "o"), (0, "last.ckpt", "newer"), (0, "last.ckpt", "o"), (1, "last.ckpt", "o"),
    ]  # fmt: skip
    assert {row["recorded_at"] for row in found} == {now}
    assert sorted(row["recipe"] for row in found) == ["stored once more", "whole", "whole", "whole"]


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


@pytest.mark.parametrize("column", ["mood", "of day", "select"])
def test_columns_of_a_newer_writer_survive_in_content(lake: Lake, column: str) -> None:
    lake.storage.add_records("datasets", [Dataset(dataset_id="d", recorded_at=utc_now(), name="digits")], project="p")
    newer = lake.sql("select * from stored.datasets").append_column(column, pa.array(["fine"]))
    lake.storage.append("datasets", newer, project="p", day=utc_now().date(), writer=new_run_id(), first=0)
    assert lake.sql(f'select name, "{column}" as new from datasets').to_pylist() == [{"name": "digits", "new": "fine"}]


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


def replace_all_files(lake: Lake) -> None:
    """As a merge does: the same rows under another name."""
    for file in lake.storage.snapshot().files["runs"]:
        rows = lake.storage.read(file)
        lake.storage.append("runs", rows, project="p", day=utc_now().date(), writer=new_run_id(), first=0)
        lake.storage.remove(file)


@pytest.mark.parametrize("moment", ["before the files are opened", "between bind and scan"])
def test_files_replaced_while_reading_are_looked_up_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    add(lake, run_state())
    calls = []

    def create_views(*arguments):
        calls.append(1)
        if len(calls) < 3 and moment.startswith("before"):
            replace_all_files(lake)
        _views.create_views(*arguments)
        if len(calls) < 3 and moment.startswith("between"):
            replace_all_files(lake)

    monkeypatch.setattr(_lake, "create_views", create_views)
    assert lake.sql("select count(name) as names, count(*) as n from runs").to_pylist() == [{"names": 0, "n": 1}]
    assert len(calls) == 3


class Clock:
    """Time that passes only while somebody sleeps, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_files_that_are_always_replaced_end_in_an_error(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(lake_path).create()
    add(lake, run_state())
    clock, calls = Clock(), []

    def create_views(*arguments):
        calls.append(1)
        replace_all_files(lake)
        _views.create_views(*arguments)

    monkeypatch.setattr(_lake, "create_views", create_views)
    monkeypatch.setattr(_lake, "RETRY_FOR_S", 0.5)
    monkeypatch.setattr(_lake, "time", clock)
    with pytest.raises(StoreError, match="replaced at each attempt"):
        lake.sql("select * from runs")
    assert len(calls) > 3
    assert 0.25 < clock.now <= 0.5


def test_a_wrong_query_is_not_tried_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    add(lake, run_state())
    calls = []

    def create_views(*arguments):
        calls.append(1)
        _views.create_views(*arguments)

    monkeypatch.setattr(_lake, "create_views", create_views)
    with pytest.raises(QueryError):
        lake.sql("select nothing from runs")
    assert len(calls) == 1


def test_settings_and_edges_that_runs_share_are_one_row(lake: Lake) -> None:
    now = utc_now()
    for run in ("one", "two"):
        lake.storage.add_records(
            "params", [Param(config_id="c", key=key, value_text="1", type="str") for key in "ab"], project="p"
        )
        edge = Link(
            source_kind="dataset", source_id="d", relation="derived_from", target_kind="dataset", target_id="e",
            run_id=run, recorded_at=now,
        )  # fmt: skip
        later = replace(edge, recorded_at=now + timedelta(seconds=1))
        lake.storage.add_records("links", [later, edge, replace(edge, target_id="f")], project="p")
    assert lake.sql("select config_id, key from params order by key").to_pylist() == [
        {"config_id": "c", "key": "a"},
        {"config_id": "c", "key": "b"},
    ]
    links = lake.sql("select target_id, recorded_at from links order by target_id").to_pylist()
    assert links == [{"target_id": "e", "recorded_at": now}, {"target_id": "f", "recorded_at": now}]
    counts = "select (select count(*) from stored.params) as params, (select count(*) from stored.links) as links"
    assert lake.sql(counts).to_pylist() == [{"params": 4, "links": 6}]


def test_python_variables_are_no_tables(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    # DuckDB looks at the variables of the frame that calls it.
    monkeypatch.setattr(_lake, "df", pa.table({"x": [1]}), raising=False)
    with pytest.raises(QueryError, match="df"):
        lake.sql("select * from df")


def test_a_wrapped_store_is_queried_as_the_store_in_it(lake_path: Path) -> None:
    class Wrapper:
        def __init__(self, store: object) -> None:
            self.store = store

        def __getattr__(self, name: str) -> object:
            assert name != "arrow_filesystem", "DuckDB can read the files by itself"
            return getattr(self.store, name)

    lake = Lake(lake_path).create()
    add(lake, run_state())
    lake.storage.store = Wrapper(lake.storage.store)  # type: ignore[assignment]
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]


def test_a_relative_lake_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lake = Lake("lake").create()
    add(lake, run_state())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]
    assert lake.url == "lake"


def test_a_missing_artifact_is_not_a_missing_lake(lake: Lake) -> None:
    add(lake, run_state(name="one"))
    with pytest.raises(ArtifactNotFoundError, match=r"has no file 'x\.ckpt'") as caught:
        lake.read_artifact("one", "x.ckpt")
    assert isinstance(caught.value, FileNotFoundError)


def test_the_options_are_kept(lake_path: Path) -> None:
    assert Lake(lake_path).storage_options == {}
    assert Lake("s3://bucket/x", {"region": "eu-west-1"}).storage_options == {"region": "eu-west-1"}


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
