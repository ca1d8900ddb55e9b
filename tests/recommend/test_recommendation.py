"""A recommendation: what it says, and what it rests on."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from lightning_lde.errors import ConfigurationError
from lightning_lde.recommend import AverageRank, EmpiricalBayes, Recommender, ResultTable, recommend

from .planted import clusters, pure_noise

KIND = {"kind": 1.0, "complexity": 1.0, "size": 0.0}


@pytest.fixture(scope="module")
def planted() -> ResultTable:
    return clusters(24, repetitions=3, noise=0.02)[0]


def test_the_right_configuration_comes_first_with_its_evidence(planted: ResultTable) -> None:
    found = recommend(planted, KIND, 3)
    first = found.proposals[0]
    assert first.configuration == "c01"
    assert (first.n_datasets, first.n_repetitions) == (24, 72)
    assert first.low < first.mean < first.high
    assert first.expected_regret is not None
    assert len({one.configuration for one in found.proposals}) == 3
    assert (found.n_datasets, found.n_runs, found.reason) == (24, 72 * 30, None)
    similarities = [one.similarity for one in found.similar]
    assert similarities == sorted(similarities, key=lambda one: -float(one or 0.0))
    assert [one.dataset for one in first.evidence] == [one.dataset for one in found.similar[:5]]
    # On data sets of its kind the configuration was the best of all.
    assert first.evidence[0].rank == 1.0
    assert first.evidence[0].n == 3
    low, high = first.evidence[0].low, first.evidence[0].high
    assert low is not None
    assert high is not None
    assert low < first.evidence[0].mean < high


def test_it_is_plain_json(planted: ResultTable) -> None:
    found = recommend(planted, KIND, 2)
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [one["configuration"] for one in again["proposals"]] == [one.configuration for one in found.proposals]


def test_what_was_told_is_not_proposed_again_and_changes_what_is(planted: ResultTable) -> None:
    """Told that the best of the other kind is good here, the descriptors are not believed any more."""
    name = next(name for name in planted.datasets if planted.descriptors_of(name)["kind"] < 0.5)
    cells = planted.aggregated()
    here = cells.dataset_index == cells.datasets.index(name)
    values = dict(
        zip((cells.configurations[i] for i in cells.configuration_index[here]), cells.mean[here], strict=True)
    )
    told = {key: values[key] for key in ("c01", "c05", "c06", "c07")}
    found = recommend(planted, KIND, 1, told=told)
    assert found.proposals[0].configuration == "c00"


def test_noise_is_called_noise() -> None:
    found = recommend(pure_noise(), {"size": 0.0, "classes": 1.0}, 2)
    assert found.recommender == "average rank"
    assert "nothing can be learned" in str(found.reason)


def test_the_important_setting_is_found_and_the_runner_up_differs_in_what_is_said() -> None:
    rng = np.random.default_rng(0)
    grid = [(rate, depth) for rate in (0.001, 0.01, 0.1, 1.0) for depth in (1, 2, 3)]
    datasets = [name for name in "abcdefgh" for _ in grid]
    rates, depths = [rate for rate, _ in grid] * 8, [depth for _, depth in grid] * 8
    metric = -((np.log10(rates) + 2.0) ** 2) + 0.1 * np.array(depths) + rng.normal(scale=0.02, size=len(rates))
    table = ResultTable.from_columns(dataset=datasets, settings={"rate": rates, "depth": depths}, metric=metric)
    found = recommend(table, k=1)
    assert found.proposals[0].settings == {"rate": 0.01, "depth": 3}
    assert list(found.importance) == ["rate", "depth"]
    assert found.importance["rate"] > 0.8
    assert sum(found.importance.values()) == pytest.approx(1.0)
    assert found.contrast is not None
    assert found.contrast.settings == {"depth": (3, 2)}
    assert 0.0 < found.contrast.difference < 0.3
    assert found.contrast.probability_better > 0.5


@pytest.mark.parametrize("rates", [(0.1, 0.2), (0.1, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)])
def test_what_drives_a_few_configurations_is_said(rates: tuple[float, ...]) -> None:
    table = ResultTable.from_columns(
        dataset=["a"] * len(rates) + ["b"] * len(rates), settings={"rate": rates * 2}, metric=rates * 2
    )
    assert recommend(table, k=1).importance == {"rate": pytest.approx(1.0)}


def test_settings_that_tell_no_results_apart_share_nothing() -> None:
    """One configuration of twelve has a setting of its own: that could be chance."""
    names = [f"c{number:02}" for number in range(12)]
    table = ResultTable.from_columns(
        dataset=["a"] * 12 + ["b"] * 12,
        configuration=names * 2,
        settings={"act": [*["relu"] * 11, "gelu"] * 2},
        metric=list(range(12)) * 2,
    )
    assert recommend(table, k=1).importance == {}


@pytest.mark.parametrize("make", [AverageRank, lambda: EmpiricalBayes(n_trees=20)])
@pytest.mark.parametrize("maximize", [True, False])
def test_where_a_data_set_lies_does_not_hide_that_one_is_always_better(
    make: Callable[[], Recommender], maximize: bool
) -> None:
    """Data sets lie a hundred times as far apart as the configurations on each of them."""
    rng = np.random.default_rng(0)
    values = 100.0 * rng.normal(size=(12, 1)) + [0.0, 1.0, 2.0] + 0.1 * rng.normal(size=(12, 3))
    table = ResultTable.from_columns(
        dataset=np.repeat([f"{chr(97 + row)}set" for row in range(12)], 3).tolist(),
        configuration=["x", "y", "z"] * 12,
        metric=(values if maximize else -values).ravel(),
        maximize=maximize,
    )
    found = recommend(table, k=1, recommender=make())
    assert found.proposals[0].configuration == "z"
    assert found.contrast is not None
    assert found.contrast.runner_up == "y"
    assert found.contrast.difference == pytest.approx(1.0 if maximize else -1.0, rel=0.3)
    assert found.contrast.probability_better > 0.95
    assert found.proposals[0].high - found.proposals[0].low > 100.0


def test_smaller_is_better_where_it_is() -> None:
    table, _ = clusters(24, maximize=False)
    found = recommend(table, KIND, 1)
    assert found.proposals[0].configuration == "c01"
    assert found.contrast is not None
    assert found.contrast.difference < 0.0
    assert found.contrast.probability_better > 0.5


def test_wrong_wishes_are_refused(planted: ResultTable) -> None:
    with pytest.raises(ConfigurationError, match="confidence is 95"):
        recommend(planted, KIND, confidence=95)
    with pytest.raises(ConfigurationError, match="k is 0"):
        recommend(planted, KIND, 0)
