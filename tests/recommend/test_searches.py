"""Tables where each data set had a search of its own, so that hardly any configuration was tried twice."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_lde.recommend import ChosenByHoldout, EmpiricalBayes, ResultTable, recommend
from lightning_lde.recommend._candidates import candidates_of
from lightning_lde.recommend._experience import Experience, experience_of
from lightning_lde.recommend._trees import DescribedScores

from .planted import clusters

GOOD = {0: 0.2, 1: 0.8}
"""The rate that is best for each kind of data set."""


def reached(kind: int, rate: float) -> float:
    return 1.0 - (rate - GOOD[kind]) ** 2


def searches(n_datasets: int = 12, trials: int = 40, *, seed: int = 0) -> ResultTable:
    """Data sets of two kinds that a descriptor tells, each with rates of its own and a setting without effect."""
    rng = np.random.default_rng(seed)
    names = [f"{chr(97 + number)} images" for number in range(n_datasets)]
    rates, others = rng.random((n_datasets, trials)), rng.random((n_datasets, trials))
    values = [reached(row % 2, rate) + 0.002 * rng.normal() for row in range(n_datasets) for rate in rates[row]]
    return ResultTable.from_columns(
        dataset=[name for name in names for _ in range(trials)],
        settings={"rate": rates.ravel().tolist(), "other": others.ravel().tolist()},
        metric=values,
        descriptors={name: {"kind": row % 2 + 0.1 * rng.normal()} for row, name in enumerate(names)},
    )


@pytest.fixture(scope="module")
def searched() -> ResultTable:
    return searches()


def test_what_suits_a_kind_of_data_set_is_proposed_for_it(searched: ResultTable) -> None:
    learned = ChosenByHoldout().fit(searched)
    assert learned.reason is None
    for kind, good in GOOD.items():
        proposed = learned.start({"kind": float(kind)}).ask()[0]
        assert abs(float(searched.settings_of(proposed)["rate"]) - good) < 0.15


def test_a_hundred_results_of_its_own_tell_the_kind(searched: ResultTable) -> None:
    rates = {one: float(searched.settings_of(one)["rate"]) for one in searched.configurations}
    told = {one: reached(1, rate) for one, rate in list(rates.items())[::3]}
    assert len(told) > 100
    found = recommend(searched, None, 3, recommender=EmpiricalBayes(improvement=False), told=told)
    assert all(abs(rates[one.configuration] - GOOD[1]) < 0.15 for one in found.proposals)
    assert abs(found.proposals[0].mean - 1.0) < 0.02


@pytest.mark.parametrize("table", [searches(), clusters(12)[0]], ids=["searches", "shared"])
def test_what_is_expected_of_a_candidate_depends_on_no_other(table: ResultTable) -> None:
    experience: Experience = experience_of(table)
    means = DescribedScores(experience, n_trees=20)
    everything = np.arange(len(table.configurations))
    some = everything[::7]
    described = table.descriptors_of(table.datasets[0])
    whole, part = means.expect(everything, described), means.expect(some, described)
    np.testing.assert_allclose(part.mean, whole.mean[some])
    np.testing.assert_allclose(part.residuals, whole.residuals[:, some], atol=1e-12)


@pytest.mark.parametrize("maximize", [True, False])
def test_of_very_many_configurations_the_best_of_each_data_set_are_candidates(maximize: bool) -> None:
    sizes = {"a": 1500, "b": 700, "c": 30}
    rows = [(name, f"{name}{number:04}", number) for name, size in sizes.items() for number in range(size)]
    datasets, configurations, values = zip(*rows, strict=True)
    table = ResultTable.from_columns(
        dataset=datasets, configuration=configurations, metric=values, maximize=maximize
    ).aggregated()
    found = candidates_of(table, ["a0750"])
    of_each = {name: [int(one[1:]) for one in found if one[0] == name] for name in sizes}
    best = range(1500 - 666, 1500) if maximize else range(666)
    assert of_each["a"] == sorted([*best, 750])
    assert of_each["b"] == list(range(34, 700) if maximize else range(666))
    assert of_each["c"] == list(range(30))
