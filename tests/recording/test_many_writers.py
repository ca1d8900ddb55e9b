"""Thirty-two processes write into one lake at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.recording import spool_root

from .nursery import Nursery, open_nursery

WRITERS = 32
POINTS = 2000


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened


def write_at_once(nursery: Nursery, folder: Path, url: str, options: dict[str, str]) -> None:
    """Let all write, none of them knowing of the others, and compare what is there point by point."""
    children = [
        nursery.start("write", folder / str(number), url=url, options=options, points=POINTS, name=str(number))
        for number in range(WRITERS)
    ]
    for child in children:
        child.wait(240)
    reports = [child.report() for child in children]
    assert [report["complete"] for report in reports] == [True] * WRITERS
    lake = Lake(url, options)
    rows = lake.sql(
        "select run_id, metrics.name, list(step order by step) as steps, list(value order by step) as points "
        "from metrics where name in ('a', 'b') group by all"
    ).to_pylist()
    assert len(rows) == 2 * WRITERS
    for row in rows:
        sign = 1 if row["name"] == "a" else -1
        assert row["steps"] == list(range(POINTS))
        assert row["points"] == [sign * float(step) for step in range(POINTS)]
    runs = lake.sql("select run_id, name, status from runs").to_pylist()
    assert {run["run_id"]: run["name"] for run in runs} == {
        report["run_id"]: str(number) for number, report in enumerate(reports)
    }
    assert {run["status"] for run in runs} == {"finished"}
    assert list(spool_root().rglob("*.spool")) == []


@pytest.mark.slow
def test_32_processes_at_once_lose_and_double_nothing(nursery: Nursery, tmp_path: Path) -> None:
    write_at_once(nursery, tmp_path, str(tmp_path / "lake"), {})


@pytest.mark.slow
@pytest.mark.s3
def test_32_processes_at_once_in_a_bucket_lose_and_double_nothing(
    nursery: Nursery,
    tmp_path: Path,
    bucket_url: str,
    s3_server,
) -> None:
    write_at_once(nursery, tmp_path, bucket_url, s3_server.options)
