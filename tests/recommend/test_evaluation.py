"""Evaluation on held-out data sets: against brute force, without leaks, and on public tables."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.recommend import (
    AverageRank,
    ChosenByHoldout,
    EmpiricalBayes,
    Evaluation,
    RandomChoice,
    ResultTable,
    evaluate,
    families,
)

from .planted import clusters, pure_noise

TABLES = Path(os.environ.get("LDE_DATA_DIR") or Path(__file__).resolve().parents[3] / "shared" / "data") / "recommend"
needs_tables = pytest.mark.skipif(not TABLES.exists(), reason=f"public tables of results are not in {TABLES}")


def test_regret_of_the_average_rank_is_that_of_brute_force() -> None:
    table, _ = clusters(8, noise=0.3)
    values = np.array([table.mean[table.dataset_index == row] for row in range(8)])
    found = evaluate(table, {}, steps=(1, 4))
    for place, name in enumerate(found.datasets):
        row = table.datasets.index(name)
        ranks = stats.rankdata(np.delete(values, row, axis=0), axis=1).sum(axis=0)
        tried = values[row][np.argsort(-ranks, kind="stable")]
        scale = 100.0 / np.ptp(values[row])
        expected = [(values[row].max() - tried[:k].max()) * scale for k in (1, 4)]
        assert found.regret["average rank"][place] == pytest.approx(expected)


def test_what_is_asked_and_told_are_raw_values_of_the_held_out_data_set() -> None:
    """A recommender that keeps what it sees: nothing of the held-out data set or its family is learned from."""
    table, _ = clusters(6)
    groups = {name: f"family {number // 2}" for number, name in enumerate(table.datasets)}
    seen: list[tuple[set[str], float]] = []

    class Spy(AverageRank):
        def fit(self, table: ResultTable) -> AverageRank:
            seen.append((set(table.datasets), 0.0))
            return super().fit(table)

    found = evaluate(table, {"spy": Spy()}, groups=groups)
    assert len(seen) == 3
    for number, (learned_from, _) in enumerate(seen):
        held_out = set(found.datasets[2 * number : 2 * number + 2])
        assert learned_from == set(table.datasets) - held_out
        assert len({groups[name] for name in held_out}) == 1


def test_constant_data_sets_are_left_out_and_directions_agree() -> None:
    table, _ = clusters(8)
    flat = ResultTable.from_columns(
        dataset=[*(table.datasets[i] for i in table.dataset_index), "flat", "flat"],
        configuration=[*(table.configurations[i] for i in table.configuration_index), "c00", "c01"],
        metric=[*table.mean, 1.0, 1.0],
    )
    assert set(evaluate(flat, {}).datasets) == set(table.datasets)
    turned, _ = clusters(8, maximize=False)
    for one in ("average rank", "eb"):
        up, down = (evaluate(t, {"eb": EmpiricalBayes(n_trees=20)}, folds=2).regret[one] for t in (table, turned))
        assert up == pytest.approx(down)


def test_differences_count_families_once() -> None:
    """Four copies of each data set make the interval no narrower when the copies are one group."""
    rng = np.random.default_rng(0)
    regret = rng.uniform(size=(10, 1))
    better = regret - rng.uniform(-0.05, 0.15, size=(10, 1))

    def interval(copies: int, grouped: bool) -> float:
        names = tuple(f"d{copy}{row}" for copy in range(copies) for row in range(10))
        found = Evaluation(
            datasets=names,
            groups=tuple(name[-1] if grouped else name for name in names),
            steps=(1,),
            regret={"average rank": np.tile(regret, (copies, 1)), "other": np.tile(better, (copies, 1))},
            ndcg={},
            fit_s={},
            ask_s={},
        ).differences()[0]
        assert found.mean == pytest.approx(float((regret - better).mean()))
        assert found.low < found.mean < found.high
        return found.high - found.low

    assert interval(4, grouped=True) == pytest.approx(interval(1, grouped=True), rel=0.05)
    assert interval(4, grouped=False) < 0.6 * interval(1, grouped=True)


def test_aggregated_repetitions_teach_more_than_single_runs() -> None:
    """The paper's experiment on planted noise: what is told and regret are measured by the truth."""
    rng = np.random.default_rng(0)
    good = np.linspace(0.0, 1.0, 12) + rng.normal(size=(10, 1))

    def table_of(values: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]) -> ResultTable:
        cells = [(f"{chr(97 + row)}set", f"c{column:02}") for row in range(10) for column in range(12)]
        return ResultTable.from_columns(
            dataset=[dataset for dataset, _ in cells for _ in range(values.shape[2])],
            configuration=[configuration for _, configuration in cells for _ in range(values.shape[2])],
            metric=values.ravel(),
        )

    def regret(table: ResultTable) -> float:
        return float(evaluate(table, {}, truth=table_of(good[:, :, None])).regret["average rank"].mean())

    runs = table_of(good[:, :, None] + rng.normal(scale=1.5, size=(10, 12, 9)))
    single = [regret(runs.single(seed=seed)) for seed in range(5)]
    assert regret(runs) < np.mean(single) / 1.5


