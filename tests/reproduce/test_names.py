"""A lake that holds pseudonyms: what they stand for here is brought back, what they hide elsewhere is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake, capture, reproducing
from lightning_lde.policy import WAYS, Policy
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._process import as_written
from lightning_lde.reproduce import (
    Recorded,
    find_repository,
    names_known_here,
    plan_reproduction,
    reproduce,
    with_names,
)

from .conftest import git, only_run

Record = Callable[..., Lake]
POLICY = Policy(salt="5" * 32)
CHANGED = """RATE = 0.2
OWNER = "alicia"
MAIL = "alicia@example.org"
SECOND = "bob.b@example.org"
"""


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Become a user of another name."""

    def become(name: str) -> None:
        monkeypatch.setenv("LOGNAME", name)
        capture.people_here.cache_clear()

    yield become
    capture.people_here.cache_clear()


@pytest.fixture
def recorded(repository: Path, record: Record, user: Callable[[str], None]) -> Lake:
    """A run of alicia's, with uncommitted changes, into a lake of the default policy."""
    user("alicia")
    git(repository, "config", "user.email", "alicia@example.org")
    program = repository / "named.py"
    program.write_text(program.read_text().replace("RATE = 0.1\n", CHANGED))
    return record(repository, "named.py", "lake", "alicia-run", "/home/alicia/imgs", "--mail=alicia@example.org")


def test_a_run_under_pseudonyms_is_run_again_as_it_was(recorded: Lake, repository: Path, tmp_path: Path) -> None:
    run = only_run(recorded)
    [row] = recorded.sql("select name, argv, diff from runs join code using (code_id)").to_pylist()
    # The lake itself has no names.
    assert not [value for value in row.values() if "alicia" in value or "bob.b" in value]
    program = (repository / "named.py").read_text()
    git(repository, "checkout", "-q", "named.py")
    plan = plan_reproduction(recorded, run)
    assert plan.words == ("named.py", "lake", "alicia-run", "/home/alicia/imgs", "--mail=alicia@example.org")
    assert plan.obstacles == ()
    outcome = reproduce(recorded, plan, tmp_path / "again")
    assert (tmp_path / "again" / "code" / "named.py").read_text() == program
    seen = (tmp_path / "again" / "code" / "logs" / "seen").read_text().splitlines()
    assert seen == ["alicia-run", "/home/alicia/imgs", "--mail=alicia@example.org"]
    # Its numbers are unseeded: they are equal because it was known for the run that it repeats.
    assert (outcome.verdict.sentence, outcome.verdict.n_points) == ("identical", 5)
    rows = recorded.sql("select code_id, reproduces from runs order by started_at").to_pylist()
    assert [one["reproduces"] for one in rows] == [None, run]
    assert rows[0]["code_id"] == rows[1]["code_id"]
    assert not [note for note in outcome.notes if "not as it was" in note]


def test_somebody_else_is_told_what_is_not_known(recorded: Lake, repository: Path, user: Callable[[str], None]) -> None:
    git(repository, "checkout", "-q", "named.py")
    git(repository, "config", "user.email", "barbara@example.org")
    user("barbara")
    plan = plan_reproduction(recorded, only_run(recorded))
    assert "the command line names people" in plan.obstacles[0]
    assert "the uncommitted changes name people" in plan.obstacles[1]
    # bob.b's address stands in the commit.
    assert len(plan.obstacles[1].split("<email-")) == 2


