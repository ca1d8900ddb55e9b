"""Real runs side by side: what was made to differ is found, nothing else, and figures agree with scipy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy import stats
from torch.utils.data import DataLoader, Subset, TensorDataset

from lightning_lde import Lake, LDECallback, Recorder
from lightning_lde.errors import ConfigurationError, RunNotFoundError
from lightning_lde.fewshot import EpisodeResults
from lightning_lde.query import MISSING, RunComparison, compare_runs

QUIET: Mapping[str, Any] = {
    "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "enable_checkpointing": False, "log_every_n_steps": 1,
}  # fmt: skip


class Net(pl.LightningModule):
    def __init__(self, lr: Any = 0.1, optimizer: str = "SGD", **other: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(4, 3)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        return getattr(torch.optim, self.hparams["optimizer"])(self.parameters(), lr=float(self.hparams["lr"]))


def train(
    lake: Path, name: str, *, seed: int = 0, batch: int = 8, n_train: int = 24, shift: float = 0.0, epochs: int = 2,
    clip: float | None = None, **hparams: Any,
) -> None:  # fmt: skip
    pl.seed_everything(seed, verbose=False)
    chance = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(40, 4, generator=chance) + shift, torch.randint(0, 3, (40,), generator=chance))
    train_loader = DataLoader(Subset(data, range(n_train)), batch_size=batch, shuffle=True)
    val_loader = DataLoader(Subset(data, range(24, 40)), batch_size=16)
    callback = LDECallback(lake, project="p", name=name, on_error="raise", system_metrics_every_s=None)
    trainer = pl.Trainer(callbacks=[callback], max_epochs=epochs, gradient_clip_val=clip, **QUIET)
    trainer.fit(Net(**hparams), train_loader, val_loader)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Runs that each differ from the first in one known thing."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDE_SPOOL_DIR", str(folder / "spool"))
        path = folder / "lake"
        train(path, "base", depth=3, schedule={"warmup": None, "steps": [1, 2]})
        train(path, "again", depth=3, schedule={"warmup": None, "steps": [1, 2]})
        train(path, "typed", depth=3.0, schedule={"steps": [1, 2]})
        train(path, "adam", depth=3, schedule={"warmup": None, "steps": [1, 2]}, optimizer="Adam")
        train(path, "data", depth=3, schedule={"warmup": None, "steps": [1, 2]}, batch=4, shift=1.0)
        train(path, "fewer", depth=3, schedule={"warmup": None, "steps": [1, 2]}, n_train=16, clip=0.5)
        for seed in (1, 2):
            train(path, f"seed {seed}", seed=seed, depth=3, schedule={"warmup": None, "steps": [1, 2]})
    return Lake(path)


def compared(lake: Lake, *names: str, **options: Any) -> RunComparison:
    return compare_runs(lake, names, **options)


def found(comparison: RunComparison) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Differences by section and key, without what is different in every run."""
    always = {"duration_s"}
    parts = {
        section.title: {fact.key: fact.values for fact in section.differences if fact.key not in always}
        for section in comparison.sections
    }
    return {title: facts for title, facts in parts.items() if facts}


def test_a_repetition_differs_in_nothing(lake: Lake) -> None:
    comparison = compared(lake, "base", "again")
    assert found(comparison) == {}
    assert [metric.key.name for metric in comparison.metrics] == ["train/loss", "val/accuracy"]
    assert not any(metric.differs for metric in comparison.metrics)
    assert all(curve is not None and curve.is_identical for metric in comparison.metrics for curve in metric.curves)
    [code] = comparison.code
    assert code.is_equal is not False
    shown = comparison.as_dict()
    assert shown["metrics"] == []
    assert [fact["key"] for part in shown["sections"] for fact in part["facts"]] == ["duration_s"]
    everything = comparison.as_dict(everything=True)
    assert len(everything["metrics"]) == 2
    assert sum(len(part["facts"]) for part in everything["sections"]) > 100


def test_parameters_are_typed_and_nested(lake: Lake) -> None:
    assert found(compared(lake, "base", "typed")) == {
        "parameters": {"depth": (3, 3.0), "schedule.warmup": (None, MISSING)}
    }


def test_another_optimizer(lake: Lake) -> None:
    differences = found(compared(lake, "base", "adam"))
    assert set(differences) == {"parameters", "optimizers", "weights"}
    assert differences["parameters"] == {"optimizer": ("SGD", "Adam")}
    optimizers = differences["optimizers"]
    assert optimizers["optimizer.class"] == ("torch.optim.sgd.SGD", "torch.optim.adam.Adam")
    assert optimizers["optimizer.param_groups[0].betas"] == (MISSING, [0.9, 0.999])
    assert set(differences["weights"]) == {"weights_end_id"}


