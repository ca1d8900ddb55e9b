"""Programs of many styles in a repository of their own, recorded there and run again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_lde import Lake

# Programs, not modules: importing them would run them.
collect_ignore = ["scripts"]

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = Path(__file__).parent.parent.parent


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the programs, without git."""
    folder = tmp_path / "project"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as a repository with one commit, the working directory."""
    (project / ".gitignore").write_text("__pycache__/\ndata/\nlake/\nlogs/\n*.ckpt\n")
    git(project, "init", "-q", "-b", "main")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "first")
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Lake]:
    """Start a program in a folder; it records to the folder ``lake`` there."""
    places = os.pathsep.join(place for place in (str(ROOT), os.environ.get("PYTHONPATH")) if place)
    monkeypatch.setenv("PYTHONPATH", places)
    for variable in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "LDE_REPRODUCE"):
        monkeypatch.delenv(variable, raising=False)

    def start(folder: Path, *words: str, **variables: str) -> Lake:
        environment = {**os.environ, **variables}
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return Lake(folder / "lake")

    return start


def only_run(lake: Lake) -> str:
    """The id of the run that is no reproduction and was opened last."""
    rows = lake.sql("select run_id from runs where reproduces is null order by started_at desc").to_pylist()
    return str(rows[0]["run_id"])


@pytest.fixture(autouse=True)
def _only_what_a_test_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the tests are no part of a program that one of them records."""
    tests = str(ROOT / "tests")
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(tests):
            monkeypatch.delitem(sys.modules, name)
