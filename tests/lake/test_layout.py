"""Names of files: they read back, hostile projects stay inside, merged files hide what they hold."""

from __future__ import annotations

import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.lake import HotFile, current_files, hot_path, parse_hot_path
from lightning_lde.schema import new_run_id

WRITER = "01a2011c-7e55-708b-900a-5ca394ab91d6"  # the names of tests must be the same in every process
DAY = date(2026, 11, 21)


def file_of(first: int, last: int, *, writer: str = WRITER, table: str = "metrics", day: date = DAY) -> HotFile:
    path = hot_path(table, project="p", day=day, writer=writer, first=first, last=last)
    parsed = parse_hot_path(path)
    assert parsed is not None
    return parsed


def test_the_path_is_what_the_format_says() -> None:
    assert hot_path("runs", project="a b/ü", day=DAY, writer=WRITER, first=3) == (
        f"hot/runs/project=a%20b%2F%C3%BC/day=2026-11-21/{WRITER}-000003.parquet"
    )


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.text())
def test_every_path_reads_back(first: int, extra: int, project: str) -> None:
    project = project.encode("utf-8", "replace").decode()
    path = hot_path("metrics", project=project, day=DAY, writer=WRITER, first=first, last=first + extra)
    assert parse_hot_path(path) == HotFile(path, "metrics", WRITER, first, first + extra)


@pytest.mark.parametrize("project", ["../../etc", "..", "/", "a/../../b", "x" * 5000, "\n", "ü" * 500, ""])
def test_hostile_projects_stay_in_one_folder_name(project: str) -> None:
    parts = hot_path("runs", project=project, day=DAY, writer=WRITER, first=0).split("/")
    assert len(parts) == 5
    assert parts[2].startswith("project=")
    assert all(len(part.encode()) < 256 for part in parts)


def test_long_projects_that_differ_only_at_the_end_do_not_meet() -> None:
    paths = {hot_path("runs", project="x" * 5000 + end, day=DAY, writer=WRITER, first=0) for end in "ab"}
    assert len(paths) == 2


@pytest.mark.parametrize(
    "path",
    [
        "hot/runs/project=p/day=2026-11-21/.3f.tmp",
        "hot/runs/project=p/day=2026-11-21/notes.parquet",
        f"hot/runs/{WRITER}-000000.parquet",
        f"cold/runs/project=p/day=2026-11-21/{WRITER}-000000.parquet",
        "lde.json",
    ],
)
def test_other_files_are_not_read(path: str) -> None:
    assert parse_hot_path(path) is None


def test_a_merged_file_hides_exactly_what_it_holds() -> None:
    merged, inside, after = file_of(0, 4), [file_of(n, n) for n in range(5)], file_of(5, 5)
    other_run, other_table = file_of(1, 1, writer=new_run_id()), file_of(1, 1, table="runs")
    kept = current_files([*inside, merged, after, other_run, other_table])
    assert set(kept) == {merged, after, other_run, other_table}


def test_a_second_merge_hides_the_first() -> None:
    assert current_files([file_of(0, 4), file_of(5, 5), file_of(0, 5)]) == [file_of(0, 5)]


SPANS = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(lambda span: (min(span), max(span)))


@given(st.lists(st.tuples(SPANS, st.booleans(), st.booleans()), max_size=25))
def test_the_current_files_are_those_that_no_other_covers(drawn: list[tuple[tuple[int, int], bool, bool]]) -> None:
    other = "01890000-0000-7000-8000-000000000000"
    files = [
        file_of(first, last, writer=other if elsewhere else WRITER, day=DAY.replace(day=22) if later else DAY)
        for (first, last), elsewhere, later in drawn
    ]
    by_definition = [file for file in files if not any(one.covers(file) for one in files)]
    assert current_files(files) == sorted(by_definition, key=lambda file: file.path)


def test_a_writer_with_many_files_costs_little() -> None:
    files = [file_of(n, n) for n in range(20_000)]
    start = time.perf_counter()
    assert len(current_files(files)) == 20_000
    # By comparing each with each this takes a minute.
    assert time.perf_counter() - start < 2
