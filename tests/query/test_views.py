"""What views show of compacted tables, which spare comparing rows, is what they show of the same rows uncompacted."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde import Lake
from lightning_lde.lake import ColdFile, Snapshot
from lightning_lde.lake.cold import _compact, _rows
from lightning_lde.schema import Artifact, Code, Dataset, Link, Param, Record, Run, new_run_id, records_to_arrow
from tests.lake.writers import DAY, LONG_AGO

TABLES = ("runs", "params", "artifacts", "links", "datasets", "code")


def rows_of(chance: random.Random, known: int) -> dict[str, list[Record]]:
    """What one writer sends of few things, so that writers meet the same ones again and again."""

    def some(word: str) -> str:
        return f"{word}{chance.randrange(known):03d}"

    def at() -> Any:
        return LONG_AGO + timedelta(seconds=chance.randrange(10**6))

    return {
        "runs": [
            Run(
                run_id=some("run"), segment=chance.randrange(2), revision=number, project="p", status="finished",
                name=some("name"), started_at=LONG_AGO, heartbeat_at=LONG_AGO, heartbeat_every_s=5.0,
            )
            for number in chance.sample(range(10**6), 4)
        ],
        "params": [
            Param(config_id=some("c"), key=chance.choice(["lr", "wd"]), value_text=some(""), type="str")
            for _ in range(4)
        ],
        "artifacts": [
            Artifact(
                run_id=some("run"), segment=0, path=some("file"), kind="other", size_bytes=1, object_id=some("o"),
                recorded_at=at(),
            )
            for _ in range(4)
        ],
        "links": [
            Link(
                source_kind="run", source_id=some("run"), relation="trained_on", target_kind="dataset",
                target_id=some("d"), recorded_at=at(),
            )
            for _ in range(4)
        ],
        "datasets": [
            Dataset(dataset_id=some("d"), name=some("digits"), recorded_at=at(), n_samples=chance.choice([None, 3]))
            for _ in range(3)
        ],
        "code": [Code(code_id=some("code"), recorded_at=at(), branch=chance.choice([None, "main"]))],
    }  # fmt: skip


def shown(lake: Lake, table: str) -> list[str]:
    return sorted(str(row) for row in lake.sql(f"select * from {table}").to_pylist())


@pytest.fixture(params=["local", "memory"])
def places(request: pytest.FixtureRequest, lake_path: Path) -> tuple[Lake, Lake]:
    root = str(lake_path) if request.param == "local" else f"memory://{lake_path}"
    return Lake(f"{root}/compacted").create(), Lake(f"{root}/as-written").create()


@pytest.mark.parametrize("known", [5, 300])
def test_compacted_and_not_they_are_the_same(
    places: tuple[Lake, Lake], known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compact, "_TIER", 0)  # each compaction makes files of its own
    chance = random.Random(known)
    compacted, as_written = places
    for number in range(8):
        writer = new_run_id()
        for table, records in rows_of(chance, known).items():
            rows = records_to_arrow(table, records)
            for lake in places:
                lake.storage.append(table, rows, project="p", day=DAY, writer=writer, first=0)
        if number in (1, 3, 4):
            compacted.storage.compact(silent_for=timedelta(0), grace=timedelta(0))
        if number in (1, 4, 7):
            for table in TABLES:
                assert shown(compacted, table) == shown(as_written, table), (number, table)
    for table in ("runs", "params"):
        for where in ("run_id = 'run001'", "name = 'name002'") if table == "runs" else ("key = 'lr'",):
            query = f"select * from {table} where {where} order by 1, 2"
            assert compacted.sql(query).to_pylist() == as_written.sql(query).to_pylist()


def test_files_say_whether_their_rows_are_told_apart(lake_path: Path) -> None:
    storage = Lake(lake_path).create().storage
    rows = rows_of(random.Random(0), 1000)
    rows["runs"].append(replace(rows["runs"][0], segment=7))
    for table, records in rows.items():
        storage.add_records(table, records, project="p")
    storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    found = {table: files[0].is_distinct for table, files in storage.snapshot().cold.items()}
    assert found == {**dict.fromkeys(rows, True), "runs": False}
    # Another version knows nothing of it, and a manifest that says nothing says no.
    assert b'"distinct":true' in storage.store.get("cold/manifests/000000000001.json")


@pytest.mark.parametrize("rows_per_group", [1, 2, 100])
def test_a_thing_in_two_groups_is_seen(lake_path: Path, rows_per_group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rows, "ROWS_PER_GROUP", rows_per_group)
    storage = Lake(lake_path).create().storage
    for key, values in (("lr", "ab"), ("wd", "a"), ("z", "a")):
        rows = [Param(config_id="c", key=key, value_text=value, type="str") for value in values]
        storage.add_records("params", rows, project="p")
    storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    assert not storage.snapshot().cold["params"][0].is_distinct


SPANS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.booleans()), max_size=8)


@settings(deadline=None)
@given(spans=SPANS)
def test_apart_is_what_no_other_file_reaches(spans: list[tuple[int, int, bool]]) -> None:
    files = [
        ColdFile(f"{number}", "runs", 1, 1, f"{first:02d}", f"{first + more:02d}", is_distinct=is_distinct)
        for number, (first, more, is_distinct) in enumerate(spans)
    ]
    alone, together = Snapshot({}, {"runs": tuple(files)}).apart("runs")
    expected = {
        one.path
        for one in files
        if one.is_distinct and all(other is one or other.last < one.first or one.last < other.first for other in files)  # type: ignore[operator]
    }
    assert set(alone) == expected
    assert set(together) == {file.path for file in files} - expected
