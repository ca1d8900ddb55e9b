"""A lake as version 1 of the format had it, written by the program of that time, is read and migrated."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.errors import LakeNotFoundError, LakeURLError
from lightning_lde.lake import LakeStorage
from lightning_lde.schema import FORMAT_VERSION

from .damage import paths

OLD = Path(__file__).parent / "version_1"
"""Written by the last commit before version 2: two runs, one of which has merged its files."""

POINTS = sorted([1 / n for n in (1, 2, 3, 11, 12, 13, 21, 22, 23)] + [1 / n for n in (2, 3, 4, 12, 13, 14, 22, 23, 24)])


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    shutil.copytree(OLD, lake_path)
    return Lake(lake_path)


def all_is_there(lake: Lake) -> None:
    assert sorted(lake.sql("select value from metrics").column("value").to_pylist()) == POINTS
    assert lake.sql("select name, status from runs order by name").to_pylist() == [
        {"name": "run 0", "status": "finished"}, {"name": "run 1", "status": "failed"},
    ]  # fmt: skip
    [row] = lake.sql("select distinct object_id, recipe from artifacts").to_pylist()
    assert lake.storage.get_object(row["object_id"]) == b"weights of version 1"
    assert row["recipe"] == "whole"
    assert lake.storage.check(deep=True).findings == []


def test_the_old_lake_is_one(lake: Lake) -> None:
    assert json.loads((OLD / "lde.json").read_text())["format_version"] == 1
    assert paths(lake, "cold/") == []
    all_is_there(lake)


def test_it_is_migrated_by_a_command_and_once(lake: Lake, lake_path: Path) -> None:
    before = {path: lake.storage.store.get(path) for path in paths(lake, "")}
    result = CliRunner().invoke(app, ["migrate", str(lake_path)])
    assert (result.exit_code, result.output) == (0, f"{lake_path}: version 1 of the format -> {FORMAT_VERSION}\n")
    after = {path: lake.storage.store.get(path) for path in paths(lake, "")}
    marker = {**json.loads(before.pop("lde.json")), "format_version": FORMAT_VERSION}
    assert json.loads(after.pop("lde.json")) == marker
    [note] = set(after) - set(before)
    assert note.startswith("maintenance/")
    assert {path: after[path] for path in before} == before
    assert lake.storage.actions()[0].details == {"from": 1, "to": FORMAT_VERSION}
    all_is_there(lake)
    again = CliRunner().invoke(app, ["migrate", str(lake_path)])
    assert "the newest: nothing was done" in again.output
    as_json = CliRunner().invoke(app, ["migrate", str(lake_path), "--format", "json"])
    assert json.loads(as_json.output) == {"lake": str(lake_path), "from": FORMAT_VERSION, "to": FORMAT_VERSION}
    assert len(lake.storage.actions()) == 1


def test_compaction_migrates_it_too(lake: Lake) -> None:
    lake.storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    assert json.loads(lake.storage.store.get("lde.json"))["format_version"] == FORMAT_VERSION
    assert paths(lake, "hot/") == []
    all_is_there(lake)


def test_what_cannot_be_migrated_is_said(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(LakeNotFoundError):
        LakeStorage(tmp_path / "nothing").migrate()
    content = b'{"format": "lightning-lde", "format_version": 99}'
    lake.storage.store.put("lde.json", content)
    with pytest.raises(LakeURLError, match="format 99"):
        lake.storage.migrate()
    assert lake.storage.store.get("lde.json") == content
