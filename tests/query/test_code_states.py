"""Diffs between two recorded states, in real repositories: applied to the first state they give the second."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lightning_lde.capture import capture_code
from lightning_lde.query import compare_code


def git(folder: Path, *words: str, given: str | None = None) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True, input=given
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "a:project"
    (root / "package").mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    write(root, {"train.py": "print(1)\n", "package/model.py": "".join(f"line {n}\n" for n in range(40))})
    commit(root)
    return root


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).write_text(content)


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "more")


def state(root: Path) -> dict[str, Any]:
    """What a run that started now would record."""
    return vars(capture_code(str(root / "train.py")))


def files_at(root: Path, row: dict[str, Any], folder: Path) -> dict[str, str]:
    """The files of a state, as git itself brings them back."""
    git(root, "worktree", "add", "--detach", "-q", str(folder), row["commit"])
    if row["diff"]:
        git(folder, "apply", given=row["diff"])
    return contents(folder)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".git")
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def change(root: Path, chance: random.Random) -> None:
    lines = (root / "package/model.py").read_text().splitlines()
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(lines))
        lines[place : place + chance.randint(0, 2)] = [f"changed {chance.random()}"]
    write(root, {"package/model.py": "\n".join(lines) + "\n", "train.py": f"print({chance.randint(1, 3)})\n"})


@pytest.mark.parametrize("seed", range(4))
def test_the_diff_applied_to_the_first_state_gives_the_second(repository: Path, tmp_path: Path, seed: int) -> None:
    chance, states = random.Random(seed), []
    for _ in range(2):
        change(repository, chance)
        if chance.random() < 0.7:
            commit(repository)
            change(repository, chance)
        states.append(state(repository))
    found = compare_code(*states, repository=repository / "package")
    second = files_at(repository, states[1], tmp_path / "second")
    files_at(repository, states[0], tmp_path / "first")
    assert found.missing is None
    if found.diff:
        git(tmp_path / "first", "apply", given=found.diff)
    assert found.is_equal is (found.diff is None)
    assert contents(tmp_path / "first") == second


def test_the_repository_stays_as_it_is(repository: Path) -> None:
    write(repository, {"train.py": "print(2)\n"})
    first = state(repository)
    commit(repository)
    write(repository, {"train.py": "print(3)\n"})
    second = state(repository)
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    assert "+print(3)" in str(compare_code(first, second, repository=repository).diff)
    assert {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()} == before


def test_changes_that_became_a_commit_are_the_same_state(repository: Path) -> None:
    write(repository, {"train.py": "print(2)\n"})
    dirty = state(repository)
    commit(repository)
    found = compare_code(dirty, state(repository), repository=repository)
    assert (found.is_equal, found.diff) == (True, None)


def test_one_commit_needs_no_repository_where_one_side_is_clean(repository: Path) -> None:
    clean = state(repository)
    write(repository, {"train.py": "print(2)\n"})
    dirty = state(repository)
    for pair, who in (((clean, dirty), "second"), ((dirty, clean), "first")):
        found = compare_code(*pair)
        assert (found.is_equal, found.diff, found.missing) == (False, dirty["diff"], None)
        assert str(found.how).startswith(f"the {who}")
    assert compare_code(dirty, dirty).is_equal is True


def test_two_changes_of_one_commit_without_it(repository: Path) -> None:
    write(repository, {"train.py": "print(2)\n", "package/model.py": "other\n"})
    first = state(repository)
    write(repository, {"train.py": "print(3)\n"})
    found = compare_code(first, state(repository))
    assert found.is_equal is False
    lines = str(found.diff).splitlines()
    assert "-+print(2)" in lines
    assert "++print(3)" in lines
    assert not any("model.py" in line for line in lines)
    assert "needs the commit" in str(found.missing)


def test_what_is_missing_is_said(repository: Path, tmp_path: Path) -> None:
    first = state(repository)
    write(repository, {"train.py": "print(2)\n"})
    commit(repository)
    second = state(repository)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "no git repository" in str(compare_code(first, second, repository=elsewhere).missing)
    assert "no git repository" in str(compare_code(first, second, repository=tmp_path / "nowhere").missing)
    git(elsewhere, "init", "-q")
    assert f"{first['commit'][:12]} is not in" in str(compare_code(first, second, repository=elsewhere).missing)
    assert "no repository was given" in str(compare_code(first, second).missing)
    assert compare_code(first, {}).missing == "no commit was recorded for the second run"
    assert "not recorded" in str(compare_code({**first, "dirty": True}, second).missing)
    cut = {**first, "diff": "diff --git a/x b/x\n<diff cut here after 5 characters>\n", "dirty": True}
    assert compare_code(cut, dict(cut)).is_equal is None
    assert "cannot be applied" in str(compare_code(cut, second, repository=repository).missing)


def test_redacted_changes_are_compared_as_text(repository: Path) -> None:
    write(repository, {"train.py": "API_KEY = 'hunter2secret'\nprint(0)\n"})
    commit(repository)
    states = []
    for number in (1, 2):
        write(repository, {"train.py": f"API_KEY = 'hunter2secret'\nprint({number})\n"})
        states.append(state(repository))
    found = compare_code(*states, repository=repository)
    assert "-+print(1)" in str(found.diff)
    assert "redacted" in str(found.missing)


def test_states_that_may_differ_in_what_was_redacted_are_not_called_equal(repository: Path) -> None:
    states = []
    for secret in ("hunter2secret", "hunter3secret"):
        write(repository, {"train.py": f"API_KEY = '{secret}'\n"})
        states.append(state(repository))
    for repo in (repository, None):
        found = compare_code({**states[0], "diff": states[1]["diff"]}, states[1], repository=repo)
        assert found.is_equal is None
        assert "redacted" in str(found.missing)


@pytest.mark.parametrize("word", ["--output=/tmp/x", "HEAD", "main", "../x", "a b", "", "\x00"])
def test_commits_are_only_ever_hashes(repository: Path, tmp_path: Path, word: str) -> None:
    first = state(repository)
    found = compare_code(first, {**first, "commit": word}, repository=repository)
    assert found.diff is None
    assert "commit" in str(found.missing)


def test_the_users_own_git_settings_do_not_count(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = state(repository)
    write(repository, {"train.py": "print(2)\n"})
    commit(repository)
    second = state(repository)
    for name, value in (
        ("diff.external", "false"),
        ("color.ui", "always"),
        ("core.pager", "false"),
        ("diff.noprefix", "true"),
    ):
        git(repository, "config", name, value)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    diff = str(compare_code(first, second, repository=repository).diff)
    assert diff.startswith("diff --git a/train.py b/train.py\n")
    assert "\x1b" not in diff
