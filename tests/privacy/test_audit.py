"""`lde audit` finds what was written past the gate, names the place, and never shows the secret."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import LakeNotFoundError
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import add_results
from lightning_lde.recording._files import masked_pickle
from lightning_lde.recording._governance import Governance
from lightning_lde.schema import Dataset, Event, Param, records_to_arrow, utc_now
from tests.privacy.planting import KINDS, found_in, planted

SECRETS = planted(7)


def clean_lake(path: Path) -> LakeStorage:
    with Recorder(path, project="p", system_metrics_every_s=None) as run:
        run.log({"loss": 1.0}, step=1)
        run.record("params", Param(config_id="c", key="lr", value_num=0.1, value_text="0.1", type="float"))
        run.record("params", Param(config_id="c", key="data.password", value_text="hunter2", type="str"))
    return LakeStorage(path)


def event(message: str) -> Event:
    return Event(run_id="the-run", segment=0, time=utc_now(), level="info", kind="note", message=message)


def test_a_clean_lake_is_clean(lake_path: Path) -> None:
    clean_lake(lake_path)
    result = CliRunner().invoke(app, ["audit", str(lake_path), "--spool"])
    assert (result.exit_code, result.output) == (0, f"nothing found in {lake_path}\n")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_found_and_not_shown(lake_path: Path, kind: str) -> None:
    text, secret = SECRETS[kind]
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.add_records("events", [event(text)], project="p")
    result = CliRunner().invoke(app, ["audit", str(lake_path), "--format", "json"])
    assert result.exit_code == 1
    assert secret not in result.output
    first = json.loads(result.output)["findings"][0]
    assert (first["table"], first["run_id"], first["column"].split(".")[0]) == ("events", "the-run", "message")


def test_places_are_named(lake_path: Path) -> None:
    storage = clean_lake(lake_path)
    password = "Xy7-unlikely-word"
    storage.add_records(
        "params", [Param(config_id="c", key="db.password", value_text=password, type="str")], project="p"
    )
    row = Dataset(
        dataset_id="d", recorded_at=utc_now(), uri=f"s3://ann:{password}@b/x", class_counts={f"password={password}": 1}
    )
    storage.add_records("datasets", [row], project="p")
    for name, data in {"a.txt": f"password={password}".encode(), "b.pkl": pickle.dumps({"api_key": password})}.items():
        (lake_path.parent / name).write_bytes(data)
        storage.put_object(lake_path.parent / name)
    result = CliRunner().invoke(app, ["audit", str(lake_path), "--format", "json"])
    found = json.loads(result.output)["findings"]
    places = {(each["table"], each["column"]) for each in found}
    assert places == {
        ("params", "value_text of db.password"), ("datasets", "uri"), ("datasets", "class_counts (a key)"),
        ("objects", "content"), ("objects", "content.api_key"),
    }  # fmt: skip
    assert password not in result.output
    digest = hashlib.sha256(password.encode()).hexdigest()[:16]
    assert sum(each["fingerprint"] == digest for each in found) == 4
    text = CliRunner().invoke(app, ["audit", str(lake_path)])
    assert text.exit_code == 1
    assert password not in text.output


def test_the_spool_is_looked_through(lake_path: Path, own_spool: Path) -> None:
    from lightning_lde.recording._spool import Rows, SpoolFolder, SpoolHeader

    LakeStorage(lake_path).initialise()
    folder = SpoolFolder(own_spool, "w")
    header = SpoolHeader(str(lake_path), "p", "2026-11-25", "the-run", "w", 0)
    file = folder.new_file(header)
    file.append(Rows({"events": records_to_arrow("events", [event("password=hunter2")])}))
    file.close()
    assert CliRunner().invoke(app, ["audit", str(lake_path)]).exit_code == 0
    result = CliRunner().invoke(app, ["audit", str(lake_path), "--spool"])
    assert result.exit_code == 1
    assert "assigned to password" in result.output
    folder.forget()


def test_objects_in_the_spool_and_snapshots_are_looked_through(lake_path: Path, own_spool: Path) -> None:
    from lightning_lde.recording import Rows
    from lightning_lde.recording._objects import SmallObject
    from lightning_lde.recording._spool import SpoolFolder, SpoolHeader

    script = lake_path.parent / "program" / "train.py"
    script.parent.mkdir()
    script.write_text("api_key = 'x9-unlikely-word'\n")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(script, "train.py")
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.put_object_bytes(buffer.getvalue())
    folder = SpoolFolder(own_spool, "w")
    file = folder.new_file(SpoolHeader(str(lake_path), "p", "2026-11-25", "the-run", "w", 0))
    file.append(Rows(objects=[SmallObject(b"password=x9-unlikely-word")]))
    file.close()
    result = CliRunner().invoke(app, ["audit", str(lake_path), "--spool", "--format", "json"])
    found = json.loads(result.output)["findings"]
    assert [(each["table"], each["run_id"], each["kind"]) for each in found] == [
        ("objects", None, "assigned to api_key"), ("objects", "the-run", "assigned to password"),
    ]  # fmt: skip
    assert found[0]["file"].endswith("!train.py")
    folder.forget()


def test_results_pass_the_gate(lake_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    row = Dataset(dataset_id="d", recorded_at=utc_now(), name="n", uri="s3://ann:x9-unlikely-word@b/x")
    add_results(storage, "datasets", [row], project="p")
    result = CliRunner().invoke(app, ["audit", str(lake_path)])
    assert (result.exit_code, result.output) == (0, f"nothing found in {lake_path}\n")
    assert Lake(lake_path).sql("select name from datasets").to_pylist() == [{"name": "n"}]


def test_no_lake_is_an_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["audit", str(tmp_path / "none")])
    assert isinstance(result.exception, LakeNotFoundError)


@st.composite
def nested(draw: st.DrawFn) -> tuple[object, str]:
    """A random secret somewhere in random data."""
    text, secret = KINDS[draw(st.sampled_from(sorted(KINDS)))](random.Random(draw(st.integers(0, 1 << 60))))
    value: object = draw(st.sampled_from([" ", "", "\n", "x: "])) + text + draw(st.sampled_from(["", "\n", " end"]))
    for _ in range(draw(st.integers(0, 4))):
        key = draw(st.text(max_size=5))
        value = draw(st.sampled_from([{key: value}, [1, value], {key: [value, None]}, {"a": 1, key + "z": value}]))
    return value, secret


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planted_value=nested(), table=st.sampled_from(["datasets", "events", "runs"]))
def test_no_random_secret_in_a_random_place_passes_the_gate(planted_value: tuple[object, str], table: str) -> None:
    value, secret = planted_value
    rows = {
        "datasets": Dataset(dataset_id="d", recorded_at=utc_now(), name=json.dumps(value), class_counts={"x": value}),
        "events": event(json.dumps(value) if isinstance(value, (dict, list)) else str(value)),
    }
    record = rows.get(table, event(f"words {value}"))
    name = "datasets" if table == "datasets" else "events"
    safe = Governance().table(name, records_to_arrow(name, [record]))
    assert found_in(str(safe.to_pylist()).encode(), [("it", secret)]) == []


@settings(max_examples=100, deadline=None)
@given(planted_value=nested(), protocol=st.integers(2, 5))
def test_pickles_are_masked_and_load_as_before(planted_value: tuple[object, str], protocol: int) -> None:
    value, secret = planted_value
    data = pickle.dumps({"state": [1.5, "kept"], "hyper": value, "password": "Xy7-unlikely-word"}, protocol)
    clean, found = masked_pickle(data, Governance())
    assert found >= 2
    assert len(clean) == len(data)
    assert found_in(clean, [("it", secret), ("other", "Xy7-unlikely-word")]) == []
    loaded = pickle.loads(clean)
    assert (loaded["state"], set(loaded["password"])) == ([1.5, "kept"], {"*"})


def test_an_innocent_pickle_stays() -> None:
    data = pickle.dumps({"lr": 0.1, "tokenizer": "bert", "key": "value", "epoch": 3})
    assert masked_pickle(data, Governance()) == (data, 0)
