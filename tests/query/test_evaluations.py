"""Differences between evaluated tasks against scipy, and which tasks may be paired at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lightning_lde.query._evaluations import compare_evaluations, compare_two, evaluations

Row = dict[str, Any]


def row(index: int, accuracy: float, **changes: Any) -> Row:
    base = {
        "segment": 1, "dataset": "birds", "dataset_id": "d", "split": "test", "ways": 5, "shots": 1, "queries": 10,
        "method": "maml", "inner_steps": 5, "episode_id": f"task {index}", "episode_seed": 0, "classes": [index],
        "accuracy": accuracy, "loss": 1.0 - accuracy,
    }  # fmt: skip
    return {**base, **changes}


def tasks(accuracies: Any, *, start: int = 0, **changes: Any) -> list[Row]:
    return [row(start + number, float(each), **changes) for number, each in enumerate(accuracies)]


RNG = np.random.default_rng(3)
HARD = RNG.normal(0.6, 0.2, 40)
FIRST, SECOND = HARD + RNG.normal(0.0, 0.02, 40), HARD + RNG.normal(0.03, 0.02, 40)


def test_the_same_tasks_are_paired() -> None:
    second = tasks(SECOND)
    RNG.shuffle(second)
    [found] = compare_evaluations(evaluations(tasks(FIRST)), evaluations(second))
    accuracy, loss = found.scores
    expected = stats.ttest_rel(SECOND, FIRST).confidence_interval(0.95)
    assert (accuracy.low, accuracy.high) == pytest.approx((expected.low, expected.high))
    assert accuracy.difference == pytest.approx((SECOND - FIRST).mean())
    assert loss.difference == pytest.approx(-(SECOND - FIRST).mean())
    assert (found.is_paired, found.n_common, accuracy.n_pairs, found.n_first, found.n_second) == (True, 40, 40, 40, 40)
    assert accuracy.first is not None
    assert accuracy.first.low == pytest.approx(stats.ttest_1samp(FIRST, 0).confidence_interval(0.95).low)


@pytest.mark.parametrize(
    "changes", [{"start": 100}, {"episode_seed": 7}, {"dataset_id": "e"}, {"queries": 5}, {"classes": [-1]}],
    ids=["other ids", "other seed", "other data", "other queries", "other classes"],
)  # fmt: skip
def test_other_tasks_are_not_paired(changes: dict[str, Any]) -> None:
    [found] = compare_evaluations(evaluations(tasks(FIRST)), evaluations(tasks(SECOND, **changes)))
    accuracy = found.scores[0]
    expected = stats.ttest_ind(SECOND, FIRST, equal_var=False).confidence_interval(0.95)
    assert (found.is_paired, found.n_common, accuracy.n_pairs) == (False, 0, 0)
    assert (accuracy.low, accuracy.high) == pytest.approx((expected.low, expected.high))


def test_half_of_the_tasks_must_be_common() -> None:
    first = evaluations(tasks(FIRST))
    [most] = compare_evaluations(first, evaluations(tasks(SECOND, start=20)))
    [few] = compare_evaluations(first, evaluations(tasks(SECOND, start=21)))
    assert (most.is_paired, most.n_common, most.scores[0].n_pairs) == (True, 20, 20)
    expected = stats.ttest_rel(SECOND[:20], FIRST[20:]).confidence_interval(0.95)
    assert most.scores[0].low == pytest.approx(expected.low)
    assert (few.is_paired, few.n_common, few.scores[0].n_pairs) == (False, 19, 0)


def test_a_task_evaluated_again_counts_as_its_mean_and_older_segments_not() -> None:
    rows = [*tasks([0.0, 0.0], segment=0), *tasks([0.25, 0.5]), *tasks([0.75, 0.5])]
    [found] = evaluations(rows)
    assert found.n == 2
    assert sorted(found.scores["accuracy"].values()) == [0.5, 0.5]


def test_values_that_are_not_finite_are_left_out_and_counted() -> None:
    first, second = tasks(FIRST), tasks(SECOND)
    first[3]["loss"], second[4]["loss"], second[5]["loss"] = float("nan"), float("inf"), float("nan")
    [found] = compare_evaluations(evaluations(first), evaluations(second))
    accuracy, loss = found.scores
    assert (accuracy.n_pairs, accuracy.n_not_finite, loss.n_pairs, loss.n_not_finite) == (40, 0, 37, 3)
    kept = [n for n in range(40) if n not in (3, 4, 5)]
    assert loss.low == pytest.approx(stats.ttest_rel(-SECOND[kept], -FIRST[kept]).confidence_interval(0.95).low)
    assert loss.second is not None
    assert loss.second.n == 38
    nothing = evaluations([{**each, "loss": float("nan")} for each in tasks(FIRST)])[0]
    assert compare_two(nothing, nothing).scores[1].difference is None


def test_one_task_has_a_difference_without_interval() -> None:
    [found] = compare_evaluations(evaluations(tasks([0.5])), evaluations(tasks([0.75])))
    assert not found.is_paired
    assert found.scores[0].difference == 0.25
    assert np.isnan(found.scores[0].low)


def met(first: list[Row], second: list[Row]) -> list[tuple[Any, ...]]:
    found = compare_evaluations(evaluations(first), evaluations(second))
    return sorted(
        (one.first.method, one.first.inner_steps, one.second.method, one.second.inner_steps or 0) for one in found
    )


def test_who_meets_whom() -> None:
    def of(method: str, *steps: int | None, **changes: Any) -> list[Row]:
        return [each for step in steps for each in tasks([0.5, 0.6], method=method, inner_steps=step, **changes)]

    assert met(of("a", 5, 10), of("a", 5, 10)) == [("a", 5, "a", 5), ("a", 10, "a", 10)]
    assert met(of("a", 5, 10), of("b", 10, 5)) == [("a", 5, "b", 5), ("a", 10, "b", 10)]
    assert met(of("a", 5, 10), of("b", None)) == [("a", 5, "b", 0), ("a", 10, "b", 0)]
    assert met(of("a", 5), of("a", 5, dataset_id="e", dataset="cars")) == [("a", 5, "a", 5)]
    assert met(of("a", 5), of("a", 5, ways=20)) == []
    assert met(of("a", 5), []) == []
