"""Golden traces: what Lightning calls, in which order, and that recording changes nothing of it.

`REWRITE_GOLDEN=1 python -m pytest tests/lightning/test_hooks.py` writes the files anew after a look at the difference.
Files beside this version's folder hold for the newest Lightning; a folder named for an older one holds what differs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lde import Lake, LDECallback

from .scenarios import SCENARIOS, Outcome, Segments, play
from .tracing import PACKAGE, fold, pl

# Lightning has much to say of such small trainings; what this package says must still be an error.
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "error::lightning_lde.errors.LDEWarning",
)

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
NEWEST = "2.6"
VERSION = ".".join(pl.__version__.split(".")[:2])


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def played(name: str, folder: Path, lake: Path | None = None) -> Outcome:
    if not SCENARIOS[name].processes:
        return play(name, folder, lake)
    program = [sys.executable, "-W", "ignore", "-m", "tests.lightning.scenarios", name, str(folder)]
    subprocess.run([*program, *([str(lake)] if lake else [])], cwd=ROOT, check=True, timeout=200)
    return Outcome(**json.loads((folder / "outcome.json").read_text()))


def golden(name: str, found: str) -> str:
    newest, own = GOLDEN / f"{name}.txt", GOLDEN / VERSION / f"{name}.txt"
    if os.environ.get("REWRITE_GOLDEN") and VERSION == NEWEST:
        newest.write_text(found)
    elif os.environ.get("REWRITE_GOLDEN") and found != newest.read_text():
        own.parent.mkdir(exist_ok=True)
        own.write_text(found)
    elif os.environ.get("REWRITE_GOLDEN"):
        own.unlink(missing_ok=True)
    return (own if own.exists() else newest).read_text()


def recorded(lake: Path) -> list[Segments]:
    if not lake.exists():
        return []
    rows = Lake(lake).sql(
        "select run_id, stage, arg_max(status, revision) as status from stored.runs group by run_id, segment, stage "
        "order by run_id, segment"
    )
    runs: dict[str, Segments] = {}
    for row in rows.to_pylist():
        runs.setdefault(row["run_id"], []).append((row["stage"], row["status"]))
    return list(runs.values())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if scenario.processes else [])
        for name, scenario in SCENARIOS.items()
    ],
)
def test_hooks_come_as_they_are_known_and_recording_changes_nothing(name: str, tmp_path: Path, lake_path: Path) -> None:
    plain = played(name, tmp_path / "plain")
    assert plain.trace == golden(name, plain.trace)
    assert played(name, tmp_path / "recorded", lake_path) == plain
    assert recorded(lake_path) == SCENARIOS[name].runs


@pytest.mark.slow
@pytest.mark.skipif(PACKAGE != "pytorch_lightning", reason="this is the run that it starts")
def test_the_other_package_has_the_same_hooks() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", __file__]
    environment = {**os.environ, "LIGHTNING_PACKAGE": "lightning.pytorch", "REWRITE_GOLDEN": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-5000:]


def test_one_random_number_more_would_be_seen(tmp_path: Path, lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Harmful(LDECallback):
        def on_train_start(self, *_: Any) -> None:
            torch.rand(1)

    plain = played("fit", tmp_path / "plain")
    monkeypatch.setattr("tests.lightning.scenarios.LDECallback", Harmful)
    harmed = played("fit", tmp_path / "recorded", lake_path)
    assert harmed.trace == plain.trace
    assert harmed.weights != plain.weights
    assert harmed.chance != plain.chance


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.rglob("*.txt")} == set(SCENARIOS)


def test_folding_loses_no_line() -> None:
    lines = [*"ab" * 2, "c", "d", "d", *("e", "f", "f") * 3]
    assert fold(lines) == ["2 times:", "  a", "  b", "c", "d (2 times)", "3 times:", "  e", "  f (2 times)"]
    assert fold(["a", "b"]) == ["a", "b"]
