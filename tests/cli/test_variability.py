"""lde variability and analysis/variability.py on a small lake: text, JSON, CSV, and errors in one line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lightning_lde import Lake
from lightning_lde.cli import app, main
from lightning_lde.schema import Metric, Record, Run

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three splits of four seeds, and one run that repeats another one."""
    lake_path = tmp_path_factory.mktemp("lake")
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    rng = np.random.default_rng(0)
    rows: dict[str, list[Record]] = {"runs": [], "metrics": []}
    values = [(split, seed, split + 0.1 * rng.normal()) for split in range(3) for seed in range(4)]
    for number, (split, seed, value) in enumerate([*values, values[0]]):
        now = start + timedelta(minutes=number)
        run = Run(
            run_id=f"run {number:02}", segment=0, revision=0, project="p", status="finished", seed=seed, started_at=now,
            heartbeat_at=now, heartbeat_every_s=5.0, pipeline_config_id="config", dataset_config_id=f"split {split}",
            tags={"number": str(number)},
        )  # fmt: skip
        rows["runs"].append(run)
        rows["metrics"] += [
            Metric(run_id=run.run_id, segment=0, name="loss", context="val", step=step, time=now, value=value * factor)
            for step, factor in enumerate((3.0, 2.0, 1.0))
        ]
        if number in {0, 12}:
            rows["metrics"].append(Metric(run_id=run.run_id, segment=0, name="constant", time=now, value=0.5))
    for table, records in rows.items():
        Lake(lake_path).create().storage.add_records(table, records, project="p")
    return str(lake_path)


def lde(*words: str, **variables: str) -> tuple[str, str]:
    """The command in this process: another one would import DuckDB and scipy for each call."""
    done = CliRunner().invoke(app, ["variability", *words], env=variables, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_text_names_n_intervals_warnings_and_the_query(lake: str) -> None:
    text, _ = lde(lake, "loss", "--difference", "0.1")
    assert "loss, last value: 13 finished runs of project p" in text
    assert "13 runs in 12 cells, 1 to 2 a cell: 3 dataset_config, 1 environment, 1 code, 4 seed" in text
    assert "environment" in text
    assert "not estimated, one level" in text
    assert "residual: dataset_config × seed" in text
    assert "95 % interval" in text
    assert "needs" in text
    assert "2 runs have the same results (final weights are not recorded), 4 values" in text
    assert "run 00, run 12" in text
    assert "loss of each finished run: 13 rows" in text
    assert "select" not in text
    assert "select run_id" in lde(lake, "loss", "--queries")[0]


def test_the_query_that_is_written_can_be_run(lake: str) -> None:
    page = json.loads(lde("loss", "--format", "json", LDE_URI=lake)[0])
    again = Lake(lake).sql(page["queries"][0]["sql"])
    assert again.num_rows == page["queries"][0]["n_rows"] == 13
    (group,) = page["groups"]
    assert [one["value"] for one in group["runs"]] == again.column("value").to_pylist()


def test_json_has_null_where_nothing_is_known(lake: str) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    page = json.loads(lde(lake, "loss", "--format", "json")[0], parse_constant=refuse)
    found = {one["name"]: one for one in page["groups"][0]["decomposition"]["components"]}
    assert found["environment"]["variance"] is None
    assert found["environment"]["reason"] == "one level"
    assert (
        found["dataset_config"]["share_low"] < found["dataset_config"]["share"] < found["dataset_config"]["share_high"]
    )
    assert [one["run_ids"] for one in page["duplicates"]] == [["run 00", "run 12"]]


def test_csv_has_one_row_per_component(lake: str) -> None:
    text, notes = lde(lake, "loss", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["component"], row["is_residual"]) for row in rows] == [
        ("dataset_config", "False"),
        ("environment", "False"),
        ("code", "False"),
        ("seed", "False"),
        ("dataset_config × seed", "True"),
    ]
    assert {row["n_runs"] for row in rows} == {"13"}
    assert {row["query"] for row in rows} == {"loss of each finished run"}
    assert "nothing that is recorded tells them apart" in notes


def test_csv_without_a_component_keeps_its_form(lake: str) -> None:
    words = ("--by", "seed", "--group", "pipeline_config,dataset_config", "--ignore", "x", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(lde(lake, "constant", *words)[0])))
    assert [(row["n_runs"], row["mean"], row["mean_low"]) for row in rows] == [("2", "0.5", "")]
    nothing, _ = lde(lake, "loss", "--by", "code", "--group", "seed,dataset_config,tag:number", "--format", "csv")
    assert nothing.splitlines() == [
        "group,levels,degrees_of_freedom,variance,variance_low,variance_high,share,share_low,share_high,reason"
    ]


def test_words_by_and_group(lake: str) -> None:
    text, _ = lde(lake, "loss", "--by", "seed", "--group", "pipeline_config, dataset_config")
    assert "3 groups of repetitions" in text
    assert "dataset_config split 2" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("f1",), "has 'f1'; there are: constant, loss"),
        (("loss", "--difference", "-0"), "difference"),
    ],
)
def test_errors_are_one_line(
    lake: str,
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["lde", "variability", lake, *words])
    with pytest.raises(SystemExit) as end:
        main()
    text, error = capsys.readouterr()
    assert (end.value.code, text, len(error.strip().splitlines())) == (2, "", 1)
    assert message in error


def test_the_program_says_the_same(lake: str) -> None:
    program = [str(ROOT / "analysis" / "variability.py"), lake, "loss", "--project", "p"]
    done = subprocess.run([sys.executable, *program], capture_output=True, text=True, check=True)
    assert done.stdout == lde(lake, "loss", "--queries")[0]
