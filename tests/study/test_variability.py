"""Groups of repetitions on lakes written row by row: what is grouped, what is decomposed, what is said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_lde import Lake
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.schema import Dataset, DatasetConfig, Episode, Metric, Pipeline, PipelineConfig, Run
from lightning_lde.statistics import pooled_deviation, repetitions_required, variance_components
from lightning_lde.study import VariabilityAnalysis, analyse_variability
from lightning_lde.ui import variability_text

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


class RunsByHand:
    """Writes finished runs with their ids and metrics."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(folder).create()
        self.n = 0

    def add(self, values: Mapping[str, Sequence[float]], *, context: str | None = "val", **facts: Any) -> str:
        self.n += 1
        now = START + timedelta(minutes=self.n)
        given: dict[str, Any] = {
            "project": "p", "status": "finished", "seed": self.n, "pipeline_config_id": "config",
            "dataset_config_id": "split 0", "environment_id": "laptop", "code_id": "commit",
        }  # fmt: skip
        run = Run(
            run_id=f"run {self.n:04}", segment=0, revision=0, started_at=now, heartbeat_at=now,
            heartbeat_every_s=5.0, **(given | facts),
        )  # fmt: skip
        metrics = [
            Metric(run_id=run.run_id, segment=0, name=name, context=context, step=step, time=now, value=value)
            for name, points in values.items()
            for step, value in enumerate(points)
        ]
        self.lake.storage.add_records("runs", [run], project=run.project)
        self.lake.storage.add_records("metrics", metrics, project=run.project)
        return run.run_id

    def add_data(self, datasets: Mapping[str, Sequence[str]]) -> None:
        """Data sets by id, with the ids of their configurations."""
        rows = [Dataset(dataset_id=one, recorded_at=START, name=f"name of {one}") for one in datasets]
        configs = [
            DatasetConfig(dataset_config_id=config, recorded_at=START, dataset_id=one)
            for one, of_it in datasets.items()
            for config in of_it
        ]
        self.lake.storage.add_records("datasets", rows, project="p")
        self.lake.storage.add_records("dataset_configs", configs, project="p")

    def add_pipeline(self, configs: Mapping[str, dict[str, Any]]) -> None:
        """Configurations by id, with their hyper-parameters, of one pipeline."""
        pipeline = Pipeline(pipeline_id="pipeline", recorded_at=START, module_class="package.Digits")
        rows = [
            PipelineConfig(pipeline_config_id=one, recorded_at=START, pipeline_id="pipeline", hparams=hparams)
            for one, hparams in configs.items()
        ]
        self.lake.storage.add_records("pipelines", [pipeline], project="p")
        self.lake.storage.add_records("pipeline_configs", rows, project="p")

    def analyse(self, metric: str = "acc", **settings: Any) -> VariabilityAnalysis:
        return analyse_variability(self.lake, project="p", metric=metric, **settings)


@pytest.fixture
def made(lake_path: Path) -> RunsByHand:
    return RunsByHand(lake_path)


def test_components_are_those_of_the_values_in_the_lake(made: RunsByHand) -> None:
    rng = np.random.default_rng(0)
    made.add_data({"digits": [f"split {split}" for split in range(4)]})
    made.add_pipeline({"config": {"lr": 0.1}})
    effects = rng.normal(size=4)
    rows = [(split, seed) for split, seed in itertools.product(range(4), range(5)) if (split, seed) != (2, 3)]
    values = [0.5 + 0.1 * effects[split] + 0.01 * rng.normal() for split, _ in rows]
    for (split, seed), value in zip(rows, values, strict=True):
        made.add({"acc": [0.0, value]}, seed=seed, dataset_config_id=f"split {split}")
    analysis = made.analyse(difference=0.01)
    (group,) = analysis.groups
    expected = variance_components(
        values, {"dataset_config": [split for split, _ in rows], "seed": [seed for _, seed in rows]}
    )
    assert group.decomposition is not None
    assert group.decomposition.estimated == expected.estimated
    reasons = {one.name: one.reason for one in group.decomposition.components}
    assert reasons == {"dataset_config": None, "environment": "one level", "code": "one level", "seed": None}
    seeds = pooled_deviation(values, [split for split, _ in rows])
    assert seeds is not None
    assert group.seeds == seeds
    assert group.required == repetitions_required(seeds.sd, 0.01)
    assert group.required_high == repetitions_required(seeds.high, 0.01)
    assert (len(group.cells), {cell.n for cell in group.cells}, analysis.n_single) == (19, {1}, 0)
    assert group.label == "Digits on name of digits [val]"
    text = variability_text(analysis, with_queries=True)
    assert "19 runs in 19 cells, 1 a cell, 1 of 20 combinations empty" in text
    assert "not estimated, one level" in text
    assert analysis.queries[0].sql.splitlines()[0] in text


