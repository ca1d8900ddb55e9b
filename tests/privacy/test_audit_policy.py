"""`lde audit` finds what the lake's policy does not take: what the gate would change today, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lightning_lde import Recorder
from lightning_lde.audit import audit_lake
from lightning_lde.cli import app
from lightning_lde.lake import LakeStorage
from lightning_lde.policy import Policy
from lightning_lde.recording._governance import Governance
from lightning_lde.schema import Code, Dataset, Event, utc_now
from tests.privacy.test_policy import record

OPEN = Policy(emails="keep", names="keep", salt="5a17")
STRICTER: dict[str, tuple[dict[str, Any], set[tuple[str, str, str]]]] = {
    "parameters": (
        {"parameters_deny": ("patient*",)},
        {
            ("params", "value_num of data.patient_id", "denied parameter"),
            ("pipeline_configs", "hparams.data.patient_id", "denied parameter"),
            ("runs", "argv", "denied parameter"),
        },
    ),
    "variables": (
        {"variables_deny": ("PL_B", "SOME_*")},
        {
            ("environments", "variables.PL_B", "denied variable"),
            ("events", "message.SOME_VARIABLE", "denied variable"),
        },
    ),
    "emails": ({"emails": "drop"}, {("events", "message", "e-mail")}),
    "names": ({"names": "pseudonymise"}, {("events", "message", "user name")}),
    "standard": ({"capture": "standard"}, {("events", "message", "all variables at level standard")}),
    "minimal": (
        {"capture": "minimal"},
        {
            ("code", "diff", "diff at level minimal"),
            ("code", "snapshot_object", "snapshot at level minimal"),
            ("datasets", "manifest_object", "manifest at level minimal"),
            ("environments", "variables.TORCH_A", "variable at level minimal"),
            ("events", "message", "all variables at level minimal"),
            ("events", "message", "e-mail"),
            ("events", "message", "user name"),
            ("runs", "argv", "argument at level minimal"),
        },
    ),
}


def recorded(lake: Path, policy: Policy) -> LakeStorage:
    """A lake with a run that says as much as it can, under a policy."""
    storage = LakeStorage(lake)
    storage.initialise()
    storage.set_policy(policy)
    record(lake, "full")
    with Recorder(lake, project="p", system_metrics_every_s=None) as run:
        run.record("datasets", Dataset(dataset_id="d", recorded_at=utc_now(), name="n", manifest_object="0" * 64))
    return storage


def findings(storage: LakeStorage) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["audit", storage.url, "--format", "json"])
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    assert result.exit_code == (1 if found else 0)
    return found


@pytest.fixture(autouse=True)
def some_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "some value")


@pytest.mark.parametrize("change", sorted(STRICTER))
def test_what_a_stricter_policy_does_not_take_is_found(lake_path: Path, change: str) -> None:
    storage = recorded(lake_path, OPEN)
    assert findings(storage) == []
    facts, expected = STRICTER[change]
    storage.set_policy(replace(OPEN, **facts))
    found = findings(storage)
    assert expected <= {(each["table"], each["column"], each["kind"]) for each in found}
    assert {each["reason"] for each in found} == {"policy"}
    text = CliRunner().invoke(app, ["audit", str(lake_path)])
    assert text.exit_code == 1
    assert (
        f"{len(found)} of what the policy does not take in {lake_path}; it may be older than the policy" in text.output
    )
    for said in ("ann.miller", "annmiller", "some value", "+ a line", "0" * 64):
        assert said not in text.output


@pytest.mark.parametrize("change", sorted(STRICTER))
def test_what_was_recorded_under_a_policy_agrees_with_it(lake_path: Path, change: str) -> None:
    assert findings(recorded(lake_path, replace(OPEN, **STRICTER[change][0]))) == []


@pytest.mark.parametrize("change", sorted(STRICTER))
def test_found_is_what_the_gate_would_change(lake_path: Path, change: str) -> None:
    storage = recorded(lake_path, OPEN)
    policy = replace(OPEN, **STRICTER[change][0])
    storage.set_policy(policy)
    gate = Governance("full")
    gate.learn(policy)
    files = [file for files in storage.snapshot().files.values() for file in files]
    changed = {file.path for file in files if not gate.table(file.table, rows := storage.read(file)).equals(rows)}
    assert changed
    assert {found.file for found in audit_lake(storage) if found.table != "objects"} == changed


def test_the_text_of_a_command_is_looked_at_as_its_line_is(lake_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(OPEN)
    for kind in ("command", "script"):
        launch = {"kind": kind, "target": "print('of patient 4711')"}
        storage.add_records("code", [Code(code_id=kind, recorded_at=utc_now(), launch=launch)], project="p")
    assert findings(storage) == []
    storage.set_policy(replace(OPEN, capture="minimal"))
    [found] = findings(storage)
    assert (found["table"], found["column"], found["kind"]) == ("code", "launch.target", "argument at level minimal")
    assert "4711" not in json.dumps(found)


def test_a_lake_without_a_policy_takes_all(lake_path: Path) -> None:
    storage = recorded(lake_path, OPEN)
    marker = json.loads((lake_path / "lde.json").read_text())
    del marker["policy"]
    (lake_path / "lde.json").write_text(json.dumps(marker))
    assert findings(storage) == []


@pytest.mark.parametrize(
    ("project", "kind"), [("ann@example.org", "e-mail"), ("password=hunter2", "assigned to password")]
)
def test_names_of_projects_in_paths_are_looked_at_and_not_shown(lake_path: Path, project: str, kind: str) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    event = Event(run_id="the-run", segment=0, time=utc_now(), level="info", kind="note", message="words")
    storage.add_records("events", [event], project=project)
    found = findings(storage)
    assert [(each["table"], each["column"], each["kind"]) for each in found] == [
        ("events", "project in the path", kind)
    ]
    output = CliRunner().invoke(app, ["audit", str(lake_path)]).output
    assert "example.org" not in output
    assert "hunter2" not in output
    assert "hot/events/project=…/day=" in output


def test_people_are_looked_for_where_the_gate_hides_them_and_in_checkpoints(lake_path: Path, tmp_path: Path) -> None:
    import pickle
    import tarfile

    storage = LakeStorage(lake_path)
    storage.initialise()
    words = "ann@example.org in /home/annmiller/x"
    (tmp_path / "note.txt").write_text(words)
    (tmp_path / "state.pkl").write_bytes(pickle.dumps({"by": words}))
    with tarfile.open(tmp_path / "snapshot.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "note.txt", "train.py")
    places = {storage.put_object(path): path.name for path in sorted(tmp_path.glob("*.*"))}
    found = {(places[each["file"].rsplit("/", 1)[-1]], each["kind"]) for each in findings(storage)}
    # Sources keep whom they name, since they are run again; each checkpoint holds paths.
    assert found == {("note.txt", "e-mail"), ("note.txt", "user name"), ("state.pkl", "e-mail")}
