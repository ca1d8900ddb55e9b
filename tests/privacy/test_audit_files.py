"""`lde audit` reads files of any size: pickles of checkpoints, texts in portions; what it cannot read it counts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from lightning_lde.audit import Finding, Skipped, _objects, _texts, audit_lake
from lightning_lde.cli import app
from lightning_lde.lake import LakeStorage
from lightning_lde.schema import Artifact, new_run_id, utc_now

SECRET = "Xy7-unlikely-word"


def lake(url: str | Path) -> LakeStorage:
    storage = LakeStorage(str(url))
    storage.initialise()
    return storage


def audited(storage: LakeStorage) -> tuple[list[Finding], list[Skipped]]:
    skipped: list[Skipped] = []
    return list(audit_lake(storage, skip=skipped.append)), skipped


def shown(storage: LakeStorage, *words: str) -> Result:
    return CliRunner().invoke(app, ["audit", storage.url, *words])


def test_a_checkpoint_of_any_size_is_looked_through(lake_path: Path, tmp_path: Path) -> None:
    # Above 64 MiB, of which the pickle is a kilobyte.
    torch.save({"state_dict": {"w": torch.zeros(17 << 20)}, "hyper": {"passwords": [SECRET]}}, tmp_path / "last.ckpt")
    storage = lake(lake_path)
    storage.put_object(tmp_path / "last.ckpt")
    result = shown(storage)
    assert result.exit_code == 1
    assert "content.passwords  secret by name" in result.stdout
    assert SECRET not in result.output
    assert result.stderr == ""


def test_a_checkpoint_in_chunks_is_looked_through(lake_path: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.randn(1 << 18)}, "hyper": {"passwords": [SECRET]}}, tmp_path / "last.ckpt")
    storage = lake(lake_path)
    stored = storage.put_artifact(tmp_path / "last.ckpt")
    names = {"run_id": new_run_id(), "segment": 0, "path": "last.ckpt", "kind": "checkpoint", "size_bytes": 1}
    row = Artifact(**names, object_id=stored.object_id, recipe=stored.recipe, recorded_at=utc_now())
    storage.add_records("artifacts", [row, row], project="p")
    result = shown(storage)
    assert result.exit_code == 1
    assert f"chunks/{stored.object_id}" in result.stdout
    assert "content.passwords  secret by name" in result.stdout
    assert SECRET not in result.output
    storage.store.put(stored.paths[-1], b"damaged")
    assert "damaged or encrypted" in shown(storage).output


@pytest.mark.parametrize("is_local", [True, False])
def test_a_large_checkpoint_is_read_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    monkeypatch.setattr(_objects, "LARGEST_PICKLE_BYTES", 4096)
    storage = lake(tmp_path / "lake" if is_local else f"memory://{tmp_path}/lake")
    torch.save({"w": torch.zeros(1 << 20), "token": {"hub": SECRET.encode()}}, tmp_path / "last.ckpt")
    path = f"objects/{(object_id := storage.put_object(tmp_path / 'last.ckpt'))[:2]}/{object_id}"

    def get(asked: str) -> bytes:
        assert asked != path, "read as a whole"
        return original(asked)

    original = storage.store.get
    monkeypatch.setattr(storage.store, "get", get)
    found, skipped = audited(storage)
    assert [(each.column, each.kind) for each in found] == [("content.token", "secret by name")]
    assert skipped == []


@pytest.mark.parametrize("at", [0, 500, 985, 1000, 1023, 1024, 1030, 5000, 12_345])
def test_a_secret_is_found_wherever_a_portion_ends(
    lake_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    for module in (_objects, _texts):
        monkeypatch.setattr(module, "PORTION", 1024)
        monkeypatch.setattr(module, "OVERLAP", 128)
    storage = lake(lake_path)
    line = f"\npassword={SECRET}\n"
    text = ("größe " * 4000)[: at or 1] + line + "größe " * 2000
    (tmp_path / "a.txt").write_text(text)
    storage.put_object(tmp_path / "a.txt")
    found, skipped = audited(storage)
    assert {each.kind for each in found} == {"assigned to password"}
    assert f"Xy7… ({len(SECRET)} characters)" in {each.preview for each in found}
    assert skipped == []


def test_what_is_not_looked_at_is_counted(lake_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_objects, "LARGEST_PICKLE_BYTES", 100)
    files = {
        "large.pkl": pickle.dumps({"password": SECRET, "more": ["x" * 99]}),
        "broken.zip": b"PK\x03\x04 broken",
        "broken.tar.gz": b"\x1f\x8b broken",
        "broken.parquet": b"PAR1 broken",
        "picture.png": b"\x89PNG\0\0",
        "half.txt": b"words \xff\xfe words",
        "small.pkl": pickle.dumps({"lr": 0.1}),
        "text.txt": b"words",
        "empty.txt": b"",
    }
    storage = lake(lake_path)
    reasons: dict[str, str] = {}
    for name, data in files.items():
        object_id = storage.put_object_bytes(data)
        reasons[object_id] = name
    result = shown(storage, "--format", "json")
    skipped: list[dict[str, Any]] = json.loads(result.stdout)["skipped"]
    assert {reasons[each["file"].rsplit("/", 1)[-1]]: each["reason"] for each in skipped} == {
        "large.pkl": _objects.TOO_LARGE,
        "broken.zip": _objects.DAMAGED,
        "broken.tar.gz": _objects.DAMAGED,
        "broken.parquet": _objects.DAMAGED,
        "picture.png": _objects.UNKNOWN,
        "half.txt": _objects.UNKNOWN,
    }
    text = shown(storage)
    assert (text.exit_code, text.stdout) == (0, f"nothing found in {lake_path}\n")
    assert "not looked at, damaged or encrypted: 3, such as objects/" in text.stderr
    assert "not looked at, neither text, pickle, checkpoint nor table: 2, such as objects/" in text.stderr
    assert "not looked at, pickle above 64 MiB: 1, such as objects/" in text.stderr
