"""Queries share a DuckDB instance and nothing else: no state, no threads' quarrels, no inheritance by a fork."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.errors import QueryError
from lightning_lde.query import _engine
from lightning_lde.schema import TABLES, Event, Run, arrow_schema, new_run_id, records_to_arrow, utc_now


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    found = Lake(lake_path).create()
    found.storage.add_records("runs", [a_run()], project="p")
    return found


def a_run() -> Run:
    now = utc_now()
    return Run(
        run_id=new_run_id(), segment=0, revision=0, project="p", status="running", started_at=now, heartbeat_at=now,
        heartbeat_every_s=5.0,
    )  # fmt: skip


def one(lake: Lake, query: str) -> object:
    return lake.sql(query).column(0)[0].as_py()


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        ("set threads = 1", "current_setting('threads')"),
        ("set global threads = 1", "current_setting('threads')"),
        ("set TimeZone = 'Asia/Tokyo'", "current_setting('TimeZone')"),
        ("select * from enable_logging()", "current_setting('enable_logging')"),
        ('select * from "enable_profiling"()', "current_setting('enable_profiling')"),
        ("call enable_logging()", "current_setting('enable_logging')"),
        ("pragma disable_optimizer", "current_setting('disabled_optimizers')"),
        ("set variable x = 1", "getvariable('x')"),
        ("set autoinstall_known_extensions = true", "current_setting('autoinstall_known_extensions')"),
        ("set python_enable_replacements = true", "current_setting('python_enable_replacements')"),
        ("load json; set threads = 1", "current_setting('threads')"),
    ],
)
def test_what_a_statement_sets_holds_for_it_alone(lake: Lake, statement: str, question: str) -> None:
    before = one(lake, f"select {question}")
    lake.sql(statement)
    assert one(lake, f"select {question}") == before


@pytest.mark.parametrize(
    "statement",
    [
        "create temp table mine as select 1 as x",
        "create table mine as select 1 as x",
        "create or replace table memory.main.mine as select 1 as x",
        "create view mine as select 1 as x",
        "create macro mine() as table select 1 as x",
        "create schema mine",
    ],
)
def test_what_a_statement_makes_is_gone(lake: Lake, statement: str) -> None:
    lake.sql(statement)
    for query in ("select * from mine", "select * from memory.main.mine", "select * from mine()", "from mine.t"):
        with pytest.raises(QueryError):
            lake.sql(query)


def test_python_variables_are_no_tables(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    monkeypatch.setattr(_engine, "df", pa.table({"x": [1]}), raising=False)
    with pytest.raises(QueryError, match="df"):
        lake.sql("select * from df")


def test_queries_leave_nothing_behind(lake: Lake) -> None:
    lake.sql("select * from runs")
    lake.sql("attach ':memory:' as other")
    with pytest.raises(QueryError):
        lake.sql("select 1 / run_id::int from runs")
    with pytest.raises(QueryError):
        lake.sql("select nothing from runs")
    with lake._engine.connection("select 1") as connection:
        found = connection.sql("select database_name from duckdb_databases() where not internal").fetchall()
        views = connection.sql("select view_name from duckdb_views() where not internal").fetchall()
    assert len(found) == 2
    assert views == []


def test_many_threads_at_once_each_see_their_own(lake: Lake) -> None:
    def ask(number: int) -> list[int]:
        lake.storage.add_records(
            "events",
            [Event(run_id="r", segment=number, time=utc_now(), level="info", kind="k", message="")],
            project="p",
        )
        rows = lake.sql("select segment from events where segment = ?", [number])
        with pytest.raises(QueryError):
            lake.sql(f"select column_{number} from events")
        return rows.column("segment").to_pylist()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == [[number] for number in range(24)]
    assert one(lake, "select count(*) from events") == 24


def test_rows_that_come_between_two_questions_are_seen(lake: Lake) -> None:
    for n in range(1, 4):
        assert one(lake, "select count(*) from runs") == n
        lake.storage.add_records("runs", [a_run()], project="p")


def test_a_file_that_is_replaced_at_once_is_read_anew(lake: Lake) -> None:
    # Footers are remembered; a hot file may be replaced by one of the same name with more rows.
    file = lake.storage.snapshot().files["runs"][0]
    place = {"project": "p", "day": utc_now().date(), "writer": file.writer, "first": 0}
    for n in range(2, 6):
        rows = [a_run() for _ in range(n)]
        lake.storage.append("runs", records_to_arrow("runs", rows), **place)
        found = lake.sql("select run_id from runs").column("run_id").to_pylist()
        assert sorted(found) == sorted(row.run_id for row in rows)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda lake: pickle.loads(pickle.dumps(lake))])
def test_a_copy_answers_as_the_lake_does(lake: Lake, again: object) -> None:
    lake.sql("select 1")
    other = again(lake)  # type: ignore[operator]
    assert one(other, "select count(*) from runs") == one(lake, "select count(*) from runs") == 1


FORKS = """
import gc, os, sys
from lightning_lde import Lake

lake = Lake(sys.argv[1])
count = lambda: lake.sql("select count(*) as n from runs").to_pylist()[0]["n"]
assert count() == 1
child = os.fork()
if child == 0:
    assert count() == 1
    grandchild = os.fork()
    if grandchild == 0:
        assert count() == 1
        del lake
        gc.collect()
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 3
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
assert count() == 1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_process_that_was_forked_asks_and_ends(lake: Lake) -> None:
    # An instance without its threads hangs when it is used, and aborts the process when it is closed.
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, lake.url], check=True, timeout=60)


@pytest.mark.parametrize("table", TABLES)
def test_columns_that_no_file_has_are_of_the_type_of_the_schema(lake: Lake, table: str) -> None:
    if table == "runs":
        return
    with _engine._new_instance() as connection:
        connection.register("empty", arrow_schema(table).empty_table())
        expected = [row[:2] for row in connection.execute("describe empty").fetchall()]
    found = lake.sql(f"describe {table}").select(["column_name", "column_type"]).to_pylist()
    assert [tuple(row.values()) for row in found] == expected
