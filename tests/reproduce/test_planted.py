"""Differences that were planted on purpose are named first."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.reproduce import plan_reproduction, reproduce

from .conftest import only_run

Record = Callable[..., Lake]
pytestmark = pytest.mark.slow


def values(path: Path, n: int, classes: int) -> None:
    chance = random.Random(n)
    rows = [[*(f"{chance.random():.4f}" for _ in range(4)), str(number % classes)] for number in range(n)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(map(",".join, rows)))


def test_another_number_of_threads(
    repository: Path, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = record(repository, "planted_threads.py", "lake", OMP_NUM_THREADS="2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = only_run(lake)
    outcome = reproduce(lake, plan_reproduction(lake, run, keep_threads=True), tmp_path / "here", tolerance=0.0)
    assert outcome.verdict.word == "diverged"
    assert outcome.verdict.first_difference < 1e-4
    assert outcome.causes[0].kind == "threads"
    assert ("torch.num_threads", 2, 1) in [one[1:] for one in outcome.causes[0].differences]
    # With the threads as they were, it is the same again.
    outcome = reproduce(lake, plan_reproduction(lake, run), tmp_path / "recorded", tolerance=0.0)
    assert outcome.verdict.sentence == "identical"


def test_a_changed_data_file(repository: Path, tmp_path: Path, record: Record) -> None:
    values(repository / "data" / "values.csv", 48, 3)
    lake = record(repository, "planted_file.py", "lake")
    run = only_run(lake)
    same = reproduce(lake, plan_reproduction(lake, run, links=["data"]), tmp_path / "same")
    assert same.verdict.sentence == "identical"
    values(repository / "data" / "values.csv", 47, 2)
    outcome = reproduce(lake, plan_reproduction(lake, run, links=["data"]), tmp_path / "again")
    assert outcome.verdict.word == "diverged"
    assert outcome.causes[0].kind == "data"
    named = {one.name.rpartition(" ")[2]: one[2:] for one in outcome.causes[0].differences}
    assert named["dataset_samples"] == (48, 47)
    assert named["class_counts"] == ({"0": 16, "1": 16, "2": 16}, {"0": 24, "1": 23})
    assert "fingerprint" in named


def test_data_that_differ_are_told_also_of_identical_runs(repository: Path, tmp_path: Path, record: Record) -> None:
    place = repository / "data" / "values.csv"
    values(place, 20, 3)
    lake = record(repository, "planted_validation.py", "lake")
    run = only_run(lake)
    lines = place.read_text().splitlines()
    place.write_text("\n".join([*lines[:5], "0.5,0.5,0.5,0.5,0", *lines[6:]]))
    command = [sys.executable, "-m", "lightning_lde.cli", "reproduce", "lake", run, "--yes", "--link", "data"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "identical: run" in done.stdout
    assert "TensorDataset fingerprint" in done.stdout
    assert "samples: 1 gone (row 5), 19 kept → 1 new (row 5)" in done.stdout


def test_a_changed_package(repository: Path, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    site = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ["PYTHONPATH"]]))

    def install(version: str, factor: float) -> None:
        for old in site.glob("*/METADATA"):
            old.unlink()
            old.parent.rmdir()
        (site / f"augmenter-{version}.dist-info").mkdir(parents=True)
        about = f"Metadata-Version: 2.1\nName: augmenter\nVersion: {version}\n"
        (site / f"augmenter-{version}.dist-info" / "METADATA").write_text(about)
        (site / "augmenter.py").write_text(f"def augment(batch):\n    return batch * {factor}\n")

    install("1.0", 1.0)
    lake = record(repository, "planted_package.py", "lake")
    install("2.0", 1.5)
    outcome = reproduce(lake, plan_reproduction(lake, only_run(lake)), tmp_path / "again")
    assert outcome.verdict.word == "diverged"
    assert outcome.causes[0].kind == "packages"
    assert [one[1:] for one in outcome.causes[0].differences] == [("augmenter", "1.0", "2.0")]


@pytest.mark.parametrize(
    ("program", "cause", "start"),
    [("planted_augmentation.py", "randomness", True), ("planted_weights.py", "start weights", False)],
)
def test_random_numbers_that_nobody_seeds(
    repository: Path, tmp_path: Path, record: Record, program: str, cause: str, *, start: bool
) -> None:
    lake = record(repository, program, "lake")
    outcome = reproduce(lake, plan_reproduction(lake, only_run(lake)), tmp_path / "again")
    assert outcome.verdict.word == "diverged"
    assert outcome.verdict.weights_start is start
    assert outcome.causes[0].kind == cause
