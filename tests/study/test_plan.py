"""Plans from a lake with planted scatter, differences and durations, and what a check says of them afterwards."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.schema import Dataset, DatasetConfig, Episode, Metric, Pipeline, PipelineConfig, Record, Run
from lightning_lde.statistics import paired_power
from lightning_lde.study import Criterion, check_plan, plan_page, plan_study, read_plan
from lightning_lde.study._plan_figures import spread
from lightning_lde.study._plan_front import as_yaml
from lightning_lde.study._plan_pilot import Measured, Pilot

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
SETS = [f"set {number}" for number in range(6)]
TRAININGS = {"pretraining": "pretraining+logistic-regression", "maml-first-order": "maml-first-order"}
SD, GAIN = 0.03, 0.1


def accuracy(dataset: int, algorithm: str, seed: int, *, gain: float = GAIN) -> float:
    rng = np.random.default_rng([dataset, seed, len(algorithm)])
    return 0.5 + 0.04 * dataset + gain * (algorithm != "pretraining") + SD * float(rng.normal())


def seconds(dataset: int, algorithm: str, seed: int) -> float:
    return (100.0 if algorithm == "pretraining" else 300.0) + 10 * dataset + seed


def add(
    lake: Lake, *, sets: int = 6, seeds: range = range(4), project: str = "pilot", gain: float = GAIN,
    status: str = "finished", settings_id: str = "s" * 32, diversity: bool = False,
) -> None:  # fmt: skip
    """A study's rows without any training."""
    runs, episodes, datasets = [], [], []
    for dataset in range(sets):
        facts = {"diversity": 0.1 * dataset, "diversity_low": 0.0, "diversity_high": 1.0, "diversity_n_tasks": 9,
                 "diversity_method": "m", "diversity_probe_id": "probe"}  # fmt: skip
        datasets.append(
            Dataset(dataset_id=f"d{dataset}", name=SETS[dataset], recorded_at=BEGAN, **(facts if diversity else {}))
        )
        for algorithm, method in TRAININGS.items():
            for seed in seeds:
                run_id = f"{project}-{dataset}-{algorithm}-{seed}"
                tags = {"dataset": SETS[dataset], "algorithm": algorithm, "settings": settings_id, "cell": run_id}
                began = BEGAN + timedelta(hours=len(runs))
                runs.append(
                    Run(
                        run_id=run_id, segment=0, revision=0, project=project, status=status, seed=seed, tags=tags,
                        started_at=began, heartbeat_at=began, heartbeat_every_s=5.0, dataset_config_id=f"c{dataset}",
                        duration_s=seconds(dataset, algorithm, seed),
                    )
                )  # fmt: skip
                value = accuracy(dataset, algorithm, seed, gain=gain)
                episodes += [
                    Episode(
                        run_id=run_id, segment=0, episode_id=f"{dataset}/{task}", method=method,
                        dataset_id=f"d{dataset}", episode_seed=0,
                        episode_index=task, classes=[0, 1], ways=2, shots=1, queries=1, loss=1.0,
                        accuracy=value + (0.01 if task else -0.01),
                    )
                    for task in range(2)
                ]  # fmt: skip
    configs = [
        DatasetConfig(dataset_config_id=f"c{n}", recorded_at=BEGAN, dataset_id=f"d{n}", split="train")
        for n in range(sets)
    ]
    for table, rows in {"runs": runs, "episodes": episodes, "datasets": datasets, "dataset_configs": configs}.items():
        lake.storage.add_records(table, rows, project=project)


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    found = Lake(lake_path).create()
    add(found)
    return found


