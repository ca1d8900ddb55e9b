"""All of one run: what differs stays apart, and edges that other runs recorded too are not missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from lightning_lde import Lake
from lightning_lde.query import run_details
from lightning_lde.schema import Dataset, DatasetConfig, Episode, Link, Metric, Run, new_run_id, utc_now

NOW = utc_now()


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    return Lake(lake_path).create()


def add_run(lake: Lake, name: str) -> Run:
    run = Run(
        run_id=new_run_id(), segment=0, revision=1, project="p", name=name, status="finished",
        started_at=NOW, heartbeat_at=NOW, heartbeat_every_s=5.0,
    )  # fmt: skip
    lake.storage.add_records("runs", [run], project="p")
    return run


def test_episodes_are_not_pooled_over_what_differs(lake: Lake) -> None:
    run = add_run(lake, "one")
    lake.storage.add_records(
        "datasets", [Dataset(dataset_id=name, recorded_at=NOW, name=name) for name in ("birds", "cars")], project="p"
    )
    uses = [("birds", "val"), ("birds", "test"), ("cars", "test")]
    configs = [
        DatasetConfig(dataset_config_id=f"{name}-{split}", recorded_at=NOW, dataset_id=name, split=split)
        for name, split in uses
    ]
    lake.storage.add_records("dataset_configs", configs, project="p")
    base = Episode(
        run_id=run.run_id, segment=0, episode_id="e", method="maml", weights_id="w0", dataset_config_id="birds-val",
        dataset_id="birds", episode_seed=0, episode_index=0, classes=[0], ways=2, shots=1, queries=1, inner_steps=5,
        loss=1.0, accuracy=0.1,
    )  # fmt: skip
    episodes = [
        base,
        replace(base, accuracy=0.3),
        replace(base, weights_id="w1", accuracy=0.4),
        replace(base, segment=1, weights_id="w1", accuracy=0.5),
        replace(base, segment=1, weights_id="w1", dataset_config_id="birds-test", accuracy=0.6),
        replace(base, segment=1, weights_id="w1", dataset_config_id="cars-test", dataset_id="cars", accuracy=0.7),
    ]
    lake.storage.add_records("episodes", episodes, project="p")
    rows = run_details(lake, "one").episodes
    low, high = stats.t.interval(0.95, 1, loc=0.2, scale=stats.sem([0.1, 0.3]))
    assert rows[0]["accuracy_half_interval"] == pytest.approx((high - low) / 2)
    assert rows[1]["accuracy_half_interval"] is None
    names = ("segment", "dataset", "split", "weights_id", "tasks")
    assert [(*(row[name] for name in names), round(row["accuracy"], 9)) for row in rows] == [
        (0, "birds", "val", "w0", 2, 0.2),
        (0, "birds", "val", "w1", 1, 0.4),
        (1, "birds", "test", "w1", 1, 0.6),
        (1, "birds", "val", "w1", 1, 0.5),
        (1, "cars", "test", "w1", 1, 0.7),
    ]


def test_metrics_of_two_loaders_are_two_rows(lake: Lake) -> None:
    run = add_run(lake, "one")
    metrics = [
        Metric(
            run_id=run.run_id, segment=0, name="acc", context="val", dataloader_idx=loader, step=0, time=NOW, value=v
        )
        for loader, v in ((0, 0.25), (1, 0.75))
    ]
    lake.storage.add_records("metrics", metrics, project="p")
    rows = run_details(lake, "one").metrics
    assert [(row["dataloader_idx"], row["points"], row["last"]) for row in rows] == [(0, 1, 0.25), (1, 1, 0.75)]


def test_an_edge_that_another_run_recorded_too_is_this_runs_as_well(lake: Lake) -> None:
    for name in ("one", "two"):
        run = add_run(lake, name)
        edge = Link(
            source_kind="dataset", source_id="d", relation="derived_from", target_kind="dataset", target_id="e",
            run_id=run.run_id, recorded_at=NOW,
        )  # fmt: skip
        lake.storage.add_records("links", [edge, edge], project="p")
    assert [len(run_details(lake, name).links) for name in ("one", "two")] == [1, 1]