def test_other_data(lake: Lake) -> None:
    data = found(compared(lake, "base", "data"))["data"]
    assert data["trained_on.batch_size"] == (8, 4)
    assert {"trained_on.fingerprint", "validated_on.fingerprint", "trained_on.batch_size"} == set(data)


def test_another_split_and_a_trainer_flag(lake: Lake) -> None:
    differences = found(compared(lake, "base", "fewer"))
    assert differences["trainer"] == {"gradient_clip_val": (None, 0.5)}
    assert differences["data"]["trained_on.n_samples"] == (24, 16)
    assert set(differences["data"]) == {"trained_on.n_samples", "trained_on.indices_hash"}


def test_curves_and_figures_are_those_of_the_lake(lake: Lake) -> None:
    comparison = compared(lake, "base", "adam", window=4)
    [loss] = [metric for metric in comparison.metrics if metric.key.name == "train/loss"]
    rows = [
        [
            (row["step"], row["value"])
            for row in lake.sql(
                "select step, value from metrics join runs using (run_id) where runs.name = ? "
                "and metrics.name = 'train/loss' order by step",
                [name],
            ).to_pylist()
        ]
        for name in ("base", "adam")
    ]
    steps, first, second = [step for step, _ in rows[0]], *(np.array([value for _, value in each]) for each in rows)
    [curve] = loss.curves
    assert curve is not None
    assert (curve.n_common, curve.first_unpaired) == (len(steps), None)
    assert curve.mean_absolute_difference == pytest.approx(np.abs(first - second).mean())
    assert curve.first_different is not None
    # The first loss is computed before the first step of the optimizer.
    assert curve.first_different.step == steps[1]
    assert curve.largest is not None
    assert curve.largest.step == steps[int(np.abs(first - second).argmax())]
    for figures, values in zip(loss.figures, (first, second), strict=True):
        assert figures is not None
        assert figures.window is not None
        expected = stats.ttest_1samp(values[-4:], 0.0).confidence_interval(0.95)
        assert (figures.window.low, figures.window.high) == pytest.approx((expected.low, expected.high))
        assert (figures.window.n, figures.n, figures.last) == (4, len(values), (steps[-1], values[-1]))
        assert figures.lowest == (steps[int(values.argmin())], values.min())
    assert loss.better == "lowest"


def test_runs_that_differ_only_in_the_seed(lake: Lake) -> None:
    comparison = compared(lake, "base", "adam", "seed 1", "seed 2")
    [group] = comparison.groups
    assert (group.members, group.seeds) == ((0, 2, 3), (0, 1, 2))
    figures = {figure.name: figure for figure in group.figures}
    assert set(figures) == {"train/loss (train), last", "val/accuracy (val), last"}
    values = [
        lake.sql(
            "select arg_max(value, step) as last from metrics where run_id = ? and name = 'train/loss'",
            [comparison.runs[number].run_id],
        ).to_pylist()[0]["last"]
        for number in group.members
    ]
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    interval = figures["train/loss (train), last"].interval
    assert (interval.low, interval.high, interval.n) == pytest.approx((expected.low, expected.high, 3))
    assert set(found(compared(lake, "base", "seed 1"))) == {"seeds", "weights"}
    # The same seed twice is no second seed.
    assert compared(lake, "base", "again").groups == ()
    [group] = compared(lake, "base", "again", "seed 1").groups
    assert (group.members, group.figures[0].interval.n) == ((0, 1, 2), 2)


def test_the_first_run_is_the_one_compared_with(lake: Lake) -> None:
    comparison = compared(lake, "base", "adam", "again")
    [loss] = [metric for metric in comparison.metrics if metric.key.name == "train/loss"]
    assert [curve and curve.is_identical for curve in loss.curves] == [False, True]
    assert [head.label for head in comparison.runs] == ["A", "B", "C"]


