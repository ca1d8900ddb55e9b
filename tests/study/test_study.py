"""A whole study in miniature: what it leaves in the lake, and its figures recomputed by other means."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from statsmodels.stats.meta_analysis import combine_effects

from lightning_lde import Lake
from lightning_lde.audit import audit_lake
from lightning_lde.cli._tables import correlation_table
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import character_set
from lightning_lde.query import run_details
from lightning_lde.schema import TABLES
from lightning_lde.study import (
    StudySettings,
    analyse,
    cells_to_run,
    measure_diversity,
    plan_cells,
    study_datasets,
    train_probe,
)
from lightning_lde.ui import study_report

from .conftest import NAMES, SMALL, SmallStudy, make_study


def test_compaction_changes_no_answer(small_study: SmallStudy, tmp_path: Path) -> None:
    shutil.copytree(small_study.lake.url, tmp_path / "lake")
    lake = Lake(tmp_path / "lake")

    def answers() -> dict[str, list[str]]:
        return {table: sorted(map(str, lake.sql(f"select * from {table}").to_pylist())) for table in TABLES}

    before = answers()
    assert sum(map(bool, before.values())) > 11
    done = lake.storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    assert done.files_in > 100
    assert done.files_left == 0
    assert answers() == before
    assert audit_findings(lake) == []


def audit_findings(lake: Lake) -> list[object]:
    return list(audit_lake(lake.storage))


def test_every_training_is_a_finished_run(small_study: SmallStudy) -> None:
    rows = small_study.lake.sql("select count(*) as n from runs where status = 'finished'").to_pylist()
    assert rows == [{"n": small_study.n_cells + 1}]  # and the probe


def test_each_run_links_data_pipeline_environment_and_artifacts(small_study: SmallStudy) -> None:
    incomplete = small_study.lake.sql(
        """select r.name from runs r
           left join dataset_configs c using (dataset_config_id) left join datasets d using (dataset_id)
           left join pipeline_configs f using (pipeline_config_id) left join pipelines p using (pipeline_id)
           left join environments e using (environment_id) left join code k using (code_id)
           where d.name is null or p.module_class is null or e.python is null or k.code_id is null
              or r.run_id not in (select run_id from artifacts)"""
    )
    assert incomplete.num_rows == 0


def test_all_methods_are_judged_on_the_same_tasks(small_study: SmallStudy) -> None:
    rows = small_study.lake.sql(
        """select dataset_id, episode_id, count(distinct method || coalesce(inner_steps::text, '')) as n
           from episodes group by all"""
    ).to_pylist()
    assert len(rows) == len(NAMES) * SMALL.test_episodes
    assert {row["n"] for row in rows} == {5}


def test_nothing_is_left_to_run(small_study: SmallStudy) -> None:
    datasets, settings = study_datasets(None, SMALL, names=NAMES)
    cells = plan_cells(datasets, settings)
    assert cells_to_run(small_study.lake, cells, project="small") == []
    assert len(cells_to_run(small_study.lake, cells, project="other")) == len(cells)
    changed = plan_cells(datasets, StudySettings(meta_steps=3))
    assert len(cells_to_run(small_study.lake, changed, project="small")) == len(changed)


def test_diversity_is_not_computed_twice(small_study: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr("lightning_lde.study._embedding.embed_half", never)
    before = {table: small_study.lake.sql(f"select * from stored.{table}").num_rows for table in TABLES}
    datasets, settings = study_datasets(None, SMALL, names=NAMES)
    probe = train_probe(small_study.lake, datasets, settings, project="small")
    measured = measure_diversity(small_study.lake, datasets, settings, probe, project="small")
    found = {one.dataset: one.coefficient.value for one in measured}
    stored = small_study.lake.sql("select name, diversity from datasets where diversity is not null").to_pylist()
    assert found == {row["name"]: row["diversity"] for row in stored}
    assert {table: small_study.lake.sql(f"select * from stored.{table}").num_rows for table in TABLES} == before


def test_the_diversity_follows_from_the_stored_vectors(small_study: SmallStudy) -> None:
    rows = small_study.lake.sql(
        """select d.name, d.diversity, list(e.vector order by e.task_index) filter (half = 0) as first,
                  list(e.vector order by e.task_index) filter (half = 1) as second
           from embeddings e join datasets d using (dataset_id) where method like 'fisher%' group by all"""
    ).to_pylist()
    assert {row["name"] for row in rows} == set(NAMES)
    for row in rows:
        one, two = (log_ratios(np.array(row[half], dtype=np.float64)) for half in ("first", "second"))
        pairs = [(i, j) for i in range(len(one)) for j in range(i)]
        distances = [(one[i] - one[j]) @ (two[i] - two[j]) / (2 * one.shape[1]) for i, j in pairs]
        assert row["diversity"] == pytest.approx(np.mean(distances), rel=1e-9)


def log_ratios(fisher: np.ndarray) -> np.ndarray:
    logs = np.log(fisher + 1e-3 * fisher.mean(axis=1, keepdims=True))
    return logs - logs.mean(axis=1, keepdims=True)


def test_the_probe_does_not_depend_on_what_ran_before(small_study: SmallStudy, tmp_path) -> None:
    datasets, settings = study_datasets(None, SMALL, names=NAMES)
    torch.manual_seed(12345)
    probe = train_probe(Lake(tmp_path / "lake").create(), datasets, settings, project="small")
    stored = small_study.lake.sql("select distinct probe_id from embeddings").column("probe_id").to_pylist()
    assert stored == [probe.probe_id]


def assert_same(found: list[dict[str, object]], expected: list[dict[str, object]]) -> None:
    """Equal rows; DuckDB's threads add floats in any order, so their last digit may differ."""
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            near = pytest.approx(other[name], rel=1e-9, nan_ok=True) if isinstance(value, float) else other[name]
            assert value == near