def test_what_is_hidden_comes_back_by_the_lakes_own_rules(repository: Path, user: Callable[[str], None]) -> None:
    user("alicia")
    git(repository, "config", "user.email", "alicia@example.org")
    gate = Governance()
    gate.learn(POLICY)
    names = names_known_here(POLICY, repository=repository, places=["/home/roberta/project"])
    for text in ("alicia", "by alicia@example.org", "/home/alicia/x", "C:\\Users\\roberta\\x", "/home/roberta"):
        hidden = gate.text(text)
        assert hidden != text
        assert names.text(hidden) == text
        assert names.unknown_in(hidden) == []
    assert names.text(gate.text("/home/nobody-known/x")) == gate.text("/home/nobody-known/x")
    assert len(names.unknown_in(gate.text("/home/nobody-known/x of ann@example.org"))) == 2
    # Without the lake's salt nothing can be said.
    assert names_known_here(Policy(salt="6" * 32), repository=repository).text(gate.text("alicia")) == gate.text(
        "alicia"
    )


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Policy(emails="keep", names="keep"), []),
        (Policy(salt="5" * 32), []),
        (Policy(names="drop", salt="5" * 32), ["<user>"]),
        (Policy(), ["<user>"]),
    ],
)
def test_words_of_a_program_are_no_dropped_names(policy: Policy, told: list[str]) -> None:
    assert names_known_here(policy).unknown_in("git clone <user>@host") == told


def test_lines_around_a_change_are_those_of_the_commit(repository: Path) -> None:
    gate = Governance()
    gate.learn(POLICY)
    program = repository / "named.py"
    program.write_text(program.read_text().replace("RATE = 0.1", "RATE = 0.3"))
    diff = git(repository, "diff", "--full-index") + "\n"
    hidden = gate.text(diff)
    assert "bob.b" not in hidden
    assert "roberta" not in hidden
    commit = git(repository, "rev-parse", "HEAD")
    code = {"commit": commit, "diff": hidden, "entry_point": "named.py"}
    recorded = Recorded(run={"argv": None}, code=code)
    names = names_known_here(POLICY, repository=repository)
    assert with_names(recorded, names, find_repository(repository, commit)).code["diff"] == diff


@pytest.mark.parametrize("emails", WAYS)
@pytest.mark.parametrize("names", WAYS)
def test_a_run_is_known_however_the_lake_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: Callable[[str], None], emails: str, names: str
) -> None:
    user("alicia")
    identity = {
        "project": "p",
        "experiment": None,
        "name": "alicia of ann@example.org",
        "tags": {"by alicia": "alicia"},
    }
    gate = Governance()
    gate.learn(Policy(emails=emails, names=names, salt=POLICY.salt))

    def stored(value: Any) -> Any:
        if isinstance(value, dict):
            return {gate.text(key): stored(item) for key, item in value.items()}
        return None if value is None else gate.text(value)

    target = reproducing.Wanted(
        run_id="then", lake="lake", salt=POLICY.salt, identity={key: stored(item) for key, item in identity.items()}
    )
    (tmp_path / "wanted.json").write_text(target.as_json())
    monkeypatch.setenv(reproducing.VARIABLE, str(tmp_path / "wanted.json"))
    reproducing.wanted.cache_clear()
    try:
        assert reproducing.Opened().begin("now", identity, as_written) == (0, "then")
        assert reproducing.Opened().begin("now", {**identity, "name": "barbara of x"}, as_written) == (0, None)
    finally:
        monkeypatch.undo()
        reproducing.wanted.cache_clear()


def test_what_is_wanted_is_read_by_other_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = reproducing.Wanted(run_id="then", lake="lake", identity={"name": "n"})
    # A version before there was a salt refuses what it does not know.
    assert "salt" not in json.loads(target.as_json())
    (tmp_path / "wanted.json").write_text(json.dumps({**json.loads(target.as_json()), "of_tomorrow": 1}))
    monkeypatch.setenv(reproducing.VARIABLE, str(tmp_path / "wanted.json"))
    reproducing.wanted.cache_clear()
    try:
        assert reproducing.wanted() == dataclasses.replace(target, random_states=[])
    finally:
        monkeypatch.undo()
        reproducing.wanted.cache_clear()


def test_names_do_not_leave_by_the_plan(recorded: Lake, repository: Path) -> None:
    from lightning_lde.cli._reproduce import _plan_facts

    salt = recorded.storage.policy().salt
    assert salt
    assert salt not in json.dumps(_plan_facts(plan_reproduction(recorded, only_run(recorded))), default=str)
