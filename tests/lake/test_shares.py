"""What one step of a compaction writes, in shares for two threads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde import Lake
from lightning_lde.errors import StoreError
from lightning_lde.lake.cold import _shares, newest_manifest
from lightning_lde.lake.cold._files import LARGEST_FILE
from lightning_lde.lake.cold._shares import WORTH_A_THREAD, Source, shares_of
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .writers import Writer

NONE = timedelta(0)
MB = 1 << 20


@pytest.fixture
def lake(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose little files are worth a thread each."""
    monkeypatch.setattr(_shares, "WORTH_A_THREAD", 1)
    return Lake(lake_path).create()


def written(lake: Lake, count: int = 6) -> list[Writer]:
    writers = [Writer(lake.storage) for _ in range(count)]
    for writer in writers:
        writer.send(status="finished")
    return writers


def values(lake: Lake) -> list[float]:
    return sorted(lake.sql("select value from stored.metrics").column("value").to_pylist())


@given(sizes=st.lists(st.integers(1, 200 * MB), min_size=1, max_size=40), table=st.sampled_from(["metrics", "params"]))
def test_each_file_is_in_one_share_and_their_order_stays(sizes: list[int], table: str) -> None:
    sources = [Source(f"{number:03d}", f"hot/{number}", size) for number, size in enumerate(sizes)]
    shares = shares_of(table, reversed(sources))
    assert [source for share in shares for source in share.sources] == sources
    assert all(share.sources for share in shares)
    if table != "metrics" or sum(sizes) < 2 * WORTH_A_THREAD:
        assert len(shares) == 1
    # No share is larger than a file but for what cannot be cut.
    assert all(share.size_bytes - share.sources[-1].size_bytes <= LARGEST_FILE for share in shares if len(shares) > 1)


def test_threads_write_the_same_rows_and_each_run_into_one_file(lake: Lake) -> None:
    writers = written(lake)
    expected = values(lake)
    lake.storage.compact(silent_for=NONE, grace=NONE)
    assert values(lake) == expected == sorted(value for writer in writers for value in writer.values)
    files = sorted(newest_manifest(lake.storage.store).tables["metrics"], key=lambda file: file.first or "")
    assert len(files) == 2
    assert (files[0].last or "") < (files[1].first or "")
    # The writers of these tests name configurations that have no row, which is no error.
    assert [one for one in lake.storage.check(deep=True).findings if one.severity == "error"] == []


@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER, FaultKind.TORN])
def test_what_fails_in_a_thread_is_said_and_changes_nothing(
    lake: Lake, kind: FaultKind, plan_once: Callable[[FaultKind], Callable[[str, str], Fault | None]]
) -> None:
    written(lake)
    expected, hot = values(lake), [stored.path for stored in lake.storage.store.list("hot/")]
    lake.storage.store = FaultyStore(lake.storage.store, plan_once(kind))
    with pytest.raises(StoreError, match="injected fault"):
        lake.storage.compact(silent_for=NONE, grace=NONE)
    lake.storage.store = Lake(lake.url).storage.store
    assert [stored.path for stored in lake.storage.store.list("hot/")] == hot
    assert values(lake) == expected
    lake.storage.compact(silent_for=NONE, grace=NONE)
    assert values(lake) == expected


@pytest.fixture
def plan_once() -> Callable[[FaultKind], Callable[[str, str], Fault | None]]:
    """A plan by which the first cold file of points fails."""

    def plan(kind: FaultKind) -> Callable[[str, str], Fault | None]:
        left = [Fault(kind)]
        return lambda operation, path: left.pop() if left and path.startswith("cold/metrics/") else None

    return plan


def test_what_has_not_begun_when_one_fails_does_not_begin(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shares, "LARGEST_FILE", 1)
    written(lake, 12)
    store = FaultyStore(
        lake.storage.store, lambda _, path: Fault(FaultKind.BEFORE) if path.startswith("cold/metrics/") else None
    )
    lake.storage.store = store
    with pytest.raises(StoreError):
        lake.storage.compact(silent_for=NONE, grace=NONE)
    tried = [call for call in store.calls if call.path.startswith("cold/metrics/")]
    # Of 12 shares those that were at work, and at most one more for each of two threads.
    assert 1 <= len(tried) <= 4
