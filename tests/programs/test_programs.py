"""Every program of tasks/, analysis/ and examples/ runs as its first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake

ROOT = Path(__file__).parent.parent.parent
SMALL = [
    word
    for number in (
        "width=8", "meta_steps=2", "meta_batch=2", "queries=5", "pretraining_steps=4", "test_episodes=6",
        "probe_steps=4", "diversity_tasks=4", "diversity_images=4",
    )
    for word in ("--set", number)
]  # fmt: skip
SETS = [word for name in ("greek", "hebrew", "arrows", "digits") for word in ("--dataset", name)]


def run(program: str, *words: str | Path, cwd: Path, code: int = 0, **env: str) -> str:
    command = [sys.executable, str(ROOT / program), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def count(lake: Lake, query: str) -> int:
    return int(lake.sql(f"select count(*) as n from {query}").to_pylist()[0]["n"])


def test_quickstart(tmp_path: Path) -> None:
    output = run("examples/quickstart.py", cwd=tmp_path)
    lake = Lake(tmp_path / "lake")
    assert count(lake, "runs where status = 'finished' and project = 'digits' and seed = 1") == 1
    run_id = lake.sql("select run_id from runs").to_pylist()[0]["run_id"]
    assert output.count("LDE: recording run") == 1
    assert f"LDE: run {run_id} finished" in output
    facts = lake.sql("select n_samples, n_classes from datasets").to_pylist()
    assert facts == [{"n_samples": 1797, "n_classes": 10}]


@pytest.mark.slow
def test_lightning_cli(tmp_path: Path) -> None:
    words = [
        "fit", "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.accelerator", "cpu",
        "--trainer.callbacks+", "lightning_lde.LDECallback", "--trainer.callbacks.lake", str(tmp_path / "lake"),
        "--trainer.callbacks.project", "cli",
    ]  # fmt: skip
    run("examples/cli.py", *words, cwd=tmp_path)
    assert count(Lake(tmp_path / "lake"), "runs where status = 'finished' and project = 'cli'") == 1
    assert "A folder, ``s3://bucket/prefix``" in run(
        "examples/cli.py", "fit", "--trainer.callbacks.help", "lightning_lde.LDECallback", cwd=tmp_path
    )


@pytest.mark.slow
@pytest.mark.s3
def test_s3_example(tmp_path: Path, bucket_url: str, s3_server: Any) -> None:
    output = run(
        "examples/s3.py",
        bucket_url,
        cwd=tmp_path,
        AWS_ENDPOINT_URL=s3_server.endpoint,
        AWS_ACCESS_KEY_ID=s3_server.key,
        AWS_SECRET_ACCESS_KEY=s3_server.secret,
    )
    assert "'status': 'finished'" in output


@pytest.mark.slow
def test_maml_and_pretraining(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    few = ["--width", "8", "--test-tasks", "4", "--queries", "5"]
    run("tasks/maml.py", "lake", "--steps", "3", "--first-order", *few, cwd=tmp_path)
    run("tasks/pretrain.py", "lake", "--epochs", "1", *few, cwd=tmp_path)
    rows = lake.sql("select method, count(*) as n from episodes group by all order by all").to_pylist()
    assert rows == [{"method": "maml-first-order", "n": 8}, {"method": "pretraining+logistic-regression", "n": 4}]


@pytest.mark.slow
def test_study_diversity_and_correlation(tmp_path: Path) -> None:
    place = ["lake", "--project", "p"]
    first = run("tasks/study.py", *place, *SETS, *SMALL, "--jobs", "2", cwd=tmp_path)
    assert "12 trainings on 4 data sets, 0 are in lake already" in first
    again = run("tasks/study.py", *place, *SETS, *SMALL, cwd=tmp_path)
    assert "12 trainings on 4 data sets, 12 are in lake already" in again
    assert "12 finished" in run("tasks/study.py", *place, *SETS, *SMALL, "--status", cwd=tmp_path)
    assert "12 of 12 trainings" in run("analysis/tables.py", *place, *SETS, *SMALL, "-o", "tables", cwd=tmp_path)
    assert len(list((tmp_path / "tables").glob("*.parquet"))) == 5
    assert "greek" in run("analysis/diversity.py", *place, *SETS, *SMALL, cwd=tmp_path)
    output = run("analysis/correlation.py", *place, "-o", "out/report.html", cwd=tmp_path)
    assert sum(line.startswith("MAML first order, 5 steps ") for line in output.splitlines()) == 1
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count("<svg") >= 5
    assert count(Lake(tmp_path / "lake"), "runs where status = 'finished'") == 13


@pytest.mark.slow
def test_errors_are_one_line(tmp_path: Path) -> None:
    wrong = [
        (["tasks/study.py", "lake", "--dataset", "klingon"], "klingon"),
        (["tasks/study.py", "lake", "--set", "nonsense=1"], "no number 'nonsense'"),
        (["tasks/study.py", "lake", "--storage-option", "nonsense"], "KEY=VALUE"),
        (["analysis/correlation.py", "lake", "--storage-option", "nonsense"], "KEY=VALUE"),
        (["tasks/maml.py", "s3:/bucket/x", "--steps", "1"], "s3://bucket/x"),
        (["analysis/correlation.py", "nowhere"], "no folder nowhere"),
    ]
    for words, message in wrong:
        output = run(*words, cwd=tmp_path, code=2)
        assert message in output
        assert "Traceback" not in output