def test_scatter_cost_and_power_are_those_of_the_planted_runs(lake: Lake) -> None:
    plan = plan_study(lake, project="pilot", seeds=5, jobs=2, smallest=0.05)
    assert (plan.datasets, plan.trainings, plan.seeds) == (tuple(SETS), tuple(sorted(TRAININGS)), (0, 1, 2, 3, 4))
    values = np.array(
        [[[accuracy(d, a, s) for s in range(4)] for d in range(6)] for a in ("pretraining", "maml-first-order")]
    )
    assert plan.scatter is not None
    assert plan.scatter.sd == pytest.approx(math.sqrt(values.var(axis=2, ddof=1).mean()), rel=1e-9)
    assert plan.scatter.degrees_of_freedom == 2 * 6 * 3
    hours = 5 * sum(np.median([seconds(d, a, s) for s in range(4)]) for d in range(6) for a in TRAININGS) / 3600
    assert plan.hours == pytest.approx(hours)
    assert plan.wall_hours == pytest.approx(hours / 2, rel=0.1)
    assert plan.hours_low == pytest.approx(5 * sum(seconds(d, a, 0) for d in range(6) for a in TRAININGS) / 3600)
    assert plan.pair == ("pretraining+logistic-regression, 2-way 1-shot", "maml-first-order, 2-way 1-shot")
    differences = values[1].mean(axis=1) - values[0].mean(axis=1)
    assert plan.difference is not None
    assert plan.difference.difference == pytest.approx(differences.mean())
    by_seed = values.var(axis=2, ddof=1).mean(axis=1).sum()
    between = max(differences.var(ddof=1) - by_seed / 4, 0.0)
    expected = paired_power(math.sqrt(between + by_seed / 5), 0.05, 6)
    at = {one.seeds: one for one in plan.at_seeds}
    assert at[5].over_datasets == pytest.approx(expected)
    assert at[10].hours == pytest.approx(2 * hours)
    needed = plan.required_datasets
    assert needed is not None
    assert paired_power(math.sqrt(between + by_seed / 5), 0.05, needed) >= 0.8


def planted_pilot(seeds: dict[str, int], *, between: float, shared: float, own: float, n: int = 400) -> Pilot:
    """Differences of two configurations that vary between data sets; a training's luck is shared by what it gives."""
    rng = np.random.default_rng(0)
    values = []
    for dataset in range(n):
        base, luck = rng.normal(), rng.normal(0.0, shared, 50)
        for name, count in seeds.items():
            training, _, _ = name.partition(", ")
            mean = base + (rng.normal(0.1, between) if name.endswith("better") else 0.0)
            values += [
                Measured("r", f"{dataset}", training, name, f"{seed}", mean + luck[seed] + rng.normal(0.0, own), None)
                for seed in range(count)
            ]
    return Pilot("p", "m", None, tuple(values), {}, (), ())


@pytest.mark.parametrize(
    ("seeds", "shared", "by_seed"),
    [
        # Many seeds of what is not compared say nothing of the two that are.
        ({"a, plain": 2, "b, better": 2, "c, other": 20}, 0.0, 2 * 0.3**2),
        ({"a, plain": 2, "b, better": 6}, 0.0, 2 * 0.3**2),
        # Two evaluations of one training: what the seed gives to both is not in their difference.
        ({"a, plain": 3, "a, better": 3}, 2.0, 2 * 0.3**2),
    ],
)
def test_the_variance_between_data_sets_is_the_planted_one(
    seeds: dict[str, int], shared: float, by_seed: float
) -> None:
    pilot = planted_pilot(seeds, between=0.4, shared=shared, own=0.3)
    first, second = list(seeds)[:2]
    found = spread(pilot, (first, second), pilot.difference(first, second))
    assert found is not None
    assert found.by_seed == pytest.approx(by_seed, rel=0.15)
    assert found.between == pytest.approx(0.4**2, rel=0.2)


@pytest.mark.slow
def test_the_power_over_data_sets_is_that_of_simulated_studies() -> None:
    rng = np.random.default_rng(0)
    between, by_seed, seeds, n, smallest = 0.02**2, 2 * 0.03**2, 3, 12, 0.03
    differences = rng.normal(smallest, math.sqrt(between + by_seed / seeds), size=(4000, n))
    found = np.mean(stats.ttest_1samp(differences, 0.0, axis=1).pvalue <= 0.05)
    assert found == pytest.approx(paired_power(math.sqrt(between + by_seed / seeds), smallest, n), abs=0.025)


