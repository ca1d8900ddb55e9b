"""The order of points in a cold file, against Python's own sort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
COLUMNS = ("run_id", "name", "context", "dataloader_idx", "step")
TYPES = (pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64())


def table_of(rows: list[tuple[Any, ...]], *, encoded: bool) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, TYPES, strict=True)]
    if encoded:
        arrays = [one.dictionary_encode() if one.type == pa.string() else one for one in arrays]
    return pa.table(arrays, names=list(COLUMNS))


def expected(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    def place(row: tuple[Any, ...]) -> list[tuple[bool, Any]]:
        return [(value is not None, value if value is not None else 0) for value in row[:4]]

    return sorted(rows, key=place)


@settings(deadline=None)
@given(rows=ROWS, encoded=st.booleans())
def test_curve_by_curve_and_each_as_it_was(rows: list[tuple[Any, ...]], encoded: bool) -> None:
    found = _points.in_order(table_of(rows, encoded=encoded)).to_pylist()
    assert [tuple(row[name] for name in COLUMNS) for row in found] == expected(rows)


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


@pytest.mark.parametrize("at_once", [5, 64, 1 << 22])
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
    tables = list(_points.sorted_points(storage.store, paths))
    rows = [row for one in tables for row in one.to_pylist()]
    assert sorted((row["run_id"], row["name"], row["value"]) for row in rows) == sorted(written)
    assert all(one.num_rows <= max(at_once, 10) for one in tables)
    if at_once > 40:
        assert [(row["run_id"], row["name"]) for row in rows] == sorted((run, name) for run, name, _ in written)
