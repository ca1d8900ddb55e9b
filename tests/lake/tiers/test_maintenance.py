"""Other maintenance on a lake with tiers: check, gc, erase and compact know of cold and deleted files."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.lake import LakeStorage
from tests.lake.tiers.lakes import Filled, fill
from tests.lake.tiers.test_tier import OTHERS, below, set_tiers


@pytest.fixture
def lake(lake_path: Path, tmp_path: Path) -> Filled:
    """Six runs: checkpoints of three are cold, in chunks; two have lost theirs; one has all it had."""
    statuses = ("finished", "failed", "finished", "lost", "finished", "failed")
    lake = fill(LakeStorage(lake_path), 6, scratch=tmp_path, size_bytes=600_000, statuses=statuses)
    set_tiers(
        lake.storage, str(tmp_path / "cold"), "kind=checkpoint status=finished keep=best to=cold",
        "kind=checkpoint status=failed to=delete",
    )  # fmt: skip
    done = lake.storage.tier()
    assert (done.to_cold.n, done.deleted.n) == (6, 6)
    return lake


def deleted(lake: Filled) -> list[tuple[str, str]]:
    return [file for file, tier in lake.tiers().items() if tier == "deleted"]


@pytest.mark.slow
def test_nothing_is_found_and_nothing_collected(lake: Filled, lake_path: Path, tmp_path: Path) -> None:
    found = lake.storage.check(deep=True)
    assert [one for one in found.findings if one.severity == "error"] == []
    before = below(lake_path) | below(tmp_path / "cold")
    for _ in range(2):
        lake.storage.collect(older_than=timedelta(0), condemned_for=timedelta(0))
    assert below(lake_path) | below(tmp_path / "cold") == before, "nothing was left that nobody needs"
    lake.storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    assert (lake.storage.tier().to_cold.n, lake.storage.tier().removed.n) == (0, 0)
    lake.check(*deleted(lake))
    lake.storage.restore(lake.runs)
    lake.check(*deleted(lake))
    found = lake.storage.check(deep=True)
    assert [one for one in found.findings if one.severity == "error"] == []
    (tmp_path / "cold").rename(tmp_path / "away")
    assert lake.storage.check().skipped


@pytest.mark.slow
def test_what_is_missing_from_the_cold_root_is_found(lake: Filled, tmp_path: Path) -> None:
    lake.storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    gone = sorted(below(tmp_path / "cold"))[0]
    (tmp_path / "cold" / gone).unlink()
    assert [(one.kind, one.path) for one in lake.storage.check().findings if one.severity == "error"] == [
        ("missing", gone)
    ]
    (tmp_path / "cold").rename(tmp_path / "away")
    report = lake.storage.check()
    assert [one for one in report.findings if one.severity == "error"] == []
    assert any("is not there" in said for said in report.skipped)


def test_what_is_erased_is_gone_from_the_cold_root(lake: Filled, lake_path: Path, tmp_path: Path) -> None:
    run = lake.runs[0]
    contents = [data for (one, path), data in lake.contents.items() if one == run and path in OTHERS]
    cold_before = below(tmp_path / "cold")
    done = CliRunner().invoke(
        app, ["erase", str(lake_path), "--run", run, "--yes", "--silent-for", "0", "--format", "json"]
    )
    assert done.exit_code == 0, done.output
    assert len(below(tmp_path / "cold")) < len(cold_before)
    for root in (lake_path, tmp_path / "cold"):
        for path in below(root):
            assert not any(data[-100:] in (root / path).read_bytes() for data in contents)
    assert Lake(lake_path).sql("select * from stored.placements where run_id = ?", [run]).num_rows == 0
    for file in [file for file in lake.contents if file[0] == run]:
        del lake.contents[file]
    lake.check(*deleted(lake))
    assert lake.storage.tier().to_cold.n == 0
    json.loads(done.output)