def test_the_cost_is_found_again_by_the_sql_on_the_page(lake: Lake) -> None:
    add(lake, project="elsewhere", seeds=range(4, 7))
    plan = plan_study(lake, project="pilot", seeds=1)
    (query,) = [one for one in plan.pilot.queries if one.name == "seconds with these settings in all projects"]
    assert query.sql in plan_page(plan)
    took = [row["seconds"] for row in lake.sql(query.sql).to_pylist()]
    assert {len(one) for one in took} == {7}
    assert plan.hours == pytest.approx(sum(map(np.median, took)) / 3600)


def test_the_page_is_read_back_as_it_was_planned(lake: Lake) -> None:
    plan = plan_study(
        lake, project="pilot", name='study: "one"\n| two', datasets=[*SETS, "new | set", "\x1b[31m\x9b2J"], seeds=3
    )
    page = plan_page(plan)
    # What a terminal would obey stands nowhere, and is read back all the same.
    assert all(char.isprintable() or char == "\n" for char in page)
    read = read_plan(page.replace("\n", "\r\n"))
    assert (read.project, read.datasets, read.seeds) == (plan.project, plan.datasets, plan.seeds)
    assert (read.criteria, read.settings, read.lake) == (plan.criteria, "s" * 32, lake.url)
    assert read.made_at == plan.made_at
    assert "new | set,  [31m 2J never ran" in page
    assert "new \\| set" in page
    for heading in ("Data sets", "Configurations", "Repetitions", "Cost", "Power", "Success criteria", "Afterwards"):
        assert f"\n## {heading}\n" in page


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True), st.text(min_size=1))
def test_names_of_any_kind_survive_the_front_matter(datasets: list[str], project: str) -> None:
    facts = {"lde_plan": 1, "project": project, "metric": "m", "datasets": datasets, "trainings": datasets,
             "seeds": [0], "criteria": [{"kind": "complete"}]}  # fmt: skip
    read = read_plan(f"---\n{as_yaml(facts)}---\n")
    assert (list(read.datasets), read.project) == (datasets, project)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lde_plan": 9}, "lacks lde_plan: 1"),
        ({"project": ""}, "project is ''"),
        ({"datasets": []}, r"datasets are \[\]"),
        ({"seeds": ["zero"]}, "hold 'zero', expected whole numbers"),
        ({"made_at": "yesterday"}, "made_at is 'yesterday', expected a time"),
        ({"made_at": BEGAN.date()}, "made_at is '2026-01-01', expected a time"),
        ({"hours": "many"}, "hours is 'many'"),
        ({"criteria": [{"kind": "cost"}]}, "'cost' lacks limit"),
        ({"criteria": [{"kind": "cost", "limit": "x"}]}, r"cost.limit is 'x'"),
        ({"criteria": [{"limit": 1}]}, "a criterion of the plan is"),
        ({"criteria": ["complete"]}, "a criterion of the plan is"),
    ],
)
def test_what_is_wrong_in_a_plan_is_said(change: dict[str, Any], message: str) -> None:
    import yaml

    facts = {"lde_plan": 1, "project": "p", "metric": "m", "datasets": ["a"], "trainings": ["t"], "seeds": [0],
             "criteria": [{"kind": "complete"}]}  # fmt: skip
    with pytest.raises(DataError, match=message):
        read_plan(f"---\n{yaml.safe_dump({**facts, **change})}---\n")


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    for text, message in (("# A page", "no front matter"), ("---\n{[\n---\n", "no YAML")):
        with pytest.raises(DataError, match=message):
            read_plan(text)
    with pytest.raises(ConfigurationError, match="criterion of kind 'fast'"):
        Criterion("fast")
    (tmp_path / "plan.md").write_bytes(b"---\n\xff\n---\n")
    with pytest.raises(DataError, match="is no text in UTF-8"):
        CliRunner().invoke(
            app, ["plan", "--check", str(tmp_path / "plan.md")], standalone_mode=False, catch_exceptions=False
        )


