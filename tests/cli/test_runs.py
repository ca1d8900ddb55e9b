"""`lde runs`: order, columns, settings in which runs differ, and counts."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.schema import Dataset, DatasetConfig, Param, Run, new_run_id, utc_now

RUNS = [
    # name, status, project, seconds, data set, settings
    ("a", "finished", "p", 30.0, "digits", {"lr": "0.1", "wd": "0", "name": "x"}),
    ("b", "failed", "p", 10.0, "digits", {"lr": "0.2", "wd": "0", "name": "y"}),
    ("c", "finished", "q", 20.0, None, {"wd": "0"}),
]


@pytest.fixture
def lake(lake_path: Path) -> str:
    storage = Lake(lake_path).create().storage
    now = utc_now()
    storage.add_records("datasets", [Dataset(dataset_id="d", name="digits", recorded_at=now)], project="p")
    use = DatasetConfig(dataset_config_id="use", dataset_id="d", recorded_at=now)
    storage.add_records("dataset_configs", [use], project="p")
    for number, (name, status, project, seconds, dataset, settings) in enumerate(RUNS):
        run = Run(
            run_id=new_run_id(), segment=0, revision=0, project=project, name=name, status=status,
            started_at=now + timedelta(seconds=number), heartbeat_at=now, heartbeat_every_s=5.0, duration_s=seconds,
            dataset_config_id="use" if dataset else None, pipeline_config_id=f"config {name}",
        )  # fmt: skip
        storage.add_records("runs", [run], project=project)
        rows = [
            Param(config_id=f"config {name}", key=key, value_text=text, type="str") for key, text in settings.items()
        ]
        storage.add_records("params", rows, project=project)
    return str(lake_path)


def lde(*words: str) -> Result:
    return CliRunner().invoke(app, ["runs", *words])


def rows(*words: str) -> list[dict[str, Any]]:
    done = lde(*words, "--format", "json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_order_and_columns(lake: str) -> None:
    assert [row["name"] for row in rows(lake)] == ["c", "b", "a"]
    found = rows(lake, "--sort", "duration_s", "--columns", "name, duration_s * 2 as twice, dataset", "--limit", "2")
    assert found == [
        {"name": "b", "twice": 20.0, "dataset": "digits"},
        {"name": "c", "twice": 40.0, "dataset": None},
    ]


def test_settings_are_shown_where_the_listed_runs_differ(lake: str) -> None:
    both = ("--columns", "name", "--sort", "name")
    assert rows(lake, *both, "--params") == [
        {"name": "a", "lr": "0.1", "params.name": "x"},
        {"name": "b", "lr": "0.2", "params.name": "y"},
        {"name": "c", "lr": None, "params.name": None},
    ]
    assert rows(lake, *both, "--params", "--where", "name = 'a'") == [{"name": "a"}]
    assert rows(lake, *both, "--all-params", "--where", "name = 'a'") == [
        {"name": "a", "lr": "0.1", "params.name": "x", "wd": "0"}
    ]
    assert rows(lake, "--params", "--where", "name = 'nobody'") == []


def test_a_table_for_people_says_what_it_leaves_out(lake: str) -> None:
    storage = Lake(lake).storage
    many = [Param(config_id="config a", key=f"setting {at:02}", value_text="1", type="str") for at in range(20)]
    storage.add_records("params", many, project="p")
    done = lde(lake, "--params")
    assert "14 more settings differ" in done.stderr
    assert "setting 05" in done.stdout
    assert "setting 06" not in done.stdout
    assert "setting 19" in lde(lake, "--all-params").stdout


def test_counts(lake: str) -> None:
    found = rows(lake, "--count-by", "status, project,dataset")
    assert [tuple(row.values()) for row in found] == [
        ("status", "finished", 2), ("status", "failed", 1),
        ("project", "p", 2), ("project", "q", 1),
        ("dataset", "digits", 2), ("dataset", None, 1),
    ]  # fmt: skip
    assert [row["runs"] for row in rows(lake, "--count-by", "status", "--where", "project = 'p'")] == [1, 1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--count-by", " , "), "project,status"),
        (("--count-by", "nothing"), "nothing"),
        (("--columns", "nothing"), "nothing"),
        (("--sort", "nothing"), "nothing"),
    ],
)
def test_what_is_not_there_is_said(lake: str, words: tuple[str, ...], said: str) -> None:
    done = lde(lake, *words)
    assert done.exit_code != 0
    assert said in done.stderr + str(done.exception)
