"""Submodules come back at their commits, from the copies that are here, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lightning_lde.capture import capture_sources
from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce import Recorded, make_plan, missing_modules, modules_of, write_code

from .conftest import git
from .test_folder import code_of, contents
from .test_plan import RUN


def repository_of(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(f"NAME = {name!r}\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def add_module(folder: Path, source: Path, path: str) -> None:
    git(folder, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(source), path)
    git(folder, "commit", "-q", "-m", f"with {path}")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a submodule that has one of its own; where they came from is gone."""
    away = tmp_path / "away"
    inner, outer = repository_of(away / "inner", "inner"), repository_of(away / "outer", "outer")
    add_module(outer, inner, "deep/inner")
    root = repository_of(tmp_path / "project", "train")
    add_module(root, outer, "libs/outer")
    git(root, "-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init", "--recursive")
    shutil.rmtree(away)
    return root


def test_submodules_come_back(project: Path, tmp_path: Path) -> None:
    row, snapshot = code_of(project)
    assert missing_modules(modules_of(project, row["commit"])) == []
    before = git(project, "status", "--porcelain"), git(project, "config", "--list", "--local")
    folder = tmp_path / "code"
    assert write_code(folder, row, repository=project, snapshot=snapshot) == []
    assert contents(folder) == contents(project)
    assert (folder / "libs/outer/deep/inner/inner.py").is_file()
    # For git, and so for what is recorded from inside, nothing differs from the commit.
    assert git(folder, "status", "--porcelain") == ""
    assert capture_sources(str(folder / "train.py")).row.code_id == row["code_id"]
    assert (git(project, "status", "--porcelain"), git(project, "config", "--list", "--local")) == before


@pytest.mark.parametrize("setting", ["short", "log"])
def test_a_submodule_at_another_commit_is_an_uncommitted_change(project: Path, tmp_path: Path, setting: str) -> None:
    git(project, "config", "diff.submodule", setting)
    module = project / "libs" / "outer"
    (module / "outer.py").write_text("NAME = 'newer'\n")
    git(module, "commit", "-q", "-a", "-m", "newer")
    row, snapshot = code_of(project)
    write_code(tmp_path / "code", row, repository=project, snapshot=snapshot)
    assert (tmp_path / "code" / "libs" / "outer" / "outer.py").read_text() == "NAME = 'newer'\n"
    assert capture_sources(str(tmp_path / "code" / "train.py")).row.code_id == row["code_id"]


def test_a_submodule_whose_working_tree_is_gone(project: Path, tmp_path: Path) -> None:
    row, snapshot = code_of(project)
    git(project, "submodule", "-q", "deinit", "-f", "--all")
    write_code(tmp_path / "code", row, repository=project, snapshot=snapshot)
    assert (tmp_path / "code" / "libs" / "outer" / "deep" / "inner" / "inner.py").is_file()


def test_submodules_that_are_not_here_are_named(project: Path, tmp_path: Path) -> None:
    row, snapshot = code_of(project)
    commit = git(project / "libs" / "outer", "rev-parse", "HEAD")
    git(project, "submodule", "-q", "deinit", "-f", "--all")
    shutil.rmtree(project / ".git" / "modules")
    modules = modules_of(project, row["commit"])
    missing = missing_modules(modules)
    assert missing == [f"libs/outer at {commit[:12]}"]
    plan = make_plan(Recorded(run=RUN, code=row), lake="/lake", repository=project, here={}, missing_modules=missing)
    assert [obstacle for obstacle in plan.obstacles if f"libs/outer at {commit[:12]}" in obstacle]
    with pytest.raises(ReproductionError, match="libs/outer is not here"):
        write_code(tmp_path / "code", row, repository=project, snapshot=snapshot)
    # What lies in its place can be taken instead.
    (project / "libs" / "outer" / "outer.py").write_text("NAME = 'by hand'\n")
    assert missing_modules(modules, ["libs/outer"]) == []
    write_code(tmp_path / "linked", row, repository=project, snapshot=snapshot, links=["libs/outer"])
    assert (tmp_path / "linked" / "libs" / "outer" / "outer.py").read_text() == "NAME = 'by hand'\n"