RAW = """
    select d.name as dataset, d.diversity, e.method, e.inner_steps, e.episode_id, e.accuracy
    from stored.episodes e
    join (select distinct run_id from stored.runs where status = 'finished' and project = 'small') using (run_id)
    join (select dataset_id, max(name) as name, max(diversity) as diversity from stored.datasets group by 1) d
    using (dataset_id)"""


def test_the_correlations_are_those_of_scipy_on_a_raw_export(small_study: SmallStudy) -> None:
    frame = small_study.lake.sql(RAW).to_pandas()
    frame["inner_steps"] = frame["inner_steps"].fillna(0)
    expected = {}
    for key, group in frame.groupby(["method", "inner_steps"]):
        means = group.groupby("dataset")[["diversity", "accuracy"]].mean()
        line = scipy.stats.linregress(means["diversity"], means["accuracy"])
        p = scipy.stats.pearsonr(
            means["diversity"], means["accuracy"], method=scipy.stats.PermutationMethod(n_resamples=np.inf)
        ).pvalue
        t = scipy.stats.t.ppf(0.975, len(means) - 2)
        expected[key] = (len(means), line.slope, line.slope - t * line.stderr, line.rvalue**2, p)
    found = {
        (result.method, result.inner_steps or 0): (
            result.correlation.n,
            result.correlation.slope,
            result.correlation.slope_low,
            result.correlation.r_squared,
            result.correlation.p_permutation,
        )
        for result in analyse(small_study.lake, project="small").configurations
    }
    assert found.keys() == expected.keys()
    assert len(found) == 5
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-6)


def test_the_report_shows_the_same_numbers(small_study: SmallStudy) -> None:
    analysis = analyse(small_study.lake, project="small")
    page = study_report(analysis)
    for row in correlation_table(analysis).to_pylist():
        assert f"<tr><td>{row['configuration']}</td><td>{row['n']}</td>" in page
        assert f"{row['r_squared']:.3f}" in page
    for query in analysis.queries:
        assert page.count(query.name) >= 1
    assert page.count("<svg") == 4 + len(analysis.effects)
    assert not re.search(r'(src|href)="(http|//)', page)


def test_every_query_in_the_report_runs_as_it_stands(small_study: SmallStudy) -> None:
    analysis = analyse(small_study.lake, project="small")
    for query in analysis.queries:
        assert_same(small_study.lake.sql(query.sql).to_pylist(), query.rows)


