"""A lake's policy: who may set what, what it takes out, and that it only ever makes a run say less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_lde import Lake, LDECallback, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import ConfigurationError
from lightning_lde.lake import LakeStorage
from lightning_lde.policy import LEVELS, Policy, policy_of
from lightning_lde.recording import spooled, sync_spools
from lightning_lde.schema import Code, Environment, Param, PipelineConfig, utc_now


def record(lake: Path, level: str = "standard") -> str:
    """A run that says as much as it can."""
    with Recorder(lake, project="p", capture=level, system_metrics_every_s=None) as run:
        run.record("code", Code(code_id="c", recorded_at=utc_now(), diff="+ a line", snapshot_object="0" * 64))
        variables = {"TORCH_A": "1", "PL_B": "2"}
        environment = Environment(
            environment_id="e", recorded_at=utc_now(), python="3", platform="l", variables=variables
        )
        run.record("environments", environment)
        hparams = {"lr": 0.1, "data": {"patient_id": 7, "root": "x"}}
        run.record(
            "pipeline_configs",
            PipelineConfig(pipeline_config_id="k", recorded_at=utc_now(), pipeline_id="i", hparams=hparams),
        )
        run.record(
            "params", *(Param(config_id="k", key=key, value_num=1.0, type="int") for key in ("lr", "data.patient_id"))
        )
        run.add_event("note", "mail ann.miller@example.org about /home/annmiller/x")
        run.describe_later(lambda: run.update(argv=["train.py", "--lr", "0.5", "--patient_id=7", "--fast", "x"]))
    return run.run_id


def facts(lake: Path) -> dict[str, object]:
    ask = Lake(lake).sql
    return {
        "diff": ask("select diff, snapshot_object from code where code_id = 'c'").to_pylist()[0],
        "variables": json.loads(
            ask("select variables from environments where environment_id = 'e'").to_pylist()[0]["variables"]
        ),
        "hparams": json.loads(ask("select hparams from pipeline_configs").to_pylist()[0]["hparams"]),
        "params": sorted(ask("select key from params").column("key").to_pylist()),
        "argv": json.loads(ask("select argv from runs").to_pylist()[0]["argv"]),
        "note": ask("select message from events where kind = 'note'").to_pylist()[0]["message"],
        "all variables": ask("select * from events where kind = 'variables'").num_rows,
    }


def test_standard_keeps_what_is_no_secret(lake_path: Path) -> None:
    record(lake_path)
    found = facts(lake_path)
    assert found["diff"] == {"diff": "+ a line", "snapshot_object": "0" * 64}
    assert found["variables"] == {"TORCH_A": "1", "PL_B": "2"}
    assert found["params"] == ["data.patient_id", "lr"]
    assert found["argv"] == ["train.py", "--lr", "0.5", "--patient_id=7", "--fast", "x"]
    assert found["all variables"] == 0


def test_minimal_says_little(lake_path: Path, own_spool: Path) -> None:
    record(lake_path, "minimal")
    found = facts(lake_path)
    assert found["diff"] == {"diff": None, "snapshot_object": None}
    assert found["variables"] == {}
    withheld = "<withheld>"
    assert found["argv"] == ["train.py", "--lr", withheld, f"--patient_id={withheld}", "--fast", withheld]
    assert "annmiller" not in str(found["note"])
    assert "ann.miller" not in str(found["note"])


def test_full_has_all_variables(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "some value")
    monkeypatch.setenv("SOME_TOKEN", "x1y2z3-a4b5c6")
    record(lake_path, "full")
    [event] = Lake(lake_path).sql("select message from events where kind = 'variables'").to_pylist()
    variables = json.loads(event["message"])
    assert (variables["SOME_VARIABLE"], variables["SOME_TOKEN"]) == ("some value", "<redacted>")


@pytest.mark.parametrize("allowed", LEVELS)
@pytest.mark.parametrize("wanted", LEVELS)
def test_a_run_says_no_more_than_the_stricter_level(lake_path: Path, allowed: str, wanted: str) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(storage.policy().changed("capture", allowed))
    record(lake_path, wanted)
    found = facts(lake_path)
    assert (found["variables"] == {}) is ("minimal" in {allowed, wanted})
    assert (found["all variables"] == 1) is ({allowed, wanted} == {"full"})


def test_lists_take_parameters_and_variables_out(lake_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(storage.policy().changed("parameters.deny", "patient*").changed("variables.allow", "TORCH_*"))
    record(lake_path)
    found = facts(lake_path)
    assert found["hparams"] == {"lr": 0.1, "data": {"root": "x"}}
    assert found["params"] == ["lr"]
    assert found["variables"] == {"TORCH_A": "1"}
    assert found["argv"] == ["train.py", "--lr", "0.5", "--patient_id=<withheld>", "--fast", "x"]


def test_people_have_the_same_pseudonym_in_one_lake_only(tmp_path: Path) -> None:
    notes = []
    for name in ("one", "one", "two"):
        record(tmp_path / name)
        notes += [
            row["message"]
            for row in Lake(tmp_path / name).sql("select message from events where kind = 'note'").to_pylist()
        ]
    assert len(set(notes[:3])) == 1
    assert len(set(notes)) == 2
    assert all("mail <email-" in note and "/home/<user-" in note for note in notes)


@pytest.mark.parametrize(("how", "shown"), [("keep", "mail ann.miller@example.org"), ("drop", "mail <email> about")])
def test_people_stay_or_go_by_policy(lake_path: Path, how: str, shown: str) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(storage.policy().changed("emails", how))
    record(lake_path)
    assert shown in str(facts(lake_path)["note"])


def test_what_waited_passes_the_policy_before_the_lake(tmp_path: Path, own_spool: Path) -> None:
    away = tmp_path / "away"
    away.write_text("no folder")
    with pytest.warns(UserWarning, match="rows wait in|not completely in the lake"):
        record(away / "lake")
    waiting = [portion.tables["code"] for _, _, portion in spooled(own_spool) if "code" in portion.tables]
    assert any("+ a line" in rows.column("diff").to_pylist() for rows in waiting)
    away.unlink()
    storage = LakeStorage(away / "lake")
    storage.initialise()
    storage.set_policy(storage.policy().changed("capture", "minimal"))
    assert all(outcome.error is None for outcome in sync_spools(own_spool, lambda url, options: LakeStorage(url)))
    assert facts(away / "lake")["diff"] == {"diff": None, "snapshot_object": None}


def test_a_policy_that_cannot_be_understood_takes_as_little_as_possible(lake_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    for broken in ("text", {"capture": "everything"}, {"parameters": ["x"]}, {"emails": 3}):
        assert policy_of({"policy": broken}).capture == "minimal"
    assert policy_of({}) == Policy(emails="keep", names="keep")
    marker = json.loads((lake_path / "lde.json").read_text())
    (lake_path / "lde.json").write_text(json.dumps({**marker, "policy": "text"}))
    record(lake_path, "full")
    assert facts(lake_path)["diff"] == {"diff": None, "snapshot_object": None}


def test_keys_of_others_announce_nothing(lake_path: Path) -> None:
    packages = {"google-auth": "2.35", "secretstorage": "3.3.1", "access-token": "1"}
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as run:
        run.log({"loss/token": 2.0, "auth": 1.0}, step=0)
        row = Environment(environment_id="e", recorded_at=utc_now(), python="3", platform="l", packages=packages)
        run.record("environments", row)
    ask = Lake(lake_path).sql
    [found] = ask("select packages from environments where environment_id = 'e'").to_pylist()
    assert json.loads(found["packages"]) == packages
    assert json.loads(ask("select summary from runs").to_pylist()[0]["summary"])["auth"]["last"] == 1.0


def test_the_command_shows_and_changes(lake_path: Path) -> None:
    run = CliRunner().invoke
    storage = LakeStorage(lake_path)
    storage.initialise()
    marker = json.loads((lake_path / "lde.json").read_text())
    (lake_path / "lde.json").write_text(json.dumps({**marker, "later": [1]}))
    changed = run(app, ["policy", str(lake_path), "--set", "capture=standard", "--set", "parameters.deny=a*, b"])
    assert "full -> standard" in changed.output
    assert "- -> a*,b" in changed.output
    after = json.loads((lake_path / "lde.json").read_text())
    assert after["later"] == [1]
    assert after["policy"]["salt"] == marker["policy"]["salt"]
    shown = json.loads(run(app, ["policy", str(lake_path), "--format", "json"]).output)
    assert (shown["capture"], shown["parameters.deny"]) == ("standard", "a*,b")
    assert "salt" not in shown
    for wrong in ("capture=loud", "salt=0", "nothing"):
        assert run(app, ["policy", str(lake_path), "--set", wrong]).exit_code != 0
    assert json.loads((lake_path / "lde.json").read_text()) == after


def test_a_wrong_level_is_refused(lake_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="minimal, standard, full"):
        LDECallback(lake_path, capture="loud")
    with pytest.raises(ConfigurationError, match="minimal, standard, full"):
        Recorder(lake_path, project="p", capture="loud")


def test_variables_that_are_denied_are_not_among_all_variables(
    lake_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(storage.policy().changed("variables.deny", "PATIENT_*"))
    monkeypatch.setenv("PATIENT_ID", "4711")
    monkeypatch.setenv("SOME_VARIABLE", "some value")
    record(lake_path, "full")
    [event] = Lake(lake_path).sql("select message from events where kind = 'variables'").to_pylist()
    variables = json.loads(event["message"])
    assert "PATIENT_ID" not in variables
    assert variables["SOME_VARIABLE"] == "some value"
