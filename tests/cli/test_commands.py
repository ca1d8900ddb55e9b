"""The lde command on a small lake: output forms, the variable, and errors in one line with code 2."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.recording import Recorder
from lightning_lde.recording._spool import Rows, SpoolFile, SpoolHeader
from lightning_lde.schema import (
    Dataset,
    DatasetConfig,
    Episode,
    Event,
    Metric,
    Run,
    new_run_id,
    records_to_arrow,
    utc_now,
)

RUN = new_run_id()
HEADER = SpoolHeader("lake", "p", "2026-11-21", RUN, RUN, 0)


@pytest.fixture
def lake(lake_path: Path) -> str:
    recorder = Recorder(Lake(lake_path).create().storage, project="p", name="first [run]")
    recorder.start_segment("fit")
    recorder.log({"loss": float("nan")}, step=0)
    recorder.log({"loss": 0.25}, step=1)
    recorder.finish_segment("finished")
    return str(lake_path)


def add_run_with_nan(lake: str) -> None:
    """A run whose only metric was never a number."""
    now = utc_now()
    run = Run(
        run_id=new_run_id(), segment=0, revision=1, project="p", name="nothing but nan", status="finished",
        started_at=now, heartbeat_at=now, heartbeat_every_s=5.0,
    )  # fmt: skip
    metric = Metric(run_id=run.run_id, segment=0, name="loss", time=now, value=float("nan"))
    Lake(lake).storage.add_records("runs", [run], project="p")
    Lake(lake).storage.add_records("metrics", [metric], project="p")


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


@pytest.mark.parametrize("command", sorted(app.commands))
def test_every_command_has_help(command: str) -> None:
    assert command in CliRunner().invoke(app, ["--help"]).stdout
    page = CliRunner().invoke(app, [command, "--help"])
    assert page.exit_code == 0
    assert f"Usage: lde {command}" in page.stdout
    assert str(app.commands[command].help).split()[:8] == page.stdout.split("\n\n")[1].split()[:8]


def test_help_in_a_process_of_its_own() -> None:
    assert b"variability" in lde("--help").stdout
    assert b"List runs" in lde("runs", "--help").stdout


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


def test_json_has_no_number_that_json_lacks(lake: str) -> None:
    def strictly(words: tuple[str, ...]) -> Any:
        def refuse(word: str) -> None:
            raise AssertionError(word)

        return json.loads(lde(*words, "--format", "json").stdout, parse_constant=refuse)

    query = "select {'a': 'nan'::double, 'b': ['inf'::double], 'c': date '2026-11-21'} as s, map {'k': 1} as m"
    assert strictly(("sql", lake, query)) == [{"s": {"a": None, "b": [None], "c": "2026-11-21"}, "m": [["k", 1]]}]
    add_run_with_nan(lake)
    page = strictly(("show", lake, "nothing but nan"))
    assert [row["last"] for row in page["metrics"]] == [None]


def test_two_columns_of_one_name_stay_two(lake: str) -> None:
    query = "select 1 as a, 2 as a, 3 as a_1"
    assert lde("sql", lake, query, "--format", "csv").stdout == b"a,a,a_1\n1,2,3\n"
    assert json.loads(lde("sql", lake, query, "--format", "json").stdout) == [{"a": 1, "a_1": 2, "a_1_1": 3}]
    assert lde("sql", lake, query).stdout.decode().splitlines()[-2].split() == ["1", "2", "3"]
    table = pq.read_table(io.BytesIO(lde("sql", lake, query, "--format", "parquet").stdout))
    assert table.to_pylist() == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_show_keeps_loaders_and_data_sets_apart(lake: str) -> None:
    run_id = Lake(lake).resolve_run("first [run]")
    now = utc_now()
    storage = Lake(lake).storage
    metrics = [
        Metric(run_id=run_id, segment=0, name="acc", context="val", dataloader_idx=loader, time=now, value=0.5)
        for loader in (0, 1)
    ]
    storage.add_records("metrics", metrics, project="p")
    names = ("birds", "cars")
    storage.add_records("datasets", [Dataset(dataset_id=n, recorded_at=now, name=n) for n in names], project="p")
    storage.add_records(
        "dataset_configs",
        [DatasetConfig(dataset_config_id=f"{n}-use", recorded_at=now, dataset_id=n, split="test") for n in names],
        project="p",
    )
    episodes = [
        Episode(
            run_id=run_id, segment=0, episode_id="e", method="maml", dataset_config_id=f"{name}-use", dataset_id=name,
            episode_seed=0, episode_index=0, classes=[0], ways=2, shots=1, queries=1, loss=1.0, accuracy=0.5,
        )
        for name in names
    ]  # fmt: skip
    storage.add_records("episodes", episodes, project="p")
    page = lde("show", lake, run_id).stdout.decode()
    assert "acc (val, loader 0)" in page
    assert "acc (val, loader 1)" in page
    assert "maml (birds, split test)" in page
    assert "maml (cars, split test)" in page


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


def test_sync_sends_what_a_dead_run_left(lake: str, tmp_path: Path) -> None:
    left = tmp_path / "spool" / HEADER.writer
    left.mkdir(parents=True)
    event = Event(run_id="r", segment=0, time=utc_now(), level="info", kind="k", message="left behind")
    for number, address in enumerate([lake, "s3:/broken"]):
        file = SpoolFile(left / f"{number:06d}.spool", replace(HEADER, lake=address, number=number))
        file.append(Rows({"events": records_to_arrow("events", [event])}))
        file.close()
    done = lde("sync", str(tmp_path / "spool"), code=2)
    assert b"1 rows" in done.stdout
    assert b"not sent: LakeURLError" in done.stdout
    assert json.loads(lde("sql", lake, "select message from events", "--format", "json").stdout) == [
        {"message": "left behind"}
    ]
    (left / "000001.spool").unlink()
    assert b"nothing to send" in lde("sync", env={"LDE_SPOOL_DIR": str(tmp_path / "spool")}).stdout


def test_names_cannot_command_a_terminal(tmp_path: Path) -> None:
    with Recorder(tmp_path / "lake", project="p", name="a\x1b[31mred\r\nb"):
        pass
    for words in (["runs"], ["show", "a\x1b[31mred\r\nb"]):
        assert b"\x1b" not in lde(words[0], str(tmp_path / "lake"), *words[1:]).stdout


@pytest.mark.s3
def test_storage_options_that_do_not_fit_are_one_line(s3_server) -> None:
    assert "both" in error_line("runs", "s3://bucket/lake", "--storage-option", "key=k")
    assert "client_kwargs" in error_line("runs", "s3://bucket/lake", "--storage-option", "client_kwargs=1")
    assert "nonsense" in error_line("runs", "s3://bucket/lake", "--storage-option", "nonsense=1")
    options = [word for name, value in s3_server.options.items() for word in ("--storage-option", f"{name}={value}")]
    assert "no bucket" in error_line("init", "s3://missing-bucket/x", *options)


def test_a_file_is_no_lake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file" in error_line("runs", str(tmp_path / "file"))
    assert "is a file" in error_line("init", str(tmp_path / "file"))
