"""A thousand writers' files: compacted in steps beside readers, each row is there once, and a check finds nothing."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.lake import Compaction
from lightning_lde.lake.cold import _compact

from .damage import hot_files, values, whole
from .writers import LONG_AGO, Writer, run_id_of

NONE = timedelta(0)


def filled(lake: Lake, writers: int) -> list[float]:
    """Runs of several parcels each: some have merged their files, some died without a word."""
    whole(lake, 1)
    expected = values(lake)
    for number in range(writers - 1):
        writer = Writer(lake.storage, project=f"p{number % 3}", run_id=run_id_of(LONG_AGO))
        for parcel in range(2 + number % 3):
            is_last = parcel == 1 + number % 3
            writer.send(2, status="finished" if is_last and number % 5 else "running")
        # Each merge of this writer lists the lake, so the first ones do it.
        if number % 4 == 1 and number < 100:
            writer.merge()
        expected += writer.values
    return sorted(expected)


def compact_beside_readers(lake: Lake, expected: list[float]) -> list[Compaction]:
    """Compact all of it, while somebody reads all the time."""
    stop, strange = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            found = values(Lake(lake.url, lake.storage_options))
            if found != expected:
                strange.append((len(found), len(set(found))))

    reader = threading.Thread(target=look)
    reader.start()
    steps: list[Compaction] = []
    try:
        lake.storage.compact(silent_for=NONE, grace=NONE, tell=steps.append)
        lake.storage.compact(silent_for=NONE, grace=NONE, kept_for=NONE)
    finally:
        stop.set()
        reader.join()
    assert strange == []
    return steps


def all_is_there_once(lake: Lake, expected: list[float], runs: int) -> None:
    assert values(lake) == expected
    assert lake.sql("select count(*) as n, count(distinct run_id) as d from runs").to_pylist() == [
        {"n": runs, "d": runs}
    ]
    statuses = lake.sql("select status from runs group by status order by status").column("status").to_pylist()
    assert statuses == ["finished", "lost"]
    report = lake.storage.check(deep=True)
    assert report.findings == []
    assert report.rows >= len(expected)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_thousand_writers_in_a_folder(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compact, "MOST_FILES", 2_000)
    lake = Lake(lake_path).create()
    expected = filled(lake, 1_000)
    before = len(hot_files(lake))
    assert before > 7_000
    all_is_there_once(lake, expected, 1_000)
    steps = compact_beside_readers(lake, expected)
    assert len(steps) >= 4
    assert steps[-1].files_in == before
    assert hot_files(lake) == []
    all_is_there_once(lake, expected, 1_000)


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.timeout(1500)
def test_writers_in_a_bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred: moto's server takes some 100 requests a second."""
    monkeypatch.setattr(_compact, "MOST_FILES", 300)
    lake = Lake(request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options).create()
    expected = filled(lake, 100)
    all_is_there_once(lake, expected, 100)
    assert len(compact_beside_readers(lake, expected)) >= 2
    assert hot_files(lake) == []
    all_is_there_once(lake, expected, 100)