def test_heterogeneity_is_that_of_statsmodels_on_a_raw_export(small_study: SmallStudy) -> None:
    frame = small_study.lake.sql(RAW).to_pandas()
    table = frame.assign(inner_steps=frame["inner_steps"].fillna(0)).pivot_table(
        index=["dataset", "episode_id"], columns=["method", "inner_steps"], values="accuracy"
    )
    difference = table["maml-higher-order", 5] - table["pretraining+logistic-regression", 0]
    by_dataset = difference.groupby("dataset").agg(["mean", "var", "count"])
    effects, variances, counts = by_dataset[by_dataset["var"] > 0].to_numpy().T
    reference = combine_effects(effects, variances / counts, method_re="dl")
    found = next(
        one for one in analyse(small_study.lake, project="small").effects if one.label == "MAML higher order, 5 steps"
    )
    assert found.heterogeneity.q == pytest.approx(reference.q)
    assert found.heterogeneity.mean == pytest.approx(reference.mean_effect_re)


def test_details_of_a_run_have_its_tasks_and_files(small_study: SmallStudy) -> None:
    details = run_details(small_study.lake, "greek/maml-first-order/seed 0")
    assert [(row["inner_steps"], row["tasks"]) for row in details.episodes] == [(5, 6), (10, 6)]
    assert [row["relation"] for row in details.data] == ["trained_on", "evaluated_on"]
    assert details.data[0]["dataset"] == "greek"
    assert [row["kind"] for row in details.artifacts] == ["checkpoint"]


def test_too_few_data_sets_say_so(tmp_path) -> None:
    with pytest.raises(DataError, match="needs 4"):
        analyse(Lake(tmp_path / "lake").create(), project="none")


def test_wrong_plans_are_named() -> None:
    greek = character_set("greek")
    with pytest.raises(ConfigurationError, match="unknown algorithm"):
        plan_cells([greek], SMALL, algorithms=["magic"])
    with pytest.raises(ConfigurationError, match="same name"):
        plan_cells([greek, greek], SMALL)
    with pytest.raises(DataError, match="'hebrew' has 15 train classes"):
        study_datasets(None, StudySettings(ways=20), names=["hebrew"])
    with pytest.raises(DataError, match="has 20 images"):
        study_datasets(None, StudySettings(shots=15), names=["hebrew"])
    with pytest.raises(DataError, match="there are: "):
        study_datasets(None, SMALL, names=["klingon"])
    with pytest.raises(ConfigurationError, match="meta_steps"):
        StudySettings(meta_steps=0)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_are_finite(value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"inner_lr is {value}"):
        StudySettings().changed([f"inner_lr={value}"])


@pytest.mark.parametrize("change", ["probe_steps=7", "probe_seed=7", "diversity_tasks=7", "diversity_images=6"])
def test_numbers_of_probe_and_diversity_train_nothing_again(small_study: SmallStudy, change: str) -> None:
    datasets, settings = study_datasets(None, SMALL.changed([change]), names=NAMES)
    assert settings.settings_id == SMALL.settings_id
    assert cells_to_run(small_study.lake, plan_cells(datasets, settings), project="small") == []


@pytest.mark.parametrize("change", ["ways=4", "shots=5", "meta_steps=7", "width=4", "test_seed=7", "test_episodes=7"])
def test_numbers_of_training_and_test_make_other_cells(change: str) -> None:
    greek, other = character_set("greek"), SMALL.changed([change])
    assert other.settings_id != SMALL.settings_id
    assert {cell.cell_id for cell in plan_cells([greek], other)}.isdisjoint(
        cell.cell_id for cell in plan_cells([greek], SMALL)
    )


def test_runs_bear_the_id_of_their_settings(small_study: SmallStudy) -> None:
    rows = small_study.lake.sql(
        "select distinct tags->>'settings' as id from runs where run_id in (select run_id from episodes)"
    ).to_pylist()
    assert rows == [{"id": SMALL.settings_id}]
    analysis = analyse(small_study.lake, project="small")
    assert (analysis.settings_id, analysis.other_settings) == (SMALL.settings_id, ())


@pytest.mark.slow
@pytest.mark.s3
def test_the_study_on_s3(bucket_url: str, s3_server, small_study: SmallStudy) -> None:
    remote = make_study(bucket_url, s3_server.options)
    here = correlation_table(analyse(small_study.lake, project="small")).to_pylist()
    there = correlation_table(analyse(remote.lake, project="small")).to_pylist()
    assert_same(there, here)