def test_what_was_filled_in_is_not_written_over(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "plan.md"
    file.write_text("the question, in one sentence")
    with pytest.raises(ConfigurationError, match="is there already, and may be filled in"):
        CliRunner().invoke(app, ["plan", lake.url, "-o", str(file)], standalone_mode=False, catch_exceptions=False)
    assert file.read_text() == "the question, in one sentence"


def test_a_check_says_what_was_done_and_what_is_met(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "plan.md"
    words = ["plan", lake.url, "--project", "pilot", "--for", "study", "--seeds", "3", "-o", str(file)]
    assert CliRunner().invoke(app, words, standalone_mode=False, catch_exceptions=False).exit_code == 0
    planned = read_plan(file.read_text())
    done = CliRunner().invoke(app, ["plan", "--check", str(file)], standalone_mode=False, catch_exceptions=False)
    assert (done.exit_code, "0 of 36 planned trainings are finished" in done.stdout) == (1, True)
    before = check_plan(lake, planned)
    assert (before.planned, before.finished, before.is_met) == (36, 0, False)
    assert {one.kind: one.met for one in before.results} == {
        "complete": False, "cost": None, "precision": None, "difference": None, "correlation": None,
    }  # fmt: skip
    add(lake, project="study", seeds=range(2), diversity=True)
    half = check_plan(lake, replace(planned, criteria=planned.criteria[:2]))
    assert (half.finished, len(half.missing), half.early) == (24, 12, 24)
    add(lake, project="study", seeds=range(2, 3), diversity=True)
    add(lake, project="study", seeds=range(7, 8))
    after = check_plan(lake, planned)
    assert (after.finished, after.missing, len(after.unplanned)) == (36, (), 12)
    took = sum(seconds(d, a, s) for d in range(6) for a in TRAININGS for s in range(3)) / 3600
    assert after.hours == pytest.approx(took)
    verdicts = {one.kind: one for one in after.results}
    assert [verdicts[kind].met for kind in ("complete", "cost", "difference")] == [True, True, True]
    assert "over 6 data sets" in verdicts["difference"].figure
    assert {"trainings of the project", "diversity per data set"} <= {one.name for one in after.queries}
    # Planted: 0.04 more for each 0.1 of diversity, beside a scatter of 0.03.
    assert verdicts["correlation"].met is True
    assert after.is_met is (verdicts["precision"].met is True)


def test_a_difference_that_is_not_there_is_not_met(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    add(lake, gain=0.0)
    plan = plan_study(lake, project="pilot", seeds=4)
    found = {one.kind: one.met for one in check_plan(lake, read_plan(plan_page(plan))).results}
    assert (found["complete"], found["difference"]) == (True, False)


def test_failed_trainings_are_named(lake: Lake) -> None:
    add(lake, project="study", seeds=range(1))
    add(lake, project="study", seeds=range(1, 2), status="failed")
    planned = read_plan(plan_page(plan_study(lake, project="pilot", name="study", seeds=2)))
    found = check_plan(lake, planned)
    assert (found.finished, len(found.failed)) == (12, 12)
    assert set(found.failed) == set(found.missing)


def test_other_settings_are_left_out_and_named(lake: Lake) -> None:
    add(lake, project="pilot", seeds=range(10, 11), settings_id="t" * 32)
    plan = plan_study(lake, project="pilot", settings_id="s" * 32)
    assert set(plan.pilot.seeds()) == {"0", "1", "2", "3"}
    assert "12 values of other settings are left out." in plan.notes


def add_plain(lake: Lake, *, configs: tuple[str, ...], project: str = "p", status: str = "finished") -> None:
    """Runs of a module of one's own, without tags, that log a metric in validation."""
    rows: dict[str, list[Record]] = {"runs": [], "metrics": []}
    rows["datasets"] = [Dataset(dataset_id="d", name="photos", recorded_at=BEGAN)]
    rows["dataset_configs"] = [DatasetConfig(dataset_config_id="c", recorded_at=BEGAN, dataset_id="d", split="train")]
    rows["pipelines"] = [Pipeline(pipeline_id="p", recorded_at=BEGAN, module_class="mine.Net")]
    for config in configs:
        rows.setdefault("pipeline_configs", []).append(
            PipelineConfig(pipeline_config_id=config, recorded_at=BEGAN, pipeline_id="p")
        )
        for seed in range(3):
            run = Run(
                run_id=f"{project}{config}{seed}", segment=0, revision=0, project=project, status=status, seed=seed,
                started_at=BEGAN, heartbeat_at=BEGAN, heartbeat_every_s=5.0, dataset_config_id="c",
                pipeline_config_id=config, duration_s=60.0,
            )  # fmt: skip
            rows["runs"].append(run)
            value = 1.0 + 0.1 * seed + (config == "small000")
            rows["metrics"].append(
                Metric(
                    run_id=run.run_id, segment=0, name="val/loss", context="fit", step=0, time=BEGAN, value=value
                )
            )  # fmt: skip
    for table, records in rows.items():
        lake.storage.add_records(table, records, project=project)


def test_runs_that_are_no_study_are_planned_by_a_metric_of_theirs(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    add_plain(lake, configs=("small000", "large000"))
    plan = plan_study(lake, project="p", metric="val/loss", seeds=3, smallest=0.1)
    assert (plan.datasets, plan.trainings) == (("photos",), ("Net large000", "Net small000"))
    assert plan.configurations == {"Net large000, fit": "Net large000", "Net small000, fit": "Net small000"}
    assert plan.scatter is not None
    assert plan.scatter.sd == pytest.approx(0.1)
    assert plan.hours == pytest.approx(6 / 60)
    assert [one.kind for one in plan.criteria] == ["complete", "cost", "precision", "difference"]
    found = {one.kind: one.met for one in check_plan(lake, read_plan(plan_page(plan))).results}
    assert found == {"complete": True, "cost": True, "precision": True, "difference": None}
    with pytest.raises(ConfigurationError, match="is no configuration of the pilot"):
        plan_study(lake, project="p", metric="val/loss", baseline="none")
    with pytest.raises(ConfigurationError, match=r"difference=-0\.1, expected a finite number above 0"):
        plan_study(lake, project="p", metric="val/loss", smallest=-0.1)
    with pytest.raises(ConfigurationError, match="seeds=0"):
        plan_study(lake, project="p", metric="val/loss", seeds=0)
    with pytest.raises(DataError, match="no finished run"):
        plan_study(lake, project="p", metric="nothing")


def test_a_training_has_the_same_name_whatever_else_ran_in_its_project(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    add_plain(lake, configs=("small000",))
    planned = read_plan(plan_page(plan_study(lake, project="p", name="study", metric="val/loss", seeds=3)))
    add_plain(lake, configs=("small000",), project="study")
    add_plain(lake, configs=("broken00",), project="study", status="failed")
    found = check_plan(lake, planned)
    assert (found.finished, found.missing, found.unplanned) == (3, (), ())
    assert {one.kind: one.met for one in found.results}["precision"] is True


def test_a_metric_that_a_study_logged_is_told_apart_by_algorithm(lake: Lake) -> None:
    metrics = [
        Metric(
            run_id=f"pilot-{dataset}-{algorithm}-{seed}", segment=0, name="test/accuracy", context="test", step=0,
            time=BEGAN, value=accuracy(dataset, algorithm, seed),
        )
        for dataset in range(6) for algorithm in TRAININGS for seed in range(4)
    ]  # fmt: skip
    lake.storage.add_records("metrics", metrics, project="pilot")
    plan, of_tasks = (plan_study(lake, project="pilot", metric=metric) for metric in ("test/accuracy", "accuracy"))
    assert plan.configurations == {f"{name}, test": name for name in sorted(TRAININGS)}
    assert plan.pair == ("pretraining, test", "maml-first-order, test")
    assert plan.scatter is not None
    assert of_tasks.scatter is not None
    assert plan.scatter.sd == pytest.approx(of_tasks.scatter.sd)
