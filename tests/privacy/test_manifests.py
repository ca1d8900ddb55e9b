"""Names of files in manifests pass the gate, and the audit reads what did not."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lightning_lde import Lake, Recorder
from lightning_lde.capture import Samples
from lightning_lde.cli import app
from lightning_lde.lake import LakeStorage
from lightning_lde.policy import Policy
from lightning_lde.recording import keep_manifest, write_manifest
from lightning_lde.recording._governance import Governance
from lightning_lde.schema import Dataset, utc_now
from tests.privacy.planting import KINDS, found_in, planted

SECRETS = planted(11)
PLAIN = [f"train/{number % 7}/IMG_{number:05}.jpg" for number in range(250)]


def samples(*paths: str) -> Samples:
    return Samples(np.arange(len(paths), dtype=np.uint64), list(paths), np.zeros(len(paths), np.int32), ["rose"])


def recorded(url: Path, *paths: str, level: str = "standard") -> Dataset:
    row = Dataset(dataset_id="d", recorded_at=utc_now(), name="faces", n_samples=len(paths))
    with Recorder(url, project="p", system_metrics_every_s=None, capture=level) as run:
        run.record("datasets", row)
        keep_manifest(run, row, samples(*paths))
    return row


def manifest(url: Path) -> list[str] | None:
    [object_id] = Lake(url).sql("select manifest_object from datasets").column(0).to_pylist()
    if object_id is None:
        return None
    table = pq.read_table(io.BytesIO(LakeStorage(url).get_object(object_id)))
    found: list[str] = table.column("path").to_pylist()
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_secret_in_a_name(tmp_path: Path, kind: str) -> None:
    text, secret = SECRETS[kind]
    gate = Governance("standard", known=())
    paths = [*PLAIN[:120], text, *PLAIN[120:]]
    write_manifest(tmp_path / "m", samples(*paths), gate.text)
    found = pq.read_table(tmp_path / "m").column("path").to_pylist()
    # Looking at many names together finds what looking at each one finds, and nothing else changes.
    assert found[:120] + found[121:] == PLAIN
    assert found[120] == "/".join(map(gate.text, gate.text(text).split("/")))
    assert found_in("\n".join([text, *paths]).encode(), [(kind, secret)])
    assert not found_in("\n".join(found).encode(), [(kind, secret)])


def test_people_have_pseudonyms_of_the_lake(lake_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    recorded(lake_path, "scans/ann@example.org/1.png", "scans/bob@example.org/1.png", *PLAIN)
    found = manifest(lake_path)
    assert found is not None
    ann, bob, *rest = found
    assert rest == PLAIN
    assert ann.startswith("scans/<email-")
    assert ann != bob
    objects = [storage.store.get(each.path) for each in storage.store.list("objects/")]
    assert not any(b"example.org" in data for data in objects)
    storage.set_policy(Policy(emails="keep", salt="s"))
    recorded(lake_path, "scans/ann@example.org/1.png")
    assert manifest(lake_path) == ["scans/ann@example.org/1.png"]


@pytest.mark.parametrize("by_policy", [True, False])
def test_nothing_at_the_level_minimal(lake_path: Path, by_policy: bool) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    if by_policy:
        storage.set_policy(Policy(capture="minimal", salt="s"))
    recorded(lake_path, "ann.png", level="standard" if by_policy else "minimal")
    assert manifest(lake_path) is None
    assert not any(storage.store.get(each.path).startswith(b"PAR1") for each in storage.store.list("objects/"))


def test_the_audit_reads_names_in_manifests(lake_path: Path, tmp_path: Path) -> None:
    storage = LakeStorage(lake_path)
    storage.initialise()
    recorded(lake_path, *PLAIN)
    assert CliRunner().invoke(app, ["audit", str(lake_path)]).exit_code == 0
    secret = "Xy7-unlikely-word"
    write_manifest(tmp_path / "m", samples(*PLAIN, f"password={secret}/1.png"), str)
    storage.put_object(tmp_path / "m")
    result = CliRunner().invoke(app, ["audit", str(lake_path), "--format", "json"])
    assert result.exit_code == 1
    assert secret not in result.output
    assert {(one["table"], one["column"]) for one in json.loads(result.output)["findings"]} == {("objects", "path")}
