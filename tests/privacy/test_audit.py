"""`lde audit` finds what was written past the gate, names the place, and never shows the secret."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import random
import tarfile
import tempfile
import types
import zipfile
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import LakeNotFoundError
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import add_results
from lightning_lde.recording._files import masked_pickle, without_secrets
from lightning_lde.recording._governance import Governance
from lightning_lde.schema import Dataset, Event, Param, records_to_arrow, utc_now
from tests.privacy.planting import KINDS, chars, found_in, planted

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


# Containers of one value, as pickle, torch and programs of users know them.
CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "list": lambda value: [1, None, value, "kept-1"],
    "tuple": lambda value: (value, 2.5),
    "long tuple": lambda value: (value, 1, 2, 3, 4),
    "dict": lambda value: {"db": value, "port": 5},
    "ordered": lambda value: OrderedDict(a=value, b=[]),
    "default": lambda value: defaultdict(list, {7: [value]}),
    "deque": lambda value: deque([value]),
    "namespace": lambda value: argparse.Namespace(db=value, n=1),
    "object": lambda value: types.SimpleNamespace(inner=value),
}
NAMES = ["password", "passwords", "api_keys", "hf_token", "credentials", "clientSecret"]


@st.composite
def below_a_name(draw: st.DrawFn) -> tuple[Callable[[Any], Any], str | bytes]:
    """Data around a secret that stands nested below a secret's name, and the secret."""
    text = chars(random.Random(draw(st.integers(0, 1 << 60))), draw(st.integers(6, 300)))
    secret: str | bytes = draw(st.sampled_from([text, text.encode()]))
    inner = draw(st.lists(st.sampled_from(sorted(CONTAINERS)), max_size=4))
    outer = draw(st.lists(st.sampled_from(sorted(CONTAINERS)), max_size=2))
    name, is_shared = draw(st.sampled_from(NAMES)), draw(st.booleans())

    def data(value: Any) -> Any:
        nested = value
        for kind in inner:
            nested = CONTAINERS[kind](nested)
        whole: Any = {"first": [value] if is_shared else [], name: nested, "last": {"lr": 0.1, "note": "kept-2"}}
        for kind in outer:
            whole = CONTAINERS[kind](whole)
        return whole

    return data, secret


def stars(secret: str | bytes) -> str | bytes:
    return "*" * len(secret) if isinstance(secret, str) else b"*" * len(secret)


def hidden(value: Any, secret: str | bytes) -> Any:
    """What `CONTAINERS` would be with every text below the name masked: `kept-1` stands there too."""
    return str(value).replace(str(secret), str(stars(secret))).replace("kept-1", "*" * 6)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planted_value=below_a_name(), protocol=st.integers(2, 5))
def test_nested_below_a_name_nothing_stays_in_a_pickle(
    planted_value: tuple[Callable[[Any], Any], str | bytes], protocol: int
) -> None:
    data, secret = planted_value
    pickled = pickle.dumps(data(secret), protocol)
    clean, found = masked_pickle(pickled, Governance())
    assert found >= 1
    assert len(clean) == len(pickled)
    plain = secret if isinstance(secret, str) else secret.decode()
    assert found_in(clean, [("it", plain)]) == []
    assert masked_pickle(clean, Governance()) == (clean, 0)
    loaded = str(pickle.loads(clean))
    assert loaded.replace("kept-1", "*" * 6) == hidden(data(secret), secret)
    assert "kept-2" in loaded


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(planted_value=below_a_name(), protocol=st.integers(2, 5), is_zip=st.booleans())
def test_nested_below_a_name_nothing_stays_in_a_checkpoint(
    planted_value: tuple[Callable[[Any], Any], str | bytes], protocol: int, is_zip: bool
) -> None:
    import torch

    data, secret = planted_value
    weights = torch.arange(64.0)
    state = {"hyper": data(secret), "state_dict": {"w": weights, "token": weights[3:9]}, "auth": weights[::2]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "last.ckpt"
        torch.save(state, file, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
        with without_secrets(file, Governance()) as (clean, found):
            assert found >= 1
            assert clean.stat().st_size == file.stat().st_size
            plain = secret if isinstance(secret, str) else secret.decode()
            assert found_in(clean.read_bytes(), [("it", plain)]) == []
            loaded = torch.load(clean, weights_only=False)
            if is_zip:
                with zipfile.ZipFile(clean) as archive:
                    assert archive.testzip() is None
    assert str(loaded["hyper"]).replace("kept-1", "*" * 6) == hidden(data(secret), secret)
    assert torch.equal(loaded["state_dict"]["w"], weights)
    assert torch.equal(loaded["state_dict"]["token"], weights[3:9])
    assert torch.equal(loaded["auth"], weights[::2])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_the_gate_masked_is_clean(lake_path: Path, tmp_path: Path, kind: str) -> None:
    text, _ = SECRETS[kind]
    data = pickle.dumps({"note": text, "notes": [text.encode()], "passwords": [text]})
    clean, _ = masked_pickle(data, Governance())
    assert masked_pickle(clean, Governance()) == (clean, 0)
    (tmp_path / "state.pkl").write_bytes(clean)
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.put_object(tmp_path / "state.pkl")
    assert CliRunner().invoke(app, ["audit", str(lake_path)]).output == f"nothing found in {lake_path}\n"
    storage.put_object_bytes(data)
    assert CliRunner().invoke(app, ["audit", str(lake_path)]).exit_code == 1


def test_an_innocent_pickle_stays() -> None:
    data = pickle.dumps({"lr": 0.1, "tokenizer": "bert", "key": "value", "epoch": 3})
    assert masked_pickle(data, Governance()) == (data, 0)
    kinds = pickle.dumps({"kind": "password", "note": "kept", "names": ["password", "email", "age"]})
    assert masked_pickle(kinds, Governance()) == (kinds, 0)