def test_the_query_gives_the_values_again(made: RunsByHand) -> None:
    made.add({"acc": [0.25, 0.5]})
    made.add({"acc": [0.75]})
    analysis = made.analyse()
    again = made.lake.sql(analysis.queries[0].sql).to_pylist()
    assert [row["value"] for row in again] == [run.value for run in analysis.groups[0].runs] == [0.5, 0.75]


def test_other_settings_data_projects_and_unfinished_runs_are_no_repetitions(made: RunsByHand) -> None:
    made.add_data({"digits": ["split 0", "split 1"], "letters": ["split 2"]})
    alike = [made.add({"acc": [0.5]}), made.add({"acc": [0.6]}, dataset_config_id="split 1")]
    made.add({"acc": [0.1]}, dataset_config_id="split 2")
    made.add({"acc": [0.2]}, pipeline_config_id="other")
    made.add({"acc": [0.3]}, status="failed")
    made.add({"acc": [0.3]}, project="q")
    made.add({"loss": [0.3]})
    analysis = made.analyse()
    assert [[run.run_id for run in group.runs] for group in analysis.groups] == [alike]
    assert analysis.n_single == 2
    assert made.analyse(group=["pipeline_config"]).groups[0].runs[2].value == 0.1


def test_validation_and_test_of_one_name_are_not_mixed(made: RunsByHand) -> None:
    for value in (0.5, 0.6, 0.7):
        run_id = made.add({"acc": [value]})
        later = START + timedelta(days=1)
        test = Metric(run_id=run_id, segment=1, name="acc", context="test", time=later, value=value - 0.3)
        made.lake.storage.add_records("metrics", [test], project="p")
    groups = {group.label.split()[-1]: group.overall.mean for group in made.analyse().groups}
    assert groups == {"[val]": pytest.approx(0.6), "[test]": pytest.approx(0.3)}


@pytest.mark.parametrize(("take", "expected"), [("last", [0.4, 0.3]), ("min", [0.1, 0.2]), ("max", [0.9, 0.3])])
def test_last_lowest_and_highest_value(made: RunsByHand, take: str, expected: list[float]) -> None:
    made.add({"acc": [0.1, 0.9, 0.4]})
    made.add({"acc": [math.nan, 0.2, 0.3]})
    assert [run.value for run in made.analyse(take=take).groups[0].runs] == expected


def test_values_that_are_no_numbers_are_left_out_and_named(made: RunsByHand) -> None:
    made.add({"acc": [0.1]})
    made.add({"acc": [0.3, math.nan]}, name="broke")
    made.add({"acc": [math.inf]}, name="exploded")
    made.add({"acc": [0.2]})
    analysis = made.analyse()
    assert [run.value for run in analysis.groups[0].runs] == [0.1, 0.2]
    assert "Left out, their acc is no number: broke, exploded." in analysis.notes


def test_runs_that_nobody_seeded_count_as_seeds_of_their_own(made: RunsByHand) -> None:
    for value in (0.1, 0.2, 0.4):
        made.add({"acc": [value]}, seed=None)
    analysis = made.analyse()
    assert "3 of 3 runs were not seeded; each counts as a seed of its own." in analysis.notes
    (group,) = analysis.groups
    assert group.seeds is not None
    assert group.seeds.sd == pytest.approx(np.std([0.1, 0.2, 0.4], ddof=1))


def test_a_seed_among_the_hyper_parameters_can_be_ignored(made: RunsByHand) -> None:
    made.add_pipeline({f"config {seed}": {"lr": 0.1, "net": {"seed": seed}} for seed in range(3)})
    for seed in range(3):
        made.add({"acc": [0.1 * seed]}, seed=seed, pipeline_config_id=f"config {seed}")
    alone = made.analyse()
    assert (len(alone.groups), alone.n_single) == (0, 3)
    assert any("differ in net.seed. " in note and "--ignore net.seed" in note for note in alone.notes)
    together = made.analyse(ignore=["net"])
    assert [len(group.runs) for group in together.groups] == [3]
    made.add_pipeline({"wide": {"lr": 0.2, "net": {"seed": 0}}})
    made.add({"acc": [0.9]}, pipeline_config_id="wide")
    assert [len(group.runs) for group in made.analyse(ignore=["net.seed"]).groups] == [3]


