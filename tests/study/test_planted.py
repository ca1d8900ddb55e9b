"""Planted truth: lakes in which the metric follows diversity by a known slope, by none, or by something else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from scipy import stats

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.recording import add_results
from lightning_lde.schema import Dataset, DatasetConfig, Embedding, utc_now
from lightning_lde.study import (
    AnalysisOptions,
    StudyAnalysis,
    analysis_figures,
    dataset_diversities,
    record_analysis,
    result_id_of,
)
from lightning_lde.ui import answer, study_report, verdict

from .synthetic import MAML, PRETRAINING, SyntheticLake, Value

N, TASKS, FILTERS = 16, 12, 48
NAMES = [f"set {place}" for place in range(N)]
SLOPE = 0.6
NOISE = np.random.default_rng(1).normal(size=(N, 2))


def embeddings_of(dataset: str, place: int, rng: np.random.Generator) -> list[Embedding]:
    """Two halves of each task: log profiles that scatter over tasks the more, the later the data set."""
    found = []
    for task in range(TASKS):
        profile = rng.normal(scale=0.2 + 0.05 * place, size=FILTERS)
        for half in range(2):
            vector = np.exp(profile + rng.normal(scale=0.1, size=FILTERS))
            found.append(
                Embedding(
                    dataset_id=dataset, dataset_config_id=f"tasks of {dataset}", recorded_at=utc_now(), task_seed=0,
                    task_index=task, probe_id="planted", method="task2vec", vector=vector.tolist(),
                    complexity=float(vector.sum()), n_images=20, half=half,
                )
            )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def diversity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, dict[str, float]]:
    """A lake with planted embeddings, and the diversities that follow from them."""
    made = SyntheticLake(tmp_path_factory.mktemp("planted") / "lake")
    storage, rng = made.lake.storage, np.random.default_rng(0)
    configs = [
        DatasetConfig(
            dataset_config_id=f"tasks of {name}", recorded_at=utc_now(), dataset_id=name,
            settings={"ways": 5, "images_per_class": 4},
        )
        for name in NAMES
    ]  # fmt: skip
    add_results(storage, "dataset_configs", configs, project="p")
    rows = [row for place, name in enumerate(NAMES) for row in embeddings_of(name, place, rng)]
    add_results(storage, "datasets", [Dataset(dataset_id=one, name=one, recorded_at=utc_now()) for one in NAMES],
                project="p")  # fmt: skip
    add_results(storage, "embeddings", rows, project="p")
    found = {one.dataset: one.coefficient.value for one in dataset_diversities(made.lake)}
    assert stats.spearmanr([found[name] for name in NAMES], range(N)).statistic > 0.9
    return made.lake, found


def lake_of(
    folder: Path, diversity: dict[str, float], slopes: dict[str, float], *, classes: dict[str, int] | None = None
) -> SyntheticLake:
    """Accuracies of both methods on the same tasks, with noise of data sets and of tasks around planted lines."""
    made = SyntheticLake(folder)
    made.add_datasets(diversity, probe="planted", classes=classes)
    for column, (method, slope) in enumerate(slopes.items()):
        made.add_runs(NAMES, method, planted(diversity, slope, column), seeds=2)
    return made


def planted(diversity: dict[str, float], slope: float, column: int) -> Value:
    def value(dataset: str, seed: int, task: int) -> float:
        place = int(dataset.split()[-1])
        noise = (
            0.03 * NOISE[place, column]
            + 0.01 * math.sin(5.0 * task + place + 3.0 * column)
            + 0.003 * seed * math.cos(place)
        )
        return 0.2 + slope * diversity[dataset] + noise

    return value


def of(analysis: StudyAnalysis, method: str) -> Any:
    (found,) = (one for one in analysis.configurations if one.method == method)
    return found


def test_a_planted_rise_of_maml_alone_is_found(tmp_path: Path, diversity: tuple[Lake, dict[str, float]]) -> None:
    _, values = diversity
    scaled = {name: value / max(values.values()) for name, value in values.items()}
    found = lake_of(tmp_path / "lake", scaled, {MAML: SLOPE, PRETRAINING: 0.0}).analyse()
    maml, base, (comparison,) = of(found, MAML), of(found, PRETRAINING), found.comparisons
    assert maml.slope_bounds[0] < SLOPE < maml.slope_bounds[1]
    assert maml.bootstrap_bounds[0] < SLOPE < maml.bootstrap_bounds[1]
    assert maml.mixed.slope_low < SLOPE < maml.mixed.slope_high
    assert maml.mixed.n == 2 * N
    assert base.slope_bounds[0] < 0.0 < base.slope_bounds[1]
    assert comparison.difference.slope_difference_low < SLOPE < comparison.difference.slope_difference_high
    assert (maml.p_holm < 0.05, base.p_holm < 0.05, comparison.p_slope_holm < 0.05) == (True, False, True)
    assert "Shown for MAML first order, 5 steps. More for MAML than for pretraining? Shown for" in answer(found)
    # What is equal for all data sets is no covariate, what nobody stored neither.
    assert {one.name: one.reason for one in found.covariates}["images, log10"] == "the same for all data sets"
    assert [one.equivalence.is_equivalent for one in found.effects] == [False]


def test_without_a_relation_none_is_claimed(tmp_path: Path, diversity: tuple[Lake, dict[str, float]]) -> None:
    _, values = diversity
    found = lake_of(tmp_path / "lake", values, {MAML: 0.0, PRETRAINING: 0.0}).analyse(
        options=AnalysisOptions(margin=0.2)
    )
    assert not any(one.p_holm < 0.05 for one in found.configurations)
    assert answer(found).count("Not shown for any configuration, and not ruled out.") == 2
    # The same means up to noise: within a wide margin they are equivalent, as they were planted.
    assert [one.equivalence.is_equivalent for one in found.effects] == [True]


def test_a_covariate_that_changes_with_diversity_exactly_is_said(tmp_path: Path) -> None:
    diversity = {name: math.log10(4 + place) / 10 for place, name in enumerate(NAMES)}
    classes = {name: 4 + place for place, name in enumerate(NAMES)}
    found = lake_of(tmp_path / "lake", diversity, {MAML: 5 * SLOPE, PRETRAINING: 0.0}, classes=classes).analyse()
    assert of(found, MAML).p_holm < 0.05
    assert any(
        note.startswith("Confounded: diversity and classes, log10 change together exactly") for note in found.notes
    )
    assert "cannot say which of them it follows" in answer(found)
    assert "Shown" not in answer(found)
    (beside,) = (one for one in of(found, MAML).adjusted if one.covariates == ("classes, log10",))
    assert beside.regression is None
    assert "cannot be told apart" in str(beside.reason)


def test_families_of_data_sets_count_once(tmp_path: Path, diversity: tuple[Lake, dict[str, float]]) -> None:
    _, values = diversity
    made = lake_of(tmp_path / "lake", values, {MAML: SLOPE, PRETRAINING: 0.0})
    families = {name: f"family {place // 2}" for place, name in enumerate(NAMES[:8])}
    found = made.analyse(options=AnalysisOptions(families=families))
    maml = of(found, MAML)
    assert (maml.correlation.n, maml.n_families, maml.regression.n_clusters) == (N, N - 4, N - 4)
    assert maml.p == maml.regression.p_bootstrap
    assert maml.slope_bounds == maml.bootstrap_bounds
    assert math.isnan(found.comparisons[0].difference.p_williams)
    assert found.comparisons[0].p == found.comparisons[0].difference.p_jackknife
    said = " ".join([study_report(found), *verdict(found)])
    assert "Williams" not in said
    assert "at the 5 % level (jackknife over families, Holm)" in said
    assert "permutation of" not in said
    # One that is a family of its own is as independent as before.
    alone = made.analyse(options=AnalysisOptions(families={NAMES[0]: "alone"}))
    assert of(alone, MAML).p == of(alone, MAML).correlation.p_permutation
    said = " ".join([study_report(alone), *verdict(alone)])
    assert "(Williams, Holm)" in said
    assert "jackknife over families" not in said


def test_figures_go_into_the_lake_once(tmp_path: Path, diversity: tuple[Lake, dict[str, float]]) -> None:
    _, values = diversity
    made = lake_of(tmp_path / "lake", values, {MAML: SLOPE, PRETRAINING: 0.0})
    first = made.analyse()
    result_id = record_analysis(made.lake, first)

    def rows() -> tuple[int, int]:
        return tuple(made.lake.sql(f"select * from stored.{table}").num_rows for table in ("results", "links"))

    stored = rows()
    assert record_analysis(made.lake, made.analyse()) == result_id
    assert rows() == stored
    (row,) = made.lake.sql("select kind, project, figures from results where result_id = ?", [result_id]).to_pylist()
    assert (row["kind"], row["project"]) == ("correlation", "p")
    linked = made.lake.sql(
        "select target_kind, target_id from links where source_id = ? and relation = 'derived_from'", [result_id]
    ).to_pylist()
    assert sorted(one["target_id"] for one in linked if one["target_kind"] == "run") == sorted(first.run_ids)
    assert sorted(one["target_id"] for one in linked if one["target_kind"] == "dataset") == sorted(NAMES)
    # Another decision, or other data, are another result.
    assert result_id_of(replace(first, options=AnalysisOptions(margin=0.02))) != result_id
    made.add_datasets(dict(values, **{NAMES[0]: values[NAMES[0]] + 0.1}), probe="planted")
    assert result_id_of(made.analyse()) != result_id


@pytest.mark.slow
def test_stored_embeddings_give_the_heat_map_and_other_measures(
    diversity: tuple[Lake, dict[str, float]],
) -> None:
    lake, values = diversity
    made = SyntheticLake.of(lake)
    made.add_datasets(values, probe="planted")
    for column, (method, slope) in enumerate({MAML: SLOPE, PRETRAINING: 0.0}.items()):
        made.add_runs(NAMES, method, planted(values, slope, column), seeds=2)
    found = made.analyse()
    assert found.distances is not None
    assert len(found.distances.labels) == N * TASKS
    assert len(found.measures) >= 4
    assert found.measures[0].is_taken
    assert found.measures[0].rank_correlation == pytest.approx(1.0)
    assert "complexity of tasks" in {one.name for one in found.covariates if one.reason is None}
    page = study_report(found)
    assert 'id="figure-heat-map"' in page
    assert 'id="distances"' in page
    assert page == study_report(made.analyse())
    kinds = lake.sql(
        "select distinct target_kind from links where source_id = ?", [record_analysis(lake, found)]
    ).column("target_kind")
    assert set(kinds.to_pylist()) == {"run", "dataset", "embeddings"}
    assert set(analysis_figures(found)) >= {"configurations", "comparisons", "effects", "needs", "measures", "p"}


def test_the_command_gives_every_figure_as_json(tmp_path: Path, diversity: tuple[Lake, dict[str, float]]) -> None:
    made = lake_of(tmp_path / "lake", diversity[1], {MAML: SLOPE, PRETRAINING: 0.0})

    def asked(*words: str) -> Result:
        return CliRunner().invoke(app, ["correlate", str(made.lake.url), *words])

    found = json.loads(asked("--format", "json", "--margin", "0.05").stdout)
    assert [one["label"] for one in found["configurations"]] == [
        "MAML first order, 5 steps", "Pretraining + logistic regression",
    ]  # fmt: skip
    assert found["options"]["margin"] == 0.05
    assert found["comparisons"][0]["difference"]["n"] == N
    assert {query["name"] for query in found["queries"]} >= {"diversity per data set"}
    stored = made.lake.sql("select result_id, figures->'needs'->>'n' as n from results").to_pylist()
    assert stored == [{"result_id": found["result_id"], "n": str(N)}]


def test_names_reach_no_terminal_as_codes(tmp_path: Path, diversity: tuple[Lake, dict[str, float]]) -> None:
    made = lake_of(tmp_path / "lake", diversity[1], {MAML: SLOPE})
    made.add_datasets({"odd": None}, names={"odd": "\x1b[31mred\r\x07"})
    made.add_runs(["odd"], MAML, lambda *_: 0.5)
    done = CliRunner().invoke(app, ["correlate", str(made.lake.url), "--no-record"], color=True)
    assert "without a diversity:  [31mred" in done.stderr
    assert all(char.isprintable() or char == "\n" for char in done.stderr)


@pytest.mark.slow
def test_the_command_writes_plots_and_no_figures_where_none_are_to_be(
    tmp_path: Path, diversity: tuple[Lake, dict[str, float]]
) -> None:
    made = lake_of(tmp_path / "lake", diversity[1], {MAML: SLOPE, PRETRAINING: 0.0})
    words = ["correlate", str(made.lake.url), "--no-record", "--plots", str(tmp_path / "plots")]
    done = CliRunner().invoke(app, words)
    assert "MAML first order, 5 steps" in done.stdout
    assert "Does accuracy rise with diversity?" in done.stderr
    assert made.lake.sql("select * from stored.results").num_rows == 0
    assert (tmp_path / "plots" / "scatter.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--family", "sound"], "is not NAME=SET,SET"),
        (["--family", "a=set 1", "--family", "b=set 1"], "is of two families, 'a' and 'b'"),
        (["--family", "a=set 1,nowhere"], "no data set 'nowhere' to be of a family"),
        (["--margin", "0"], "expected a number above 0"),
        (["--smallest", "1"], "the smallest R² of interest is 1.0"),
        (
            ["--probe", "other"],
            "probe 'other' is the beginning of 0 ids of probes whose diversity the data sets bear; there are: planted",
        ),
    ],
)
def test_decisions_that_cannot_be_taken_are_said(
    tmp_path: Path, diversity: tuple[Lake, dict[str, float]], words: list[str], said: str
) -> None:
    made = lake_of(tmp_path / "lake", diversity[1], {MAML: SLOPE})
    done = CliRunner().invoke(app, ["correlate", str(made.lake.url), *words])
    assert done.exit_code != 0
    assert said in done.output + str(done.exception)
    assert made.lake.sql("select * from stored.results").num_rows == 0
