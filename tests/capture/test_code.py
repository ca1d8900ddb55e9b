"""The code of a run: facts of git in a real repository, compared with what git itself says."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_lde.capture import capture_code
from lightning_lde.schema import canonical_json, records_to_arrow

SECRET = "hunter2secret"


def _git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "train.py").write_text("print(1)\n")
    (root / "config.py").write_text("LR = 1\n")
    _git(root, "init", "-q", "-b", "feature/x")
    _git(root, "add", ".")
    _git(root, "commit", "-q", "-m", "first")
    _git(root, "remote", "add", "origin", f"https://ann:{SECRET}@git.example/team/project.git")
    return root


def test_facts_of_a_clean_repository(repository: Path) -> None:
    row = capture_code(str(repository / "scripts" / "train.py"))
    assert row.commit == _git(repository, "rev-parse", "HEAD")
    assert row.branch == "feature/x"
    assert row.remote == "https://git.example/team/project.git"
    assert row.dirty is False
    assert row.diff is None
    assert row.entry_point == "scripts/train.py"
    assert row.entry_point_hash == hashlib.sha256(b"print(1)\n").hexdigest()
    assert records_to_arrow("code", [row]).num_rows == 1


def test_a_changed_file_is_in_the_diff_without_its_secrets(repository: Path) -> None:
    clean = capture_code(str(repository / "scripts" / "train.py"))
    (repository / "config.py").write_text(f"LR = 2\nAPI_KEY = '{SECRET}'\nURL = 'https://u:{SECRET}@h'\n")
    row = capture_code(str(repository / "scripts" / "train.py"))
    assert row.dirty is True
    assert "+LR = 2" in str(row.diff)
    assert "-LR = 1" in str(row.diff)
    assert SECRET not in canonical_json([row.diff, row.remote])
    assert row.code_id != clean.code_id


def test_staged_changes_count_and_untracked_files_do_not(repository: Path) -> None:
    program = str(repository / "scripts" / "train.py")
    (repository / "lake.parquet").write_text("x")
    assert capture_code(program).dirty is False
    (repository / "config.py").write_text("LR = 3\n")
    _git(repository, "add", "config.py")
    assert capture_code(program).dirty is True
    assert "+LR = 3" in str(capture_code(program).diff)


def test_the_id_depends_on_content_only(repository: Path) -> None:
    program = str(repository / "scripts" / "train.py")
    first, second = capture_code(program), capture_code(program)
    assert first.code_id == second.code_id
    (repository / "config.py").write_text("LR = 2\n")
    _git(repository, "commit", "-q", "-a", "-m", "second")
    assert capture_code(program).code_id != first.code_id


def test_a_huge_diff_is_cut_and_says_so(repository: Path) -> None:
    (repository / "config.py").write_text("x = 1  # long\n" * 200_000)
    diff = capture_code(str(repository / "scripts" / "train.py")).diff
    assert diff is not None
    assert len(diff) < 1_000_100
    assert diff.endswith("<diff cut here after 1000000 characters>\n")


def test_nothing_of_the_user_runs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = repository / "trace"
    tool = repository / "tool.sh"
    tool.write_text(f"#!/bin/sh\necho ran >> '{trace}'\ncat \"$1\"\n")
    tool.chmod(0o755)
    for setting in ("core.fsmonitor", "diff.external", "core.pager", "diff.textual.textconv"):
        _git(repository, "config", setting, str(tool))
    (repository / ".gitattributes").write_text("*.py diff=textual\n")
    (repository / "config.py").write_text("LR = 2\n")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(tool))
    row = capture_code(str(repository / "scripts" / "train.py"))
    assert "+LR = 2" in str(row.diff)
    assert not trace.exists()


def test_the_index_is_not_written(repository: Path) -> None:
    index = repository / ".git" / "index"
    os.utime(repository / "config.py", (1, 1))
    before = index.read_bytes()
    capture_code(str(repository / "scripts" / "train.py"))
    assert index.read_bytes() == before


def test_a_repository_without_commits(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1\n")
    row = capture_code(str(tmp_path / "a.py"))
    assert (row.commit, row.diff, row.entry_point) == (None, None, "a.py")


def test_outside_a_repository_no_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "a.py").write_text("1\n")
    row = capture_code(str(tmp_path / "a.py"))
    assert (row.commit, row.branch, row.remote, row.dirty, row.diff) == (None,) * 5
    assert row.entry_point == "a.py"
    assert str(tmp_path) not in canonical_json([row.entry_point, row.remote])


def test_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    row = capture_code(str(repository / "scripts" / "train.py"))
    assert (row.commit, row.dirty, row.entry_point) == (None, None, "train.py")
    assert row.entry_point_hash is not None


def test_an_environment_that_points_elsewhere_is_ignored(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / "nowhere"))
    assert capture_code(str(repository / "scripts" / "train.py")).branch == "feature/x"


def test_the_default_is_the_running_program(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(repository / "scripts" / "train.py"), "--lr", "1"])
    assert capture_code().entry_point == "scripts/train.py"


def test_an_installed_program_is_described_by_the_working_directory(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    program = tmp_path / "venv" / "bin" / "lightning"
    program.write_text("1\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.chdir(repository)
    row = capture_code()
    assert (row.entry_point, row.branch) == ("lightning", "feature/x")


@pytest.mark.parametrize("entry_point", ["", "no/such/file.py", "a\0b", "x" * 5000])
def test_odd_entry_points(entry_point: str) -> None:
    assert capture_code(entry_point).entry_point is None