def test_splits_that_were_cut_before_the_data_set_was_made(made: RunsByHand) -> None:
    made.add_data({f"digits {split}": [f"split {split}"] for split in range(3)})
    for split, seed in itertools.product(range(3), range(3)):
        made.add({"acc": [split + 0.1 * seed * (1 + split)]}, seed=seed, dataset_config_id=f"split {split}")
    analysis = made.analyse()
    assert len(analysis.groups) == 3
    assert any("--group pipeline_config" in note for note in analysis.notes)
    (group,) = made.analyse(group=["pipeline_config"]).groups
    assert group.decomposition is not None
    shares = {one.name: one.share for one in group.decomposition.components}
    assert shares["dataset_config"] > 0.8


def test_tags_tell_runs_apart(made: RunsByHand) -> None:
    for machine, offset in (("a", 0.0), ("b", 1.0), ("c", 3.0)):
        for value in (0.1, 0.2, 0.25):
            made.add({"acc": [offset + value]}, tags={"machine": machine})
    (group,) = made.analyse(by=["tag:machine"]).groups
    assert group.decomposition is not None
    assert group.decomposition.estimated[0].share > 0.9
    assert group.decomposition.residual_holds == ("repetition",)


def test_what_is_not_recorded_is_said(made: RunsByHand) -> None:
    made.add({"acc": [0.1]}, pipeline_config_id=None, dataset_config_id=None)
    made.add({"acc": [0.2]}, pipeline_config_id=None)
    notes = made.analyse(by=["dataset_config", "seed"]).notes
    assert "2 of 2 runs have no pipeline_config; it counts as one that they share." in notes
    assert "1 of 2 runs have no dataset_config; it counts as one that they share." in notes


def test_evaluated_tasks_give_one_mean_per_run_and_method(made: RunsByHand) -> None:
    for offset in (0.0, 0.1):
        run_id = made.add({})
        episodes = [
            Episode(
                run_id=run_id, segment=0, episode_id=f"task {task}", method="maml", episode_seed=0, episode_index=task,
                classes=[0, 1], ways=2, shots=1, queries=1, inner_steps=steps, loss=1.0,
                accuracy=offset + 0.1 * task + 0.01 * steps,
            )
            for task in range(3)
            for steps in (5, 10)
        ]  # fmt: skip
        made.lake.storage.add_records("episodes", episodes, project="p")
    groups = made.analyse("episodes.accuracy").groups
    means = {group.label.split("[")[1]: [run.value for run in group.runs] for group in groups}
    assert means == {
        "maml, 5 steps, 2-way 1-shot]": pytest.approx([0.15, 0.25]),
        "maml, 10 steps, 2-way 1-shot]": pytest.approx([0.2, 0.3]),
    }


def test_a_metric_that_does_not_vary(made: RunsByHand) -> None:
    for _ in range(3):
        made.add({"acc": [0.5]})
    (group,) = made.analyse(difference=0.1).groups
    assert group.decomposition is None
    assert group.required is None
    assert "acc is 0.5 in all 3 runs" in variability_text(made.analyse())


def test_deterministic_repetitions_do_not_make_seeds_look_alike(made: RunsByHand) -> None:
    for seed, value in ((1, 0.1), (2, 0.3), (1, 0.1), (1, 0.1)):
        made.add({"acc": [value]}, seed=seed)
    (group,) = made.analyse().groups
    assert group.seeds is not None
    assert (group.seeds.n, group.seeds.degrees_of_freedom) == (2, 1)
    assert group.seeds.sd == pytest.approx(np.std([0.1, 0.3], ddof=1))
    assert group.decomposition is not None
    assert group.decomposition.n_repeats == 2


def test_wrong_words_are_named(made: RunsByHand) -> None:
    made.add({"acc": [0.5], "loss": [0.5]})
    with pytest.raises(DataError, match=r"has 'f1'; there are: acc, loss$"):
        made.analyse("f1")
    with pytest.raises(ConfigurationError, match="'sed' is nothing to tell runs apart by"):
        made.analyse(by=["sed"])
    with pytest.raises(ConfigurationError, match="dataset cannot both"):
        made.analyse(by=["dataset"])
    with pytest.raises(ConfigurationError, match="nothing to tell runs apart by"):
        made.analyse(by=[])
    with pytest.raises(ConfigurationError, match="take is 'mean'"):
        made.analyse(take="mean")


def test_hostile_names_are_words_and_no_sql(made: RunsByHand) -> None:
    metric = "acc'); drop table runs; --"
    made.add({metric: [0.5]}, name="\x1b[31mred")
    made.add({metric: [0.7]}, name="\x1b[31mred")
    analysis = made.analyse(metric)
    assert [run.value for run in analysis.groups[0].runs] == [0.5, 0.7]
    assert "\x1b" not in variability_text(analysis)
