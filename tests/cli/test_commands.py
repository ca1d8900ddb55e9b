"""The lde command on a small lake: output forms, the variable, and errors in one line with code 2."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lightning_lde import Lake
from lightning_lde.recording import Recorder


@pytest.fixture
def lake(lake_path: Path) -> str:
    recorder = Recorder(Lake(lake_path).create().storage, project="p", name="first [run]")
    recorder.start_segment("fit")
    recorder.log_metrics({"loss": float("nan")}, step=0)
    recorder.log_metrics({"loss": 0.25}, step=1)
    recorder.finish_segment("finished")
    return str(lake_path)


def lde(*words: str, code: int = 0, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    import os

    done = subprocess.run(
        [sys.executable, "-m", "lightning_lde.cli", *words], capture_output=True, env={**os.environ, **(env or {})}
    )
    assert done.returncode == code, done.stderr.decode()
    return done


def error_line(*words: str, env: dict[str, str] | None = None) -> str:
    text = lde(*words, code=2, env=env).stderr.decode()
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1
    return text


@pytest.mark.parametrize("command", ["init", "runs", "show", "sql", "correlate", "report"])
def test_every_command_has_help(command: str) -> None:
    assert command in lde("--help").stdout.decode()
    assert "Usage" in lde(command, "--help").stdout.decode()


def test_init_makes_a_lake_once(tmp_path: Path) -> None:
    assert b"made a lake" in lde("init", str(tmp_path / "new")).stdout
    assert b"already" in lde("init", str(tmp_path / "new")).stdout
    assert Lake(tmp_path / "new").sql("select 1 as one").to_pylist() == [{"one": 1}]


def test_sql_in_all_forms(lake: str, tmp_path: Path) -> None:
    query = "select name, value, time from metrics order by step"
    text = lde("sql", lake, query).stdout.decode()
    assert "0.25" in text
    assert "(2 rows)" in text
    rows = json.loads(lde("sql", lake, query, "--format", "json").stdout)
    assert [(row["name"], row["value"]) for row in rows] == [("loss", None), ("loss", 0.25)]
    lines = list(csv.DictReader(io.StringIO(lde("sql", lake, query, "--format", "csv").stdout.decode())))
    assert [line["value"] for line in lines] == ["nan", "0.25"]
    table = pq.read_table(io.BytesIO(lde("sql", lake, query, "--format", "parquet").stdout))
    assert table.column("name").to_pylist() == ["loss", "loss"]


def test_the_variable_stands_for_the_url(lake: str) -> None:
    env = {"LDE_URI": lake}
    assert b"(1 row)" in lde("runs", env=env).stdout
    assert b"loss" in lde("sql", "select name from metrics", env=env).stdout
    assert b"finished" in lde("show", "first [run]", env=env).stdout


def test_runs_and_show(lake: str) -> None:
    text = lde("runs", lake).stdout.decode()
    assert "first [run]" in text
    assert "finished" in text
    assert "(0 rows)" in lde("runs", lake, "--where", "status = 'failed'").stdout.decode()
    run_id = json.loads(lde("runs", lake, "--format", "json").stdout)[0]["run_id"]
    page = lde("show", lake, run_id[:20]).stdout.decode()
    assert f"run {run_id}  finished" in page
    assert "last 0.25  (min 0.25, max 0.25, 2 points)" in page
    assert json.loads(lde("show", lake, run_id, "--format", "json").stdout)["run"]["summary"]["loss"]["max"] == 0.25


def test_errors_are_one_line(lake: str, tmp_path: Path) -> None:
    assert "no folder" in error_line("runs", str(tmp_path / "none"))
    assert "lde init" in error_line("runs", str(tmp_path))
    assert "syntax error" in error_line("sql", lake, "selec 1")
    assert "no run 'xyz'" in error_line("show", lake, "xyz")
    assert "s3://bucket/x" in error_line("runs", "s3:/bucket/x")
    assert "nosuch" in error_line("runs", "nosuch://x")
    assert "needs 4" in error_line("correlate", lake)
    assert "does not exist" in error_line("sql", lake, "select * from nowhere")


def test_wrong_use_names_the_way_out(lake: str) -> None:
    assert "LDE_URI" in lde("runs", code=2).stderr.decode()
    assert "KEY=VALUE" in lde("runs", lake, "--storage-option", "x", code=2).stderr.decode()
    assert "quotes" in lde("sql", lake, "select", "1", code=2).stderr.decode()
    lde("nonsense", code=2)


@pytest.mark.s3
def test_s3_with_options_and_a_missing_bucket(bucket_url: str, s3_server) -> None:
    options = [word for name, value in s3_server.options.items() for word in ("--storage-option", f"{name}={value}")]
    lde("init", bucket_url, *options)
    assert b"(0 rows)" in lde("runs", bucket_url, *options).stdout
    assert "no bucket" in error_line("runs", "s3://missing-bucket/x", *options)
    env = {
        "AWS_ENDPOINT_URL": s3_server.endpoint, "AWS_ACCESS_KEY_ID": s3_server.key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret,
    }  # fmt: skip
    assert b"(0 rows)" in lde("runs", bucket_url, env=env).stdout


def test_a_closed_pipe_is_no_error(lake: str) -> None:
    command = (
        f"{sys.executable} -m lightning_lde.cli sql {lake} 'select range from range(100000)' --format csv | head -1"
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True)
    assert done.stdout == b"range\n"
    assert done.stderr == b""
