"""Recommenders on planted structure, on noise, and against plain references."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from lightning_lde.errors import ConfigurationError
from lightning_lde.recommend import (
    AverageRank,
    ChosenByHoldout,
    EmpiricalBayes,
    GreedyPortfolio,
    MatrixFactorisation,
    NearestDatasets,
    RandomChoice,
    Recommender,
    ResultTable,
    SurrogateAcrossDatasets,
)
from lightning_lde.recommend._empirical_bayes import location_for_scales
from lightning_lde.recommend._experience import experience_of
from lightning_lde.recommend._scores import ScoreMatrix

from .planted import CONFIGURATIONS, clusters, pure_noise

ALL = [
    AverageRank,
    ChosenByHoldout,
    EmpiricalBayes,
    GreedyPortfolio,
    MatrixFactorisation,
    NearestDatasets,
    RandomChoice,
    SurrogateAcrossDatasets,
]
KIND = {"kind": 1.0, "complexity": 1.0, "size": 0.0}


@pytest.fixture(scope="module")
def planted() -> ResultTable:
    return clusters()[0]


@functools.cache
def learned_from_few(make: Callable[[], Recommender]) -> Recommender:
    return make().fit(clusters(8)[0])


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("make", [EmpiricalBayes, SurrogateAcrossDatasets, NearestDatasets])
def test_descriptors_tell_the_right_configuration_at_once(make: type[EmpiricalBayes], maximize: bool) -> None:
    table, best = clusters(maximize=maximize)
    learned = make().fit(table.for_datasets(table.datasets[6:]))
    for name in table.datasets[:6]:
        assert learned.start(table.descriptors_of(name)).ask() == [best[name]]


def test_the_default_finds_them_too_and_says_no_reason_against_itself(planted: ResultTable) -> None:
    default = ChosenByHoldout().fit(planted)
    assert default.chosen == "empirical Bayes"
    assert default.reason is None
    assert default.start(KIND).ask() == ["c01"]
    regrets = {one.recommender: one.regret for one in default.held_out}
    assert default.expected_regret == regrets["empirical Bayes"]
    assert default.expected_regret[0] < regrets["average rank"][0] / 2 < regrets["random"][0] / 2


@pytest.mark.parametrize("make", [lambda: EmpiricalBayes(descriptors=False), MatrixFactorisation])
def test_without_descriptors_two_answers_tell(planted: ResultTable, make: type[EmpiricalBayes]) -> None:
    _, truth = clusters()
    learned = make().fit(planted.for_datasets(planted.datasets[4:]))
    for name in planted.datasets[:4]:
        session = learned.start(planted.descriptors_of(name))
        value = dict(
            zip(CONFIGURATIONS, planted.mean[planted.dataset_index == planted.datasets.index(name)], strict=True)
        )
        asked: list[str] = []
        for _ in range(3):
            asked += session.ask()
            session.tell(asked[-1], value[asked[-1]])
        assert truth[name] in asked


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_noise_teaches_nothing_and_that_is_said(seed: int) -> None:
    default = ChosenByHoldout().fit(pure_noise(seed=seed))
    assert default.chosen == "average rank"
    assert default.reason is not None
    assert "nothing can be learned" in default.reason


def test_too_few_data_sets_are_said() -> None:
    table, _ = clusters(3)
    default = ChosenByHoldout().fit(table)
    assert default.chosen == "average rank"
    assert "too few" in str(default.reason)
    assert len(default.start(KIND).ask(4)) == 4


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5])
def test_data_sets_with_one_configuration_each_are_said(values: list[float]) -> None:
    table = ResultTable.from_columns(dataset=list("abcde"), configuration=list("xyxyz"), metric=values)
    default = ChosenByHoldout().fit(table)
    assert default.chosen == "average rank"
    assert "nothing to compare" in str(default.reason)
    assert sorted(default.start().ask(3)) == ["x", "y", "z"]


def test_average_rank_is_the_mean_of_ranks(planted: ResultTable) -> None:
    values = np.array([planted.mean[planted.dataset_index == row] for row in range(len(planted.datasets))])
    ranks = stats.rankdata(values, axis=1).mean(axis=0)
    asked = AverageRank().fit(planted).start().ask(30)
    assert asked == [CONFIGURATIONS[place] for place in np.argsort(-ranks, kind="stable")]


def test_a_portfolio_covers_the_kinds_of_data_sets(planted: ResultTable) -> None:
    assert set(GreedyPortfolio().fit(planted).start().ask(3)) == {"c00", "c01", "c02"}


@pytest.mark.parametrize("make", ALL)
def test_sessions_propose_each_untried_candidate_once(make: type[AverageRank]) -> None:
    session = learned_from_few(make).start(KIND, candidates=CONFIGURATIONS[5:15])
    first = session.ask(3)
    assert len(set(first)) == 3
    seen = []
    for number in range(10):
        (asked,) = session.ask()
        session.tell(asked, float("nan") if number == 4 else 0.1 * number)
        seen.append(asked)
    assert sorted(seen) == CONFIGURATIONS[5:15]
    assert session.ask(5) == []


@pytest.mark.parametrize("make", ALL)
def test_what_was_told_is_predicted(make: type[AverageRank]) -> None:
    session = learned_from_few(make).start(KIND)
    session.tell("c07", 3.25)
    predicted = session.predict()
    assert predicted.mean[7] == pytest.approx(3.25, abs=1e-3)
    assert predicted.sd[7] == pytest.approx(0.0, abs=1e-2)
    assert np.isfinite(predicted.mean).all()
    assert (predicted.sd >= 0.0).all()


@pytest.mark.parametrize("make", ALL)
def test_misuse_is_refused(make: type[AverageRank]) -> None:
    with pytest.raises(ConfigurationError, match="call fit"):
        make().start()
    learned = learned_from_few(make)
    with pytest.raises(ConfigurationError, match="not one of the 30"):
        learned.start(candidates=["nonsense"])
    with pytest.raises(ConfigurationError, match="no candidate"):
        learned.start(candidates=[])
    session = learned.start()
    with pytest.raises(ConfigurationError, match="not among the 30"):
        session.tell("nonsense", 1.0)
    with pytest.raises(ConfigurationError, match="k is 0"):
        session.ask(0)


def test_intervals_cover_what_comes_out() -> None:
    """Nominal 95 % intervals of new data sets, before anything was told and after three results."""
    table, _ = clusters(60, noise=0.1, seed=3)
    inside: dict[int, list[bool]] = {0: [], 3: []}
    for fold in range(4):
        held_out = table.datasets[fold::4]
        learned = EmpiricalBayes(n_trees=30).fit(table.for_datasets(set(table.datasets) - set(held_out)))
        for name in held_out:
            values = table.mean[table.dataset_index == table.datasets.index(name)]
            session = learned.start(table.descriptors_of(name))
            for told in range(4):
                if told in inside:
                    predicted = session.predict()
                    inside[told] += list(abs(values - predicted.mean)[told:] < 1.96 * predicted.sd[told:])
                session.tell(CONFIGURATIONS[told], values[told])
    for found in inside.values():
        assert 0.88 < np.mean(found) <= 1.0


@pytest.mark.parametrize("n_datasets", [2, 3, 8])
def test_intervals_from_few_data_sets_cover_what_comes_out(n_datasets: int) -> None:
    """Nominal 95 % intervals of one more data set, over 200 tables."""
    inside = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = (
            rng.normal(size=(n_datasets + 1, 1)) + 0.3 * rng.normal(size=8) + 0.1 * rng.normal(size=(n_datasets + 1, 8))
        )
        table = ResultTable.from_columns(
            dataset=np.repeat([f"{chr(97 + row)}set" for row in range(n_datasets)], 8).tolist(),
            configuration=[f"c{column}" for column in range(8)] * n_datasets,
            metric=values[:-1].ravel(),
        )
        predicted = AverageRank().fit(table).start().predict()
        inside.append(np.mean(abs(values[-1] - predicted.mean) < 1.96 * predicted.sd))
    assert 0.91 < np.mean(inside) < 0.99


def test_configurations_of_each_data_sets_own_are_learned_from_by_their_settings() -> None:
    """A random search on each data set: the best learning rate is the same, no configuration is."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(-5.0, 0.0, size=(8, 60))
    table = ResultTable.from_columns(
        dataset=np.repeat([f"{chr(97 + row)}set" for row in range(8)], 60).tolist(),
        settings={"rate": (10.0**rates).ravel().tolist(), "other": rng.uniform(size=480).tolist()},
        metric=(-((rates + 2.0) ** 2) * rng.uniform(1, 3, size=(8, 1)) + rng.normal(size=(8, 1))).ravel(),
    )
    experience = experience_of(table.for_datasets(table.datasets[1:]))
    assert not experience.shares_configurations
    own = [table.configurations[i] for i in table.configuration_index[table.dataset_index == 0]]
    for make in (AverageRank, EmpiricalBayes, GreedyPortfolio, MatrixFactorisation):
        asked = make().learn(experience).start(candidates=own).ask()
        assert abs(np.log10(table.settings_of(asked[0])["rate"]) + 2.0) < 0.4