def test_ten_runs_cost_as_many_queries_as_two(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    sql = Lake.sql

    def counted(self: Lake, query: str, parameters: Sequence[object] = ()) -> Any:
        asked.append(query)
        return sql(self, query, parameters)

    monkeypatch.setattr(Lake, "sql", counted)
    names = ["base", "again", "typed", "adam", "data", "fewer", "seed 1", "seed 2"]
    everything = compared(lake, *names)
    n_queries = len(asked)
    assert n_queries <= 10
    facts = {(section.title, fact.key): fact.values for section in everything.sections for fact in section.facts}
    curves = {metric.key: metric.curves for metric in everything.metrics}
    # What is read for all at once is what is read for two alone.
    for number in (2, 4):
        asked.clear()
        pair = compared(lake, "base", names[number])
        assert len(asked) == n_queries
        for section in pair.sections:
            for fact in section.facts:
                values = facts[section.title, fact.key]
                assert fact.values == (values[0], values[number])
        assert [metric.curves for metric in pair.metrics] == [
            (curves[metric.key][number - 1],) for metric in pair.metrics
        ]


def test_the_dict_is_json(lake: Lake) -> None:
    shown = compared(lake, "base", "typed").as_dict()
    text = json.dumps(shown, allow_nan=False, default=str)
    [depth, warmup] = next(part for part in json.loads(text)["sections"] if part["title"] == "parameters")["facts"]
    assert depth["values"] == [{"type": "int", "value": 3}, {"type": "float", "value": 3.0}]
    assert warmup["values"] == [{"type": "null", "value": None}, {"type": "missing"}]


@pytest.mark.parametrize(
    ("runs", "error", "message"),
    [
        ([], ConfigurationError, "got 0 runs"),
        (["base"], ConfigurationError, "got 1 run to"),
        (["base", "adam", "base"], ConfigurationError, "'base' and 'base' are one run"),
        (["base", "nothing"], RunNotFoundError, "no run 'nothing'"),
        (["base", "0"], RunNotFoundError, "means 8 runs"),
    ],
)
def test_wrong_runs(lake: Lake, runs: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compare_runs(lake, runs)


def test_one_run_under_two_names(lake: Lake) -> None:
    run_id = lake.resolve_run("base")
    with pytest.raises(ConfigurationError, match="are one run"):
        compare_runs(lake, ["base", run_id])
    with pytest.raises(ConfigurationError, match="window=0"):
        compare_runs(lake, ["base", "adam"], window=0)


def record(path: Path, name: str, points: list[tuple[int | None, float]], **facts: Any) -> None:
    with Recorder(path, project="p", name=name, system_metrics_every_s=None) as run:
        for step, value in points:
            run.log({"x": value}, step=step)
        if facts:
            run.update(**facts)


def test_curves_of_runs_made_by_hand(lake_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    record(lake_path, "one", [(0, 1.0), (1, nan), (2, inf), (3, 0.5), (4, 1.0)])
    record(lake_path, "two", [(0, 1.0), (1, nan), (2, inf), (3, 0.5 + 1e-9), (4, nan), (5, 2.0)])
    record(lake_path, "other", [])
    comparison = compare_runs(Lake(lake_path), ["one", "two", "other"])
    [metric] = comparison.metrics
    [curve, absent] = metric.curves
    assert curve is not None
    assert absent is None
    assert (curve.n_common, curve.n_different, curve.n_beyond, curve.first_unpaired) == (5, 2, 1, 5)
    assert curve.first_different is not None
    assert curve.first_beyond is not None
    assert (curve.first_different.step, curve.first_beyond.step) == (3, 4)
    assert (curve.n_mean, curve.mean_absolute_difference) == (4, pytest.approx(1e-9 / 4, rel=1e-6))
    assert metric.figures[2] is None
    shown = comparison.as_dict()["metrics"][0]
    assert shown["curves"][0]["first_beyond"] == {"step": 4, "first": 1.0, "second": "NaN", "difference": "Infinity"}
    assert shown["figures"][0]["window"]["n"] == 3
    assert json.dumps(shown, allow_nan=False)


def test_metrics_that_nobody_else_has_and_the_machines_own(lake_path: Path) -> None:
    for name, word in (("one", "a"), ("two", "b")):
        with Recorder(lake_path, project="p", name=name, system_metrics_every_s=None) as run:
            run.log({word: 1.0}, step=0)
            run.log({"cpu": math.pi * len(name) + (name == "two")}, step=0, context="system")
    comparison = compare_runs(Lake(lake_path), ["one", "two"])
    assert [(metric.key.name, metric.differs) for metric in comparison.metrics] == [
        ("a", True),
        ("b", True),
        ("cpu", True),
    ]
    assert [metric["name"] for metric in comparison.as_dict()["metrics"]] == ["a", "b"]


def test_many_points_of_a_long_run(lake_path: Path) -> None:
    record(lake_path, "one", [(step, float(step)) for step in range(3000)])
    record(lake_path, "two", [(step, float(step) + (step == 2000)) for step in range(3000)])
    [metric] = compare_runs(Lake(lake_path), ["one", "two"]).metrics
    [curve] = metric.curves
    assert curve is not None
    assert (curve.n_common, curve.n_different) == (3000, 1)
    assert curve.first_different == curve.largest


class Tasks(torch.utils.data.Dataset[Any]):
    """Evaluated tasks with ids, drawn by a seed of their own."""

    def __init__(self, n: int, first: int, seed: int) -> None:
        self.n, self.first, self.seed = n, first, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.zeros(1)

    def episode_id(self, index: int) -> str:
        return f"task {self.first + index}"

    def lde_facts(self) -> dict[str, Any]:
        return {"name": "birds", "fingerprint": "f", "fingerprint_method": "given", "n_samples": 10}

    def lde_config(self) -> dict[str, Any]:
        return {"split": "test", "settings": {"ways": 5, "seed": self.seed}, "sampler": "Tasks"}


class Judge(pl.LightningModule):
    """What it says of tasks is no setting of it: a public attribute would be one."""

    _accuracies: list[float]

    def __init__(self, method: str) -> None:
        super().__init__()
        self.net = torch.nn.Linear(1, 1)
        self.method = method

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        accuracies = self._accuracies
        n = len(accuracies)
        results = EpisodeResults(
            method=self.method, index=list(range(n)), classes=[[index] for index in range(n)], ways=5, shots=1,
            queries=10, inner_steps=[None] * n, loss=[1 - each for each in accuracies], accuracy=accuracies,
        )  # fmt: skip
        return {"episodes": results}


def judge(path: Path, name: str, accuracies: Any, *, method: str = "maml", first: int = 0, seed: int = 0) -> None:
    pl.seed_everything(seed, verbose=False)
    callback = LDECallback(path, project="p", name=name, on_error="raise", system_metrics_every_s=None)
    values = [float(each) for each in accuracies]
    loader = DataLoader(Tasks(len(values), first, seed), batch_size=len(values))
    module = Judge(method)
    module._accuracies = values
    pl.Trainer(callbacks=[callback], **QUIET).test(module, loader, verbose=False)


def test_evaluated_tasks_of_real_runs_are_paired_by_their_ids(lake_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0.3, 0.7, 20)
    second = np.clip(first + rng.normal(0.05, 0.02, 20), 0, 1)
    judge(lake_path, "one", first)
    judge(lake_path, "same tasks", second, method="pretraining")
    judge(lake_path, "other tasks", second, first=100)
    comparison = compare_runs(Lake(lake_path), ["one", "same tasks", "other tasks"])
    [[paired], [unpaired]] = comparison.evaluations
    expected = stats.ttest_rel(second, first).confidence_interval(0.95)
    accuracy = paired.scores[0]
    assert (paired.is_paired, paired.n_common, accuracy.n_pairs) == (True, 20, 20)
    assert (accuracy.low, accuracy.high) == pytest.approx((expected.low, expected.high))
    assert (paired.first.method, paired.second.method) == ("maml", "pretraining")
    wide = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert (unpaired.is_paired, unpaired.scores[0].n_pairs) == (False, 0)
    assert (unpaired.scores[0].low, unpaired.scores[0].high) == pytest.approx((wide.low, wide.high))
    shown = comparison.as_dict()["evaluations"][0][0]
    assert (shown["n_first"], shown["n_second"], shown["second"]["dataset"]) == (20, 20, "birds")


def test_seeds_of_samplers_are_seeds(lake_path: Path) -> None:
    values = {0: [0.5, 0.7], 1: [0.3, 0.4], 2: [0.9, 0.8]}
    for seed, accuracies in values.items():
        judge(lake_path, f"seed {seed}", accuracies, seed=seed)
    [group] = compare_runs(Lake(lake_path), [f"seed {seed}" for seed in values]).groups
    [accuracy, _] = group.figures
    expected = stats.ttest_1samp([np.mean(each) for each in values.values()], 0.0).confidence_interval(0.95)
    assert accuracy.name == "accuracy (maml, birds test, 5-way 1-shot)"
    assert (accuracy.interval.low, accuracy.interval.high, accuracy.interval.n) == pytest.approx(
        (expected.low, expected.high, 3)
    )
