"""The order of points in a cold file, against Python's own sort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.lake import LakeStorage
from lightning_lde.lake.cold import _points, _rows
from lightning_lde.schema import Metric, records_to_arrow, utc_now

from .writers import DAY, run_id_of

WORDS = st.sampled_from(["", "a", "A", "b", "ä", "z/1", "🙂"])
ROWS = st.lists(
    st.tuples(WORDS, WORDS, st.none() | WORDS, st.none() | st.integers(-2, 3), st.integers(0, 9)), max_size=60
)
NUMBERS = st.sampled_from([None, 0.5, float("nan"), 1.0])
COLUMNS = ("run_id", "name", "context", "dataloader_idx", "step")
TYPES = (pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64())


def table_of(rows: list[tuple[Any, ...]], *, encoded: bool) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, TYPES, strict=True)]
    if encoded:
        arrays = [one.dictionary_encode() if one.type == pa.string() else one for one in arrays]
    return pa.table(arrays, names=list(COLUMNS))


def place(row: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    """Name by name, then run by run; null is the first."""
    run, name, context, loader, _ = row
    return [(value is not None, value if value is not None else 0) for value in (name, run, context, loader)]


@settings(deadline=None)
@given(rows=ROWS, encoded=st.booleans(), most=st.integers(1, 70))
def test_groups_are_of_whole_runs_and_name_by_name(rows: list[tuple[Any, ...]], encoded: bool, most: int) -> None:
    found = [
        [tuple(row[name] for name in COLUMNS) for row in group.to_pylist()]
        for group in _points.grouped(table_of(rows, encoded=encoded), most)
    ]
    waiting = sorted(rows, key=lambda row: row[0])
    for group in found:
        assert 0 < len(group) <= most
        expected, waiting = waiting[: len(group)], waiting[len(group) :]
        assert group == sorted(expected, key=place)
        if waiting and waiting[0][0] == expected[-1][0]:
            # A run is cut where it alone is larger than a group.
            assert {row[0] for row in expected} == {waiting[0][0]}
            assert len(group) == most
    assert waiting == []


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.sampled_from([None, 0.5, float("nan"), 1.0])] * 2, st.sampled_from("ab")), max_size=30)
)
def test_repeats_are_left_out_as_sql_does(rows: list[tuple[Any, ...]]) -> None:
    names = ["x", "y", "word"]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    types = (pa.float64(), pa.float64(), pa.string())
    table = pa.table([pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names)
    with duckdb.connect() as connection:
        connection.register("given", table)
        ordered = connection.sql("select * from given order by all").to_arrow_table()
        expected = connection.sql("select distinct * from given order by all").fetchall()
    portions = [ordered.slice(at, 7).combine_chunks() for at in range(0, len(rows), 7)]
    found = [tuple(row.values()) for one in _rows.without_repeats(portions) for row in one.to_pylist()]
    assert repr(found) == repr(expected)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 25), max_size=12))
def test_groups_are_full_but_for_the_last(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rows, "ROWS_PER_GROUP", 10)
        numbers = iter(range(1000))
        tables = [
            pa.table({"x": [next(numbers) for _ in range(size)]}, pa.schema([("x", pa.int64())])) for size in sizes
        ]
        found = list(_rows.in_groups(tables))
    assert [one.num_rows for one in found[:-1]] == [10] * (len(found) - 1)
    assert [value for one in found for value in one.column("x").to_pylist()] == list(range(sum(sizes)))


def test_a_group_ends_where_the_columns_change() -> None:
    tables = [pa.table({"x": [1]}), pa.table({"x": [2]}), pa.table({"x": [3], "y": [4]}), pa.table({"x": [5]})]
    assert [one.to_pylist() for one in _rows.in_groups(tables)] == [
        [{"x": 1}, {"x": 2}],
        [{"x": 3, "y": 4}],
        [{"x": 5}],
    ]


@pytest.mark.parametrize("at_once", [5, 64, 1 << 20])
@pytest.mark.parametrize("where", ["local", "memory"])
def test_large_files_are_read_in_portions(
    lake_path: Path, at_once: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_points, "ROWS_AT_ONCE", at_once)
    storage = LakeStorage(lake_path if where == "local" else f"memory://{lake_path}")
    paths, written = [], []
    for number in range(6):
        run_id = run_id_of(utc_now())
        groups = []
        for group in range(4):
            points = [
                Metric(
                    run_id=run_id, segment=0, name="ab"[at % 2], step=at, time=utc_now(), value=float(group * 10 + at)
                )
                for at in range(10)
            ]
            written += [(run_id, point.name, point.value) for point in points]
            groups.append(records_to_arrow("metrics", points))
        file = storage.append(
            "metrics", iter(groups), project="p", day=DAY, writer=run_id, first=0, in_memory=number % 2 == 0
        )
        paths.append(file.path)
    tables = list(_points.groups_of_points(storage.store, paths, 100))
    rows = [row for one in tables for row in one.to_pylist()]
    assert sorted((row["run_id"], row["name"], row["value"]) for row in rows) == sorted(written)
    assert all(one.num_rows <= min(max(at_once, 10), 100) for one in tables)
    if at_once > 240:
        runs = sorted({run for run, _, _ in written})
        of_groups = [runs[0:2], runs[2:4], runs[4:6]]
        assert [(row["name"], row["run_id"]) for row in rows] == [
            (name, run) for group in of_groups for name in "ab" for run in group for _ in range(20)
        ]