def test_near_copies_are_families() -> None:
    table = ResultTable.from_columns(
        dataset=["monk1", "monk2", "iris", "wine", "twin"],
        configuration=["x"] * 5,
        metric=[1.0, 2.0, 3.0, 4.0, 5.0],
        descriptors={
            "monk1": {"a": 0.0, "b": 5.0},
            "monk2": {"a": 9.0, "b": 1.0},
            "iris": {"a": 3.0, "b": 2.0},
            "wine": {"a": 6.0, "b": 3.0},
            "twin": {"a": 6.0, "b": 3.0},
        },
    )
    assert families(table) == {"monk1": "monk1", "monk2": "monk1", "iris": "iris", "wine": "twin", "twin": "twin"}


def test_a_naming_scheme_is_no_family() -> None:
    """Five of eight are called task: that is how somebody counts, and no copy of a copy."""
    names = ["task_1", "task_2", "task_3", "task_4", "task_5", "iris-a", "iris-b", "wine"]
    table = ResultTable.from_columns(dataset=names, configuration=["x"] * 8, metric=np.arange(8.0))
    assert families(table) == {name: "iris-a" if name.startswith("iris") else name for name in names}
    fewer = table.for_datasets(set(names) - {"task_5"})
    assert families(fewer)["task_4"] == "task_1"


def test_a_descriptor_that_only_others_have_says_nothing_about_families() -> None:
    """As when the one data set that has it is held out; 0.1 thrice has a standard deviation that is not quite 0."""
    table = ResultTable.from_columns(
        dataset=["iris", "wine", "twin", "gone"],
        configuration=["x"] * 4,
        metric=[1.0, 2.0, 3.0, 4.0],
        descriptors={
            "iris": {"a": 1.0, "same": 0.1},
            "wine": {"a": 2.0, "same": 0.1},
            "twin": {"a": 3.0, "same": 0.1},
            "gone": {"alone": 3.0},
        },
    )
    left = table.for_datasets(["iris", "wine", "twin"])
    assert families(left, distance=0.3) == {"iris": "iris", "wine": "wine", "twin": "twin"}


def test_what_cannot_be_evaluated_is_refused() -> None:
    table = pure_noise(3)
    with pytest.raises(ConfigurationError, match="steps are"):
        evaluate(table, {}, steps=(0,))
    with pytest.raises(ConfigurationError, match="groups lacks"):
        evaluate(table, {}, groups={"aset": "a"})
    with pytest.raises(ConfigurationError, match="at least 2"):
        evaluate(table, {}, groups=dict.fromkeys(table.datasets, "one"))
    with pytest.raises(DataError, match="nothing can be evaluated"):
        evaluate(table, {}, min_range=100.0)
    with pytest.raises(ConfigurationError, match="was not evaluated"):
        evaluate(table, {}).differences(baseline="nonsense")


@pytest.mark.slow
@needs_tables
def test_public_results_of_many_learners() -> None:
    """164 data sets, folds by family: the targets of the issue, and the average rank as others measured it."""
    table = ResultTable.from_file(
        TABLES / "pmlb_results.tsv.gz",
        metric="bal_accuracy",
        settings=["algorithm", "parameters"],
        descriptors=TABLES / "pmlb_metafeatures.csv.gz",
    )
    found = evaluate(
        table, {"ours": EmpiricalBayes(), "random": RandomChoice()}, folds=10, groups=families(table), min_range=0.01
    )
    assert len(found.datasets) == 164
    average = dict(zip(found.steps, found.regret["average rank"].mean(axis=0), strict=True))
    assert [average[step] for step in (1, 5, 10, 20)] == pytest.approx([11.7, 8.7, 6.6, 5.5], abs=0.4)
    ours = dict(zip(found.steps, found.regret["ours"].mean(axis=0), strict=True))
    # A division into folds and a draw of trees moves each figure by some tenths.
    for step, most in ((1, 11.5), (5, 5.6), (10, 3.9), (20, 2.3)):
        assert ours[step] < most
    for one in found.differences():
        if one.recommender == "ours" and one.step >= 5:
            assert one.low > 0.0


@pytest.mark.slow
@needs_tables
def test_configurations_of_each_data_sets_own_in_public() -> None:
    table = ResultTable.from_file(
        TABLES / "deepar_hpo.csv.zip",
        dataset="task",
        metric="metric_CRPS",
        settings=[
            "hp_learning_rate_log",
            "hp_num_batches_per_epoch_log",
            "hp_num_cells",
            "hp_context_length_ratio_log",
        ],
        descriptors=["dataset_prediction_length"],
        maximize=False,
    )
    found = evaluate(table, {"ours": ChosenByHoldout(), "random": RandomChoice()})
    by_name = {name: regret.mean() for name, regret in found.regret.items()}
    assert by_name["average rank"] < by_name["random"]
    for one in found.differences():
        if one.recommender == "ours":
            assert one.high >= 0.0
