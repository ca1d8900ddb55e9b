"""Rankings and curves, against pandas on the raw rows."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.errors import ConfigurationError, RunNotFoundError
from lightning_lde.schema import Dataset, DatasetConfig, Metric, Param, Record, Run

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
ODD = 'val/acc.~"x" $'


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    """Twenty configurations with one to three runs each, on two data sets."""
    random = np.random.default_rng(3)
    rows: dict[str, list[Record]] = {name: [] for name in ("runs", "params", "datasets", "dataset_configs", "metrics")}
    for number in range(2):
        rows["datasets"].append(Dataset(dataset_id=f"d{number}", name=f"set {number}", recorded_at=START))
        rows["dataset_configs"].append(
            DatasetConfig(dataset_config_id=f"u{number}", dataset_id=f"d{number}", recorded_at=START)
        )
    for config in range(20):
        for key, value in (("lr", 0.1 * config), ("wd", 0.5)):
            rows["params"].append(
                Param(config_id=f"c{config}", key=key, value_num=value, value_text=f"{value:.1f}", type="float")
            )
        for repetition in range(1 + config % 3):
            run_id = f"00000000-0000-7000-8000-{config:06d}{repetition:06d}"
            value = float(random.normal(config / 20, 0.3))
            summary = {ODD: {"last": value, "min": -value, "max": value + 1}}
            project = "p" if config < 15 else "q"
            rows["runs"].append(
                Run(
                    run_id=run_id, segment=0, revision=0, project=project, name=f"run {run_id[-12:]}",
                    status="finished" if config != 7 else "failed", started_at=START + timedelta(hours=repetition),
                    heartbeat_at=START, heartbeat_every_s=5.0, dataset_config_id=f"u{config % 2}",
                    pipeline_config_id=f"c{config}",
                    summary=summary,
                )
            )  # fmt: skip
    lake = Lake(lake_path).create()
    for table, records in rows.items():
        if records:
            lake.storage.add_records(table, records, project="p")
    return lake


def raw(lake: Lake) -> pd.DataFrame:
    rows = lake.sql("select * from runs where status = 'finished'").to_pylist()
    return pd.DataFrame([{**row, **json.loads(row["summary"])[ODD]} for row in rows])


@pytest.mark.parametrize(("mode", "of_run"), [("max", "last"), ("min", "last"), ("max", "max"), ("min", "min")])
@pytest.mark.parametrize("dataset", [None, "set 1", "d0"])
def test_configurations_by_their_mean(lake: Lake, mode: str, of_run: str, dataset: str | None) -> None:
    frame = raw(lake)
    if dataset is not None:
        frame = frame[frame["dataset_config_id"] == f"u{dataset[-1]}"]
    means = frame.groupby("pipeline_config_id")[of_run].agg(["mean", "count", "std"])
    expected = means.sort_values("mean", ascending=mode == "min").head(5)
    found = lake.top(ODD, mode=mode, of_run=of_run, dataset=dataset, k=5).to_pandas()
    assert found["rank"].tolist() == [1, 2, 3, 4, 5]
    assert found["pipeline_config_id"].tolist() == expected.index.tolist()
    assert found["value"].to_numpy() == pytest.approx(expected["mean"].to_numpy())
    assert found["n"].tolist() == expected["count"].tolist()
    margin = stats.t.ppf(0.975, expected["count"] - 1) * expected["std"] / np.sqrt(expected["count"])
    assert (found["high"] - found["value"]).to_numpy() == pytest.approx(margin.to_numpy(), nan_ok=True)
    assert [len(runs) for runs in found["runs"]] == expected["count"].tolist()


def test_single_runs(lake: Lake) -> None:
    expected = raw(lake).sort_values("last", ascending=False).head(10)
    found = lake.top(ODD, aggregate=False).to_pandas()
    assert [runs[0] for runs in found["runs"]] == expected["run_id"].tolist()
    assert found["value"].tolist() == expected["last"].tolist()
    assert set(found["n"]) == {1}
    assert lake.top(ODD, aggregate=False).to_pandas()["low"].isna().all()


def test_only_one_project(lake: Lake) -> None:
    found = lake.top(ODD, project="q", k=100).to_pandas()
    assert sorted(found["pipeline_config_id"]) == [f"c{number}" for number in range(15, 20)]


def test_runs_of_which_little_is_known_repeat_nothing(lake: Lake) -> None:
    for number, known in enumerate([{}, {}, {"pipeline_config_id": "c1"}, {"dataset_config_id": "u1"}]):
        run = Run(
            run_id=f"n{number}", segment=0, revision=0, project="z", status="finished", started_at=START,
            heartbeat_at=START, heartbeat_every_s=5.0, summary={ODD: {"last": float(number)}}, **known,
        )  # fmt: skip
        lake.storage.add_records("runs", [run], project="z")
    found = lake.top(ODD, project="z")
    assert found.column("runs").to_pylist() == [["n3"], ["n2"], ["n1"], ["n0"]]


def test_what_is_no_number_comes_last(lake: Lake) -> None:
    for number, value in enumerate([math.nan, math.inf]):
        run = Run(
            run_id=f"n{number}", segment=0, revision=0, project="p", status="finished", started_at=START,
            heartbeat_at=START, heartbeat_every_s=5.0, pipeline_config_id=f"n{number}", summary={ODD: {"last": value}},
        )  # fmt: skip
        lake.storage.add_records("runs", [run], project="p")
    for mode in ("max", "min"):
        found = lake.top(ODD, mode=mode, k=100)
        assert found.column("pipeline_config_id").to_pylist()[-1] == "n0"
    assert lake.top(ODD, k=1).column("value").to_pylist() == [math.inf]


def test_a_metric_that_is_not_there(lake: Lake) -> None:
    assert lake.top("nothing").num_rows == 0
    result = CliRunner().invoke(app, ["top", lake.url, "nothing"])
    assert result.exit_code == 2
    assert "there are: " in result.output


@pytest.mark.parametrize("wrong", [{"mode": "best"}, {"of_run": "first"}, {"k": 0}])
def test_a_wrong_word_is_said(lake: Lake, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected one of"):
        lake.top("x", **wrong)


def test_the_command_shows_settings_that_differ(lake: Lake) -> None:
    result = CliRunner().invoke(app, ["top", lake.url, ODD, "--limit", "3", "--format", "json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)
    best = lake.top(ODD, k=3).to_pylist()
    assert [row["run_id"] for row in rows] == [row["runs"][0] for row in best]
    assert [row["lr"] for row in rows] == [f"{0.1 * int(row['pipeline_config_id'][1:]):.1f}" for row in best]
    assert "wd" not in rows[0]
    full = CliRunner().invoke(app, ["top", lake.url, ODD, "--all-settings", "--single", "--format", "json"])
    assert json.loads(full.output)[0]["wd"] == "0.5"


def test_settings_of_runs(lake: Lake) -> None:
    run = "00000000-0000-7000-8000-000004000001"
    assert lake.params([run]).to_pylist() == [
        {"run_id": run, "key": "lr", "value_num": 0.4, "value_text": "0.4", "type": "float"},
        {"run_id": run, "key": "wd", "value_num": 0.5, "value_text": "0.5", "type": "float"},
    ]
    assert lake.params(keys=["lr"]).num_rows == lake.runs().num_rows
    assert lake.params().num_rows == 2 * lake.runs().num_rows
    with pytest.raises(RunNotFoundError):
        lake.params(["nobody"])


def test_runs_sorted_and_cut(lake: Lake) -> None:
    found = lake.runs("project = ?", ["q"], sort="name desc", columns=["name", "status as state"], limit=2)
    assert found.column_names == ["name", "state"]
    names = [row["name"] for row in lake.runs("project = 'q'").to_pylist()]
    assert found.column("name").to_pylist() == sorted(names, reverse=True)[:2]


RUN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def curve(lake: Lake) -> pd.DataFrame:
    random = np.random.default_rng(0)
    values = random.normal(size=1000).cumsum()
    values[500] = 1e6
    points = [
        Metric(run_id=RUN, segment=0, name="a", context="train", step=step, time=START, value=float(value))
        for step, value in enumerate(values)
    ]
    points += [Metric(run_id=RUN, segment=0, name="b", context="val", step=s, time=START, value=1.0) for s in range(5)]
    lake.storage.add_records("metrics", points, project="p")
    return pd.DataFrame({"step": range(1000), "value": values})


def test_a_curve(lake: Lake, curve: pd.DataFrame) -> None:
    found = lake.metrics(RUN, "a").to_pandas()
    assert found["step"].tolist() == curve["step"].tolist()
    assert found["value"].tolist() == curve["value"].tolist()
    assert set(lake.metrics(RUN).column("name").to_pylist()) == {"a", "b"}
    assert lake.metrics(RUN, context="val").num_rows == 5
    assert lake.metrics(RUN, "nothing").num_rows == 0


@pytest.mark.parametrize("most", [4, 10, 101, 999, 1000, 5000])
def test_a_curve_is_thinned_out_and_keeps_its_peaks(lake: Lake, curve: pd.DataFrame, most: int) -> None:
    found = lake.metrics(RUN, "a", max_points=most).to_pandas()
    assert len(found) <= most
    assert len(found) >= min(1000, most) // 2
    merged = found.merge(curve, on="step", suffixes=("", "_true"))
    assert (merged["value"] == merged["value_true"]).all()
    assert len(merged) == len(found)
    assert found["value"].max() == curve["value"].max()
    assert found["value"].min() == curve["value"].min()
    assert found["step"].is_monotonic_increasing
    # A stretch of equal values needs one point.
    assert 2 <= lake.metrics(RUN, "b", max_points=most).num_rows <= min(5, most)


def test_too_few_points_are_refused(lake: Lake, curve: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="4 or more"):
        lake.metrics(RUN, "a", max_points=3)