@pytest.mark.parametrize(("count", "slope"), [(3, 0.0), (12, -2.0)])
def test_where_a_data_set_lies_goes_with_its_scale(count: int, slope: float) -> None:
    scale = np.linspace(0.5, 1.5, count)
    location = 3.0 - 2.0 * scale + 0.1 * np.where(np.arange(count) % 2, 1.0, -1.0)
    past = ScoreMatrix(values=np.zeros((count, 1)), location=location, scale=scale, noise=np.zeros(count))
    mean, variance = location_for_scales(past, np.array([0.8, 1.0]))
    assert np.diff(mean)[0] == pytest.approx(0.2 * slope, abs=0.02)
    errors = (
        location - location.mean() if slope == 0.0 else location - np.polyval(np.polyfit(scale, location, 1), scale)
    )
    degrees = count if slope == 0.0 else count - 2
    np.testing.assert_allclose(variance, (errors**2).sum() / degrees + np.array([0.64, 1.0]) / 100.0)


@pytest.mark.parametrize(("lead", "chosen"), [(0.1, "empirical Bayes"), (3.0, "greedy portfolio")])
def test_the_default_leaves_what_learns_from_answers_only_for_what_is_surely_better(lead: float, chosen: str) -> None:
    rng = np.random.default_rng(0)
    names = ("random", "average rank", "greedy portfolio", "empirical Bayes")
    means = (40.0, 20.0, 10.0 - lead, 10.0)
    regrets = {name: mean + rng.normal(size=(30, 20)) for name, mean in zip(names, means, strict=True)}
    default = ChosenByHoldout()
    default._choose(regrets, [str(number) for number in range(30)], agreement=0.0)
    assert default.chosen == chosen
