"""Tables of past results of a lake, against what was put into it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_lde import Lake
from lightning_lde.capture import flatten_params
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.schema import (
    Dataset,
    DatasetConfig,
    Embedding,
    Episode,
    Metric,
    Pipeline,
    PipelineConfig,
    Record,
    Run,
)

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
ODD = 'val/acc\'s "~" $'


class Filling:
    """A lake that is filled run by run."""

    def __init__(self, path: Path) -> None:
        self.lake = Lake(path).create()
        self.rows: dict[str, list[Record]] = {}
        self._known: set[str] = set()

    def add(self, table: str, *records: Record) -> None:
        self.rows.setdefault(table, []).extend(records)

    def dataset(self, name: str, **facts: Any) -> None:
        facts = {"dataset_id": f"id of {name}", "name": name, "recorded_at": NOW} | facts
        self.add("datasets", Dataset(**facts))

    def run(
        self,
        dataset: str,
        settings: Mapping[str, Any],
        value: float | None,
        *,
        module: str = "m.Net",
        trainer: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> str:
        config = repr((module, sorted(settings.items()), trainer))
        use = f"use of {dataset}"
        number = len(self.rows.get("runs", []))
        facts = {
            "run_id": f"run {number:03}", "segment": 0, "revision": 0, "project": "p", "status": "finished",
            "started_at": NOW + timedelta(minutes=number), "heartbeat_at": NOW, "heartbeat_every_s": 5.0,
            "dataset_config_id": use, "pipeline_config_id": config,
            "summary": {} if value is None else {ODD: {"last": value, "min": value - 1, "max": value + 1}}, **facts,
        }  # fmt: skip
        self.add("runs", Run(**facts))
        if config not in self._known:
            self.add("pipelines", Pipeline(pipeline_id=module, recorded_at=NOW, module_class=module))
            pipeline = {"pipeline_config_id": config, "pipeline_id": module, "recorded_at": NOW}
            self.add(
                "pipeline_configs", PipelineConfig(**pipeline, hparams=dict(settings), trainer=dict(trainer or {}))
            )
            self.add("params", *flatten_params(config, settings))
        if use not in self._known:
            self.add("dataset_configs", DatasetConfig(
                dataset_config_id=use, dataset_id=f"id of {dataset}", recorded_at=NOW, batch_size=32,
            ))  # fmt: skip
        self._known |= {config, use}
        return str(facts["run_id"])

    def done(self) -> Lake:
        for table, records in self.rows.items():
            self.lake.storage.add_records(table, records, project="p")
        return self.lake


@pytest.fixture
def filling(lake_path: Path) -> Filling:
    return Filling(lake_path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """What `fill` puts into a lake, for tests that add nothing."""
    return fill(Filling(tmp_path_factory.mktemp("plain") / "lake")).done()


def value_of(dataset: int, lr: float, seed: int) -> float:
    return 0.5 + 0.1 * dataset * (lr == 0.1) + 0.01 * seed**2 + 0.001 * dataset


def at(lr: float, dataset: int = 0, seed: int = 0) -> dict[str, Any]:
    return {"optimizer": {"lr": lr}, "seed": seed, "n_classes": dataset + 2, "data_dir": f"/{seed}"}


def fill(filling: Filling, *, seeds: Sequence[int] = (0, 1, 2), **facts: Any) -> Filling:
    """Three data sets, two learning rates, a seed that is a hyper-parameter as importers have it."""
    for number in range(3):
        filling.dataset(f"set {number}", n_samples=10 ** (number + 2), n_classes=number + 2, **facts)
        for lr in (0.1, 0.01):
            for seed in seeds:
                filling.run(f"set {number}", at(lr, number, seed), value_of(number, lr, seed), seed=seed)
    return filling


def cells(results: Any) -> dict[tuple[str, float], tuple[float, float, int]]:
    table = results.table
    return {
        (table.datasets[d], table.settings[c]["optimizer.lr"]): (mean, sd, n)
        for d, c, mean, sd, n in zip(
            table.dataset_index, table.configuration_index, table.mean, table.sd, table.n, strict=True
        )
    }


def test_repetitions_come_as_their_mean(plain: Lake) -> None:
    results = plain.results(ODD)
    assert results.table.settings == ({"optimizer.lr": 0.1}, {"optimizer.lr": 0.01}) or results.table.settings == (
        {"optimizer.lr": 0.01},
        {"optimizer.lr": 0.1},
    )
    found = cells(results)
    assert len(found) == 6
    for (dataset, lr), (mean, sd, n) in found.items():
        values = [value_of(int(dataset[-1]), lr, seed) for seed in range(3)]
        assert (mean, sd, n) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)), 3)
    assert (results.n_runs, results.n_lost, results.notes) == (18, 0, ())


@pytest.mark.parametrize("of_run", ["min", "max"])
def test_what_counts_of_a_run(plain: Lake, of_run: str) -> None:
    by_last, found = cells(plain.results(ODD)), cells(plain.results(ODD, of_run=of_run))
    offset = {"min": -1, "max": 1}[of_run]
    assert {key: mean for key, (mean, *_) in found.items()} == {
        key: pytest.approx(mean + offset) for key, (mean, *_) in by_last.items()
    }


def test_single_runs_are_rows_and_aggregate_to_the_same(plain: Lake) -> None:
    single = plain.results(ODD, aggregate=False).table
    assert (len(single.mean), set(single.n.tolist())) == (18, {1})
    together, expected = single.aggregated(), plain.results(ODD).table
    assert together.mean == pytest.approx(expected.mean)
    assert together.sd == pytest.approx(expected.sd)
    assert together.n.tolist() == expected.n.tolist()
    assert len(single.single(seed=1).mean) == 6


def test_the_way_back_to_runs(plain: Lake) -> None:
    results = plain.results(ODD)
    for (dataset, configuration), runs in results.runs.items():
        lr = results.table.settings_of(configuration)["optimizer.lr"]
        first = int(dataset[-1]) * 6 + (lr == 0.01) * 3
        assert sorted(runs) == [f"run {number:03}" for number in range(first, first + 3)]


def test_equal_content_under_two_ids_is_one_data_set(filling: Filling) -> None:
    fill(filling)
    filling.dataset("copy", n_samples=7, fingerprint="f", fingerprint_method="sha256")
    filling.dataset("original", fingerprint="f", fingerprint_method="sha256")
    filling.run("copy", at(0.1), 0.3)
    filling.run("original", at(0.1), 0.5)
    results = filling.done().results(ODD)
    assert len(results.table.datasets) == 4
    (both,) = [name for name, ids in results.datasets.items() if len(ids) == 2]
    assert cells(results)[both, 0.1][0] == pytest.approx(0.4)
    assert results.dataset_named("id of copy") == both == results.dataset_named("id of orig")
    assert results.dataset_named("nothing") is None
    with pytest.raises(DataError, match="means 4 data sets"):
        results.dataset_named("id of")


def test_two_contents_of_one_name_stay_apart(filling: Filling) -> None:
    fill(filling)
    filling.dataset("set 0", dataset_id="another 12345678")
    filling.add("dataset_configs", DatasetConfig(dataset_config_id="u", dataset_id="another 12345678", recorded_at=NOW))
    filling.run("set 0", at(0.1), 0.9, dataset_config_id="u")
    names = filling.done().results(ODD).table.datasets
    assert names == ("set 0 (12345678)", "set 0 (of set 0)", "set 1", "set 2")


def test_a_run_that_diverged_counts_as_the_worst(filling: Filling) -> None:
    fill(filling)
    filling.run("set 1", at(0.1, 1), math.nan)
    lake = filling.done()
    of_set = [value_of(1, lr, seed) for lr in (0.1, 0.01) for seed in range(3)]
    most, least = lake.results(ODD), lake.results(ODD, mode="min")
    assert cells(most)["set 1", 0.1][0] == pytest.approx(np.mean([*of_set[:3], min(of_set)]))
    assert cells(least)["set 1", 0.1][0] == pytest.approx(np.mean([*of_set[:3], max(of_set)]))
    assert (most.n_lost, most.n_runs, most.table.maximize, least.table.maximize) == (1, 19, True, False)


def test_only_finished_runs_of_the_project_with_the_metric(filling: Filling) -> None:
    fill(filling)
    filling.run("set 0", at(5.0), 9.0, status="failed")
    filling.run("set 0", at(6.0), 9.0, project="other")
    filling.run("set 0", at(7.0), None)
    lake = filling.done()
    assert {lr for _, lr in cells(lake.results(ODD, project="p"))} == {0.1, 0.01}
    assert {lr for _, lr in cells(lake.results(ODD))} == {0.1, 0.01, 6.0}


def test_settings_that_a_data_set_or_a_module_fixes_are_no_choice(filling: Filling) -> None:
    for dataset, classes in (("a", 3), ("b", 4)):
        filling.dataset(dataset)
        for width in (8, 16):
            filling.run(dataset, {"width": width, "n_classes": classes, "deep": True}, 0.1 * width)
        for steps in (1, 2):
            filling.run(
                dataset, {"head": "lr"}, 0.2, module="m.Other", trainer={"max_steps": steps, "deterministic": steps}
            )
    table = filling.done().results(ODD).table
    assert sorted(map(repr, table.settings)) == sorted([
        repr({"module": "m.Net", "width": 8}), repr({"module": "m.Net", "width": 16}),
        repr({"module": "m.Other", "trainer.max_steps": 1}), repr({"module": "m.Other", "trainer.max_steps": 2}),
    ])  # fmt: skip


def test_a_setting_keeps_its_kind(filling: Filling) -> None:
    values: list[Any] = [1, 1.5, True, "1", "x", None, [1, 2]]
    filling.dataset("a")
    for number, value in enumerate(values):
        filling.run("a", {"odd.key": value}, 0.1 * number)
    filling.run("a", {}, 0.9)
    table = filling.done().results(ODD).table
    order = [round(10 * mean) for mean in table.mean]
    found = {
        number: table.settings[c].get("odd.key") for number, c in zip(order, table.configuration_index, strict=True)
    }
    assert {number: repr(value) for number, value in found.items() if number < 5} == {
        number: repr(value) for number, value in enumerate(values[:5])
    }
    assert found[6] == "[1,2]"


def test_settings_of_runs_without_the_metric_are_no_choice(filling: Filling) -> None:
    for number, value in enumerate((0.5, 0.6)):
        filling.dataset(f"set {number}")
        filling.run(f"set {number}", {"lr": 0.1, "width": 8}, value)
        filling.run(f"set {number}", {"lr": 0.2, "width": 8}, None)
    with pytest.raises(DataError, match=r"all 2 finished runs .* have the same settings"):
        filling.done().results(ODD)


def test_ignored_keys_are_no_settings(filling: Filling) -> None:
    fill(filling)
    filling.run("set 0", {**at(0.1), "note": "x"}, 0.9)
    filling.run("set 0", {**at(0.1), "note": "y"}, 0.9)
    lake = filling.done()
    assert len(lake.results(ODD).table.configurations) == 4
    assert len(lake.results(ODD, ignore=["note"]).table.configurations) == 2


def test_a_batch_size_is_a_setting(filling: Filling) -> None:
    fill(filling)
    for size in (16, 64):
        filling.add("dataset_configs", DatasetConfig(
            dataset_config_id=f"u{size}", dataset_id="id of set 0", recorded_at=NOW, batch_size=size,
        ))  # fmt: skip
        filling.run("set 0", at(0.1, seed=9), 0.9, dataset_config_id=f"u{size}")
    table = filling.done().results(ODD).table
    assert {one["data.batch_size"] for one in table.settings} == {16, 32, 64}


def test_evaluated_tasks(filling: Filling) -> None:
    filling.dataset("a")
    filling.dataset("b")
    for lr in (0.1, 0.01):
        for dataset in ("a", "b"):
            run = filling.run(dataset, {"lr": lr}, None)
            for steps in (5, 10):
                for task in range(4):
                    filling.add("episodes", Episode(
                        run_id=run, segment=0, episode_id=f"{task}", method="maml", dataset_id=f"id of {dataset}",
                        episode_seed=0, episode_index=task, classes=[0], ways=20 if task == 3 and steps == 5 else 5,
                        shots=1, queries=1, inner_steps=steps, loss=1.0, accuracy=lr + task / 10 + steps / 100,
                    ))  # fmt: skip
    results = filling.done().results("episodes.accuracy")
    table = results.table
    assert len(table.mean) == 8
    for c, mean in zip(table.configuration_index, table.mean, strict=True):
        settings = table.settings[c]
        tasks = 1.0 if settings["inner_steps"] == 5 else 1.5
        assert mean == pytest.approx(settings["lr"] + tasks / 10 + settings["inner_steps"] / 100)
    assert results.notes == ("Only tasks of 5 ways and 1 shots count; 4 results of other tasks were left out.",)


def test_descriptors_of_all_data_sets(filling: Filling) -> None:
    fill(filling, class_counts={"x": 30, "y": 10}, sample_shape=[3, 8, 8], diversity=0.25, size_bytes=1000)
    filling.dataset("untried", n_samples=5)
    results = filling.done().results(ODD)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert results.descriptors["set 1"] == pytest.approx({
        "log samples": math.log(1000), "log bytes": math.log(1000), "log classes": math.log(3),
        "log samples per class": math.log(1000 / 3), "class balance": entropy,
        "log values per sample": math.log(192), "channels": 3.0, "diversity": 0.25,
    })  # fmt: skip
    assert results.descriptors["untried"] == {"log samples": pytest.approx(math.log(5))}
    assert results.table.descriptors_of("set 1") == pytest.approx(results.descriptors["set 1"])
    assert set(filling.lake.results(ODD, descriptors=["size"]).descriptors["set 1"]) == {"log samples", "log bytes"}


def test_embeddings_of_the_probe_that_most_have(filling: Filling) -> None:
    fill(filling)
    random = np.random.default_rng(0)
    centres = random.random((3, 4)) + 0.1
    vectors = centres[:, None] * random.uniform(0.9, 1.1, (3, 5, 1))
    for number in range(3):
        for task in range(5):
            filling.add("embeddings", Embedding(
                dataset_id=f"id of set {number}", dataset_config_id=f"{number}", recorded_at=NOW, task_seed=0,
                task_index=task, probe_id="probe", method="m", vector=vectors[number, task].tolist(),
                complexity=float(task),
            ))  # fmt: skip
    filling.add("embeddings", Embedding(
        dataset_id="id of set 0", dataset_config_id="0", recorded_at=NOW + timedelta(days=1), task_seed=0,
        task_index=0, probe_id="newer", method="m", vector=[1.0], complexity=100.0,
    ))  # fmt: skip
    results = filling.done().results(ODD, descriptors=["complexity", "embedding"])
    found = [results.descriptors[f"set {number}"] for number in range(3)]
    assert [one["complexity"] for one in found] == [2.0] * 3
    places = np.array([[one["embedding 1"], one["embedding 2"]] for one in found])
    lengths = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        expected = np.linalg.norm(lengths[a] - lengths[b])
        assert np.linalg.norm(places[a] - places[b]) == pytest.approx(expected, rel=1e-5)


def test_landmarks_are_medians_of_an_epoch(filling: Filling) -> None:
    fill(filling)
    for number, row in enumerate(filling.rows["runs"]):
        assert isinstance(row, Run)
        filling.add("metrics", *(
            Metric(
                run_id=row.run_id, segment=0, name=ODD, step=epoch, epoch=epoch, time=NOW, value=number + 100 * epoch
            )
            for epoch in range(3)
        ))  # fmt: skip
    described = filling.done().results(ODD, landmarks=[1]).descriptors
    assert [described[f"set {n}"][f"{ODD} at epoch 1"] for n in range(3)] == [102.5, 108.5, 114.5]


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        (ODD, {"mode": "best"}, "mode='best'"),
        (ODD, {"of_run": "mean"}, "of_run='mean'"),
        (ODD, {"descriptors": ["colour"]}, "'colour'"),
    ],
)
def test_words_that_are_not_known(plain: Lake, metric: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plain.results(metric, **options)


def test_a_metric_that_nobody_has_names_those_that_are_there(plain: Lake) -> None:
    with pytest.raises(DataError, match=r"'accuracy' and a data set; there are: val/acc's"):
        plain.results("accuracy")


def test_a_project_that_has_nothing_is_named(plain: Lake) -> None:
    with pytest.raises(DataError, match=r"no finished run of project 'other' has .* there are: none"):
        plain.results(ODD, project="other")


def test_nothing_to_choose_from(filling: Filling) -> None:
    filling.dataset("a")
    filling.run("a", {"lr": 0.1}, 0.5)
    filling.run("a", {"lr": 0.1}, 0.6)
    with pytest.raises(DataError, match="same settings on each data set"):
        filling.done().results(ODD)
