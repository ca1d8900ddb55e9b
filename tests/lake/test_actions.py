"""The log of maintenance: what was done is noted, by whom as far as the policy says, and a note is never in the way."""

from __future__ import annotations

import getpass
import json
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_lde.cli import app
from lightning_lde.errors import LakeNotFoundError, MaintenanceWarning, StoreError
from lightning_lde.lake import LakeStorage, _actions
from lightning_lde.policy import Policy
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .writers import Writer

NOW = {"silent_for": timedelta(0), "grace": timedelta(0)}


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, lake_path: Path) -> LakeStorage:
    if request.param == "local":
        made = LakeStorage(lake_path)
    else:
        made = LakeStorage(request.getfixturevalue("bucket_url"), request.getfixturevalue("s3_server").options)
    made.initialise()
    return made


@pytest.fixture
def local(lake_path: Path) -> LakeStorage:
    made = LakeStorage(lake_path)
    made.initialise()
    return made


def test_what_is_noted_is_read_newest_first(storage: LakeStorage) -> None:
    for number in range(3):
        storage.note_action("trial", {"number": number, "words": ["ü", None]})
    assert [one.details for one in storage.actions()] == [{"number": n, "words": ["ü", None]} for n in (2, 1, 0)]
    assert [one.details["number"] for one in storage.actions(2)] == [2, 1]
    assert {one.action for one in storage.actions()} == {"trial"}


def test_compactions_and_changes_of_the_policy_note_themselves(local: LakeStorage) -> None:
    Writer(local).send(status="finished")
    local.compact(**NOW)
    local.compact(**NOW)  # there is nothing to do
    local.set_policy(local.policy().changed("capture", "minimal"))
    policy, compact = local.actions()
    assert (policy.action, policy.details) == ("policy", {"capture": ["full", "minimal"]})
    assert compact.action == "compact"
    assert (compact.details["files_in"], compact.details["rows"]) == (3, {"metrics": 3, "params": 1, "runs": 1})


def test_a_compaction_that_fails_is_noted(local: LakeStorage) -> None:
    Writer(local).send(status="finished")
    working = local.store

    def fault(operation: str, _path: str) -> Fault | None:
        return Fault(FaultKind.BEFORE) if operation == "create" and "manifests" in _path else None

    local.store = FaultyStore(working, fault)
    with pytest.raises(StoreError, match="injected"):
        local.compact(**NOW)
    [noted] = local.actions()
    assert (noted.action, noted.details["failed"]) == ("compact", "StoreError")


@pytest.mark.parametrize("names", ["keep", "pseudonymise", "drop"])
def test_who_did_it_is_named_as_the_policy_says(
    local: LakeStorage, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "annabel")
    monkeypatch.setattr(socket, "gethostname", lambda: "annes-laptop")
    local.set_policy(Policy(names=names, salt="5a17"))
    by = local.note_action("trial", {}).by
    text = "".join(stored.path + local.store.get(stored.path).decode() for stored in local.store.list("maintenance/"))
    assert ("annabel" in text, "annes-laptop" in text) == ((True, True) if names == "keep" else (False, False))
    marks = {"keep": "annabel", "drop": "<user>", "pseudonymise": "<user-"}
    assert by["user"].startswith(marks[names])
    assert local.actions()[0].by == by


def test_a_note_that_cannot_be_written_is_told_and_stops_nothing(
    local: LakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_actions, "_PAUSES_S", (0.0, 0.0))
    Writer(local).send(status="finished")
    local.store = FaultyStore(
        local.store, lambda _, path: Fault(FaultKind.BEFORE) if path.startswith("maintenance/") else None
    )
    with pytest.warns(MaintenanceWarning, match=r'cannot be noted.*"files_in": 3'):
        done = local.compact(**NOW)
    assert done.files_in == 3


def test_one_that_fails_once_is_written(local: LakeStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_actions, "_PAUSES_S", (0.0,))
    faults = iter([Fault(FaultKind.AFTER)])
    local.store = FaultyStore(local.store, lambda operation, _: next(faults, None) if operation == "put" else None)
    local.note_action("trial", {})
    assert [one.action for one in local.actions()] == ["trial"]


def test_damaged_and_foreign_files_hide_nothing(local: LakeStorage) -> None:
    note = local.note_action("trial", {})
    other = "0" if note.action_id.endswith("f") else "f"
    local.store.put(f"maintenance/{note.action_id[:-1]}{other}.json", b'{"action": "x"')
    local.store.put("maintenance/readme.txt", b"not ours")
    assert sorted(one.action for one in local.actions()) == ["damaged", "trial"]


def test_the_command(local: LakeStorage, tmp_path: Path) -> None:
    Writer(local).send(status="finished")
    local.compact(**NOW)
    local.note_action("trial", {"bytes": 12_345, "nothing": 0})
    shown = CliRunner().invoke(app, ["log", local.url]).output
    assert "bytes 12,345" in shown
    assert "nothing" not in shown
    assert "files_in 3" in shown
    [trial, compact] = json.loads(CliRunner().invoke(app, ["log", local.url, "--format", "json"]).output)
    assert (trial["action"], trial["details"], compact["action"]) == (
        "trial",
        {"bytes": 12_345, "nothing": 0},
        "compact",
    )
    assert len(CliRunner().invoke(app, ["log", local.url, "--format", "csv", "--limit", "1"]).output.splitlines()) == 2
    missing = CliRunner().invoke(app, ["log", str(tmp_path / "none")])
    assert isinstance(missing.exception, LakeNotFoundError)
