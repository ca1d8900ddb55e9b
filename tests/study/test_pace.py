"""The time that a study will take: exact where each cell takes what was known of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde.study import Cell, Pace, about, past_durations

from .conftest import NAMES, SMALL, SmallStudy

KNOWN = {("greek", "pretraining"): [4.0], ("greek", "maml-first-order"): [10.0], ("digits", "pretraining"): [6.0]}


def played(took: list[float], jobs: int) -> list[float]:
    """When each of several cells ends, if the next one begins as soon as a process is free."""
    free, ends = [0.0] * jobs, []
    for seconds in took:
        free.sort()
        free[0] += seconds
        ends.append(free[0])
    return ends


@given(st.lists(st.sampled_from(list(KNOWN)), min_size=1, max_size=12), st.integers(1, 4))
def test_it_knows_the_end_where_nothing_differs_from_before(kinds: list[tuple[str, str]], jobs: int) -> None:
    cells = [Cell(str(place), *kind, place) for place, kind in enumerate(kinds)]
    ends = played([KNOWN[kind][0] for kind in kinds], jobs)
    pace = Pace(cells, jobs=jobs, known=KNOWN, now=0.0)
    assert pace.remaining_s(now=0.0) == pytest.approx(max(ends))
    for end, cell in sorted(zip(ends, cells, strict=True), key=lambda one: one[0]):
        pace.ended(cell, KNOWN[cell.dataset, cell.algorithm][0], now=end)
        assert pace.remaining_s(now=end) == pytest.approx(max(ends) - end)


def test_nothing_is_promised_while_an_algorithm_is_unknown() -> None:
    cells = [Cell(str(seed), "greek", algorithm, seed) for seed in (0, 1) for algorithm in ("pretraining", "maml")]
    pace = Pace(cells, jobs=1, known={}, now=0.0)
    assert pace.remaining_s(now=0.0) is None
    pace.ended(cells[0], 5.0, now=5.0)
    assert pace.remaining_s(now=5.0) is None
    pace.ended(cells[1], 9.0, now=14.0)
    assert pace.remaining_s(now=14.0) == 14.0
    pace.ended(cells[2], None, now=15.0)  # it failed, which says nothing of the others
    assert pace.remaining_s(now=18.0) == 6.0
    pace.ended(cells[3], 9.0, now=24.0)
    assert pace.remaining_s(now=24.0) == 0.0


def test_other_data_sets_stand_in_for_one_that_is_unknown() -> None:
    pace = Pace([Cell("a", "hebrew", "pretraining", 0)], jobs=1, known=KNOWN, now=0.0)
    assert pace.remaining_s(now=0.0) == 5.0


@pytest.mark.slow
def test_the_lake_knows_how_long_such_trainings_took(small_study: SmallStudy) -> None:
    known = past_durations(small_study.lake, SMALL.settings_id)
    assert len(known) == len(NAMES) * 3
    rows = small_study.lake.sql(
        "select name, ended_at, started_at from runs where run_id in (select run_id from episodes)"
    ).to_pylist()
    for row in rows:
        dataset, algorithm, _ = row["name"].split("/")
        ((seconds),) = known[dataset, algorithm]
        assert seconds == pytest.approx((row["ended_at"] - row["started_at"]).total_seconds(), abs=0.1)
    assert past_durations(small_study.lake, "others") == {}


@given(st.floats(0, 1e6))
def test_words_are_near_the_truth(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    words = about(seconds).split()
    said = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert said == pytest.approx(seconds, rel=0.2, abs=1.0)
