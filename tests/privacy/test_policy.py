"""A lake's policy: who may set what, what it takes out, and that it only ever makes a run say less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from lightning_lde import Lake, LDECallback, Recorder
from lightning_lde.capture import flatten_params
from lightning_lde.cli import app
from lightning_lde.errors import ConfigurationError
from lightning_lde.lake import LakeStorage
from lightning_lde.policy import LEVELS, Policy, policy_of
from lightning_lde.recording import Rows, add_results, spooled, sync_spools
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._spool import SpoolFolder, SpoolHeader
from lightning_lde.schema import (
    Code,
    Dataset,
    Environment,
    Param,
    PipelineConfig,
    Run,
    new_run_id,
    records_to_arrow,
    utc_now,
)
from tests.privacy.planting import all_bytes

KNOWN = "correcthorse42battery"


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


@pytest.mark.slow
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


def state(**facts: Any) -> Run:
    """A state of a run."""
    now = utc_now()
    given = {"segment": 0, "revision": 0, "project": "p", "status": "finished", "heartbeat_every_s": 1.0, **facts}
    return Run(run_id=new_run_id(), started_at=now, heartbeat_at=now, **given)


def passed(record: Any, table: str, policy: Policy, level: str = "full") -> dict[str, Any]:
    """A row as it may be written."""
    gate = Governance(level)
    gate.learn(policy)
    [row] = gate.table(table, records_to_arrow(table, [record])).to_pylist()
    return dict(row)


W = "<withheld>"


@pytest.mark.parametrize(
    ("policy", "given", "taken"),
    [
        # All values of an option, and its other spelling.
        ({"parameters_deny": ("patient_ids",)}, "--patient_ids 17 23 4 --lr 1", f"--patient_ids {W} {W} {W} --lr 1"),
        ({"parameters_deny": ("patient_ids",)}, "--patient-ids -1,2 -.5 y", f"--patient-ids {W} {W} {W}"),
        ({"parameters_deny": ("patient*",)}, "--patient_ids=17 23 --lr 1", f"--patient_ids={W} {W} --lr 1"),
        ({"parameters_deny": ("patient*",)}, "data.patient_id=7 lr=1 -5", f"data.patient_id={W} lr=1 -5"),
        # argparse takes the beginning of a name for it.
        ({"parameters_deny": ("patient_*",)}, "--patient 17 --pat=3 --lr 1", f"--patient {W} --pat={W} --lr 1"),
        ({"parameters_deny": ("*_id",)}, "--p 17 --patient-i 3", "--p 17 --patient-i 3"),
        # Short options with their value in the same word.
        ({"parameters_deny": ("p",)}, "-p17 23 -q5 -p 4", f"-p{W} {W} -q5 -p {W}"),
        ({"parameters_allow": ("lr",)}, "-lr 0.1 -p17 x", f"-lr 0.1 -p{W} {W}"),
        # No values at all.
        ({"capture": "minimal"}, "-p17 a=7 --x k=v - -5", f"-p{W} {W} --x {W} {W} {W}"),
        ({"capture": "minimal"}, "lr=0.1 s3://ann/x?y=1 17", f"lr={W} {W} {W}"),
        ({}, "--patient_ids 17 -p17 a=7 s3://b/x?y=1", "--patient_ids 17 -p17 a=7 s3://b/x?y=1"),
    ],
)  # fmt: skip
def test_what_is_left_of_a_command_line(policy: dict[str, Any], given: str, taken: str) -> None:
    row = passed(state(argv=["t.py", *given.split()]), "runs", Policy(salt="s", **policy))
    assert json.loads(row["argv"]) == ["t.py", *taken.split()]


def test_parameters_inside_lists_are_taken_out(lake_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(storage.policy().changed("parameters.deny", "patient*"))
    hparams = {"sites": [{"patient_id": 7, "n": 1}, [{"deep": {"patient_name": "ann"}}]], "lr": 0.1}
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as run:
        row = PipelineConfig(pipeline_config_id="k", recorded_at=utc_now(), pipeline_id="i", hparams=hparams)
        run.record("pipeline_configs", row)
        run.record("params", *flatten_params("k", hparams))
    ask = Lake(lake_path).sql
    kept = [{"n": 1}, [{}]]
    assert json.loads(ask("select hparams from pipeline_configs").to_pylist()[0]["hparams"]) == {
        "lr": 0.1,
        "sites": kept,
    }
    [text] = ask("select value_text from params where key = 'sites'").column(0).to_pylist()
    assert json.loads(text) == kept
    for table in ("params", "pipeline_configs"):
        assert [place for place, data in all_bytes(lake_path / "hot" / table) if b"patient" in data] == []


COMMAND = """
import sys
from lightning_lde import Recorder
with Recorder(sys.argv[1], project="p", capture=sys.argv[2], system_metrics_every_s=None) as run:
    run.log({"a": 1.0}, step=0 * len("about patient 7171"))
