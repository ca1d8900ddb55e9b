"""Random programs on a store with random faults: what was acknowledged is in the lake, once."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from lightning_lde import Lake
from lightning_lde.errors import LDEError
from lightning_lde.lake import LakeStorage, parse_hot_path
from lightning_lde.recording import Recorder, sync_spools
from lightning_lde.testing import Fault, FaultKind, FaultyStore
from lightning_lde.testing.strategies import fault_plans

from .nursery import Nursery, open_nursery

ATOMIC = sorted(set(FaultKind) - {FaultKind.TORN})
ACTIONS = (
    st.tuples(st.just("log"), st.integers(1, 60))
    | st.tuples(st.just("pause"), st.integers(1, 120))
    | st.tuples(st.just("event"), st.just(1))
    | st.tuples(st.just("file"), st.integers(1, 5000))
    | st.tuples(st.just("finish"), st.just(1))
)
PROGRAMS = st.builds(
    lambda actions, end: [*map(list, actions), *end],
    st.lists(ACTIONS, min_size=1, max_size=8),
    st.sampled_from([[], [], [["die", 1]]]),
)
QUICK = settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LONG = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened


@dataclass
class Reader:
    """Looks at a lake all the time; a lake that answers must answer right."""

    lake: Lake
    wrong: list[object] = field(default_factory=list)
    answers: int = 0

    def __enter__(self) -> Reader:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        query = """select run_id, name, count(*) as n, count(distinct step) as steps, max(step) + 1 as next
                   from metrics where name in ('a', 'b') group by all"""
        while not self._stop.wait(0.02):
            try:
                rows = self.lake.sql(query).to_pylist()
            except (LDEError, OSError):
                continue  # no lake yet, or half of a file that nobody was promised
            self.answers += 1
            self.wrong += [row for row in rows if not row["n"] == row["steps"] == row["next"]]


def run(
    nursery: Nursery, folder: Path, programs: list[tuple[list[list[Any]], list[Fault | None]]]
) -> tuple[Lake, list[dict[str, Any]], Reader]:
    """Run programs one after the other, each in a process that ends without tidying up; then heal and sync."""
    url, reports = str(folder / "lake"), []
    with Reader(Lake(url)) as reader:
        for number, (program, faults) in enumerate(programs):
            plan = [None if fault is None else [fault.kind.value, fault.delay_s] for fault in faults]
            child = nursery.start("obey", folder / str(number), url=url, options={}, program=program, faults=plan)
            child.wait()
            reports.append(child.report())
    outcomes = list(sync_spools(folder / "spool", LakeStorage))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return Lake(url), reports, reader


def check(lake: Lake, report: dict[str, Any]) -> None:
    """What was acknowledged is there once, and nothing is there that was not recorded."""
    acknowledged = report["acknowledged"] or {"steps": 0, "events": 0, "complete": None}
    run_id = report["run_id"]
    for name in ("a", "b"):
        found = lake.sql("select step from metrics where run_id = ? and name = ? order by step", [run_id, name])
        steps = found.column("step").to_pylist()
        assert steps == list(range(len(steps)))
        assert acknowledged["steps"] <= len(steps) <= report["logged"]
    events = lake.sql("select message from events where run_id = ? and kind = 'mine'", [run_id])
    messages = sorted(events.column("message").to_pylist(), key=int)
    assert messages == [str(number) for number in range(len(messages))]
    assert acknowledged["events"] <= len(messages) <= report["events"]
    if acknowledged["complete"] is not None and report["logged"] == acknowledged["steps"]:
        assert lake.sql("select distinct segment from stored.runs where run_id = ?", [run_id]).num_rows >= 1
    for path, sha256 in report["files"].items():
        assert hashlib.sha256(lake.read_artifact(run_id, path)).hexdigest() == sha256


def check_all(nursery: Nursery, tmp: Path, programs: list[tuple[list[list[Any]], list[Fault | None]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDE_SPOOL_DIR", str(tmp / "spool"))
        lake, reports, reader = run(nursery, tmp, programs)
        if not lake.storage.store.exists("lde.json"):
            assert all(report["acknowledged"] is None for report in reports)
            return
        for report in reports:
            check(lake, report)
        assert reader.wrong == []
        assert not any((tmp / "spool").glob("*/*.spool"))


def one_or_two(kinds: list[FaultKind]) -> st.SearchStrategy[list[tuple[list[list[Any]], list[Fault | None]]]]:
    return st.lists(st.tuples(PROGRAMS, fault_plans(kinds)), min_size=1, max_size=2)


@QUICK
@given(programs=one_or_two(ATOMIC))
def test_nothing_acknowledged_is_lost(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory, programs: Any
) -> None:
    check_all(nursery, tmp_path_factory.mktemp("faults"), programs)


@pytest.mark.slow
@LONG
@given(programs=one_or_two(ATOMIC))
def test_nothing_acknowledged_is_lost_in_many_examples(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory, programs: Any
) -> None:
    check_all(nursery, tmp_path_factory.mktemp("faults"), programs)


@pytest.mark.slow
@LONG
@given(programs=one_or_two(sorted(FaultKind)))
def test_nothing_acknowledged_is_lost_where_writes_tear(
    nursery: Nursery, tmp_path_factory: pytest.TempPathFactory, programs: Any
) -> None:
    folder = tmp_path_factory.mktemp("faults")
    Lake(folder / "lake").create()
    check_all(nursery, folder, programs)


def record_ten(lake: Lake, faults: Callable[[str, str], Fault | None]) -> None:
    lake.storage.store = FaultyStore(lake.storage.store, faults)
    recorder = Recorder(lake.storage, project="p", flush_every_s=0.05)
    recorder.start_segment("fit")
    for step in range(10):
        recorder.log({"a": float(step)}, step=step)
        time.sleep(0.03)
    recorder.finish_segment("finished")


def steps_of(lake: Lake) -> list[int]:
    found: list[int] = lake.sql("select step from metrics where name = 'a' order by step").column("step").to_pylist()
    return found


def torn_once(matches: Callable[[str], bool]) -> Callable[[str, str], Fault | None]:
    """The first put of a path that matches tears."""
    done: list[str] = []

    def fault(operation: str, path: str) -> Fault | None:
        if operation != "put" or done or not matches(path):
            return None
        done.append(path)
        return Fault(FaultKind.TORN)

    return fault


def is_merged(path: str) -> bool:
    file = parse_hot_path(path)
    return file is not None and file.first != file.last


def test_a_torn_marker_of_the_lake_is_written_again(lake_path: Path) -> None:
    record_ten(Lake(lake_path), torn_once(lambda path: path == "lde.json"))
    assert steps_of(Lake(lake_path)) == list(range(10))


def test_a_torn_merge_hides_nothing(lake_path: Path) -> None:
    record_ten(Lake(lake_path), torn_once(lambda path: is_merged(path) and "/metrics/" in path))
    assert steps_of(Lake(lake_path)) == list(range(10))


@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER])
def test_a_merge_that_fails_costs_and_doubles_nothing(lake_path: Path, kind: FaultKind) -> None:
    record_ten(Lake(lake_path), lambda _, path: Fault(kind) if is_merged(path) else None)
    assert steps_of(Lake(lake_path)) == list(range(10))