"""


@pytest.mark.parametrize(("level", "stays"), [("minimal", False), ("standard", True)])
def test_the_words_behind_c_are_a_command_line(tmp_path: Path, lake_path: Path, level: str, stays: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    command = [sys.executable, "-c", COMMAND, str(lake_path), level]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)})
    [launch] = Lake(lake_path).sql("select launch from code").column(0).to_pylist()
    assert json.loads(launch)["kind"] == "command"
    assert any(b"about patient 7171" in data for _, data in all_bytes(lake_path)) is stays
    assert (json.loads(launch)["target"] == W) is not stays


def test_a_script_is_no_value_of_the_command_line() -> None:
    launch = {"kind": "script", "target": "train.py", "options": [], "recorded_by": None}
    code = Code(code_id="c", recorded_at=utc_now(), launch=launch)
    assert json.loads(passed(code, "code", Policy(capture="minimal", salt="s"))["launch"]) == launch


@pytest.mark.parametrize(
    ("key", "globs", "there"),
    [("variables.deny", "SOME_*", {"OTHER_VARIABLE"}), ("variables.allow", "SOME_*", {"SOME_VARIABLE"})],
)
def test_all_variables_are_those_that_the_policy_takes(
    lake_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, globs: str, there: set[str]
) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "some value")
    monkeypatch.setenv("OTHER_VARIABLE", "another value")
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(storage.policy().changed(key, globs))
    record(lake_path, "full")
    [event] = Lake(lake_path).sql("select message from events where kind = 'variables'").to_pylist()
    assert json.loads(event["message"]).keys() & {"SOME_VARIABLE", "OTHER_VARIABLE"} == there
    values = {"SOME_VARIABLE": b"some value", "OTHER_VARIABLE": b"another value"}
    everything = b"\n".join(data for _, data in all_bytes(lake_path / "hot" / "events"))
    assert {name for name, value in values.items() if value in everything} == there


def test_names_in_the_summary_are_those_of_the_metrics(lake_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", KNOWN)
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as run:
        run.log({f"loss of {KNOWN}": 2.0, "loss at ann@example.org": 1.0, "loss": 3.0}, step=0)
    ask = Lake(lake_path).sql
    names = set(ask("select distinct name from metrics").column(0).to_pylist())
    assert len(names) == 3
    assert json.loads(ask("select summary from runs").to_pylist()[0]["summary"]).keys() == names
    for table in ("metrics", "runs"):
        for place, data in all_bytes(lake_path / "hot" / table):
            assert (place, KNOWN.encode() in data or b"ann@example.org" in data) == (place, False)


def test_a_summary_that_waited_gets_the_names_of_the_policy() -> None:
    summary = {
        "x <email>": {"last": 5.0, "min": 2.0, "max": 5.0},
        "x ann@example.org": {"last": 1.0, "min": 1.0, "max": "Infinity"},
        "x bob@example.org": {"last": "NaN"},
        "y": {"last": 0.5, "min": 0.5, "max": 0.5},
    }
    row = passed(state(summary=summary), "runs", Policy(emails="drop", salt="s"))
    found = json.loads(row["summary"])
    assert found == {"x <email>": {"last": 5.0, "min": 1.0, "max": "Infinity"}, "y": summary["y"]}
    kept = passed(state(summary=summary), "runs", Policy(emails="keep", names="keep"))
    assert json.loads(kept["summary"]) == summary


@pytest.mark.parametrize("how", ["keep", "pseudonymise", "drop"])
def test_a_project_has_one_name_everywhere_and_no_secret_in_it(
    lake_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("DB_PASSWORD", KNOWN)
    project, safe = f"of {KNOWN} by ann@example.org", "of <redacted> by ann@example.org"
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.set_policy(Policy(emails=how, names=how, salt="s"))
    with Recorder(lake_path, project=project, system_metrics_every_s=None) as run:
        run.log({"a": 1.0}, step=0)
    add_results(storage, "datasets", [Dataset(dataset_id="d", recorded_at=utc_now())], project=project)
    # What an earlier version left in a spool, whose header has the name as it was given.
    left = state(project=project)
    folder = SpoolFolder(own_spool, left.run_id)
    header = SpoolHeader(storage.absolute_url, project, "2026-11-25", left.run_id, left.run_id, 0)
    file = folder.new_file(header)
    file.append(Rows({"runs": records_to_arrow("runs", [left])}))
    file.close()
    folder.close()
    assert [outcome.error for outcome in sync_spools(own_spool, lambda url, _: LakeStorage(url))] == [None]
    assert Lake(lake_path).sql("select distinct project from stored.runs").column(0).to_pylist() == [safe]
    assert {path.parent.parent.name for path in lake_path.glob("hot/**/*.parquet")} == {
        f"project={quote(safe, safe='')}"
    }
    assert [place for place, data in all_bytes(lake_path) if KNOWN.encode() in data] == []
