"""Files go where the rules say and come back bit for bit; nothing is lost that somebody needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.audit import audit_lake
from lightning_lde.errors import ConfigurationError, StoreError
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.tiers import Amount
from lightning_lde.schema import Artifact, utc_now
from tests.conftest import S3Server
from tests.lake.tiers.lakes import LONG_AGO, Filled, fill

TO_COLD = "kind=checkpoint status=finished older_than=30d keep=best to=cold"
BEST = "checkpoints/1.ckpt"
OTHERS = ("checkpoints/0.ckpt", "checkpoints/2.ckpt")


def set_tiers(storage: LakeStorage, cold: str | None, *rules: str, storage_class: str | None = None) -> None:
    tiers = replace(storage.tiers(), rules=())
    tiers = tiers.changed("tiers.cold", cold or "").changed("tiers.storage_class", storage_class or "")
    storage.set_tiers(tiers.with_rules(*rules))


def below(root: Path) -> set[str]:
    """The objects in a folder."""
    found = (path for part in ("objects", "chunks") for path in (root / part).rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in found}


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    return tmp_path / "cold"


@pytest.fixture
def lake(lake_path: Path, tmp_path: Path, cold: Path) -> Filled:
    filled = fill(LakeStorage(lake_path), 6, scratch=tmp_path, statuses=("finished", "failed", "finished"))
    set_tiers(filled.storage, str(cold), TO_COLD)
    return filled


def finished(lake: Filled) -> list[str]:
    return [run for number, run in enumerate(lake.runs) if number % 3 != 1]


def test_files_move_as_the_rules_say_and_are_read_as_before(lake: Filled, lake_path: Path, cold: Path) -> None:
    before = below(lake_path)
    foreseen = lake.storage.tier(dry_run=True)
    assert below(lake_path) == before
    assert not cold.exists()
    done = lake.storage.tier()
    assert (done.to_cold.n, done.copied.n, done.removed.n) == (8, 8, 8)
    assert (done.copied.size_bytes, done.removed.size_bytes) == (8 * 2000, 8 * 2000)
    assert done.by_rule == {1: Amount(8, 8 * 2000)}
    for name in ("to_cold", "copied", "removed", "hot_before", "hot_after", "cold_before", "cold_after", "cost"):
        assert getattr(foreseen, name) == getattr(done, name), name
    assert done.hot_before.size_bytes - done.hot_after.size_bytes == done.cold_after.size_bytes == 8 * 2000
    assert before == below(lake_path) | below(cold)
    assert len(below(cold)) == 8
    assert {file for file, tier in lake.tiers().items() if tier == "cold"} == {
        (run, path) for run in finished(lake) for path in OTHERS
    }
    lake.check()
    again = lake.storage.tier()
    assert (again.to_cold.n, again.copied.n, again.removed.n) == (0, 0, 0)
    assert [action.action for action in lake.storage.actions(2)] == ["tier", "tier"]
    assert not (lake_path / "condemned").exists() or not list((lake_path / "condemned").iterdir())


def test_what_comes_back_is_what_went(lake: Filled, lake_path: Path, cold: Path) -> None:
    before = {path: (lake_path / path).read_bytes() for path in below(lake_path)}
    lake.storage.tier()
    run = finished(lake)[0]
    done = lake.storage.restore([run], match="checkpoints/0*")
    assert (done.restored.n, done.copied.n, done.waiting.n, done.problems) == (1, 1, 0, [])
    assert {path for (one, path), tier in lake.tiers().items() if one == run and tier == "cold"} == {OTHERS[1]}
    lake.storage.restore(lake.runs)
    assert {path: (lake_path / path).read_bytes() for path in below(lake_path)} == before
    assert set(lake.tiers().values()) == {"hot"}
    lake.check()
    assert lake.storage.tier().to_cold.n == 0, "what was brought back is as new as on its first day"
    later = lake.storage.tier(now=LONG_AGO + timedelta(days=9999))
    assert (later.to_cold.n, later.copied.n, later.removed.n) == (8, 0, 8), "their copies were there still"
    lake.check()


@pytest.mark.slow
def test_what_a_hot_file_needs_stays(lake: Filled, lake_path: Path) -> None:
    set_tiers(lake.storage, str(lake.storage.tiers().cold_root), "project=p0 older_than=1d to=cold")
    lake.storage.tier()
    picture = next(path for path in below(lake_path) if (lake_path / path).read_bytes() == b"the same in all runs")
    assert {tier for (_, path), tier in lake.tiers().items() if path == "picture.png"} == {"hot", "cold"}
    lake.check()
    lake.storage.set_tiers(lake.storage.tiers().with_rules("older_than=1d to=cold"))
    lake.storage.tier()
    assert picture not in below(lake_path)
    lake.check()


def test_deleted_files_are_gone_and_say_so(lake: Filled, lake_path: Path, cold: Path) -> None:
    lake.storage.tier()
    set_tiers(lake.storage, str(cold), "status=failed to=delete", "kind=checkpoint keep=best older_than=90d to=delete")
    done = lake.storage.tier()
    assert (done.deleted.n, done.to_cold.n) == (2 * 5 + 8, 0)
    assert done.removed.n == 2 * 4, "the picture belongs to other runs too"
    assert done.removed_cold.n == 8
    assert not below(cold)
    failed = [run for number, run in enumerate(lake.runs) if number % 3 == 1]
    tiers = lake.tiers()
    gone = [(run, path) for run, path in lake.contents if run in failed or path in OTHERS]
    assert {file for file, tier in tiers.items() if tier == "deleted"} == set(gone)
    lake.check(*gone)
    rows = Lake(lake_path).sql("select run_id, name from runs").to_pylist()
    assert len(rows) == 6
    with pytest.raises(FileNotFoundError, match=r"deleted by the lake's policy on 20.*status=failed"):
        Lake(lake_path).read_artifact(failed[0], BEST)
    assert lake.storage.tier().removed.n == 0


def test_a_file_that_is_stored_again_after_its_deletion_is_there(lake: Filled, tmp_path: Path) -> None:
    set_tiers(lake.storage, None, "status=failed to=delete")
    lake.storage.tier()
    run = lake.runs[1]
    [row] = [row for row in lake.storage.rows_of_run("artifacts", run, project="p") if row["path"] == BEST]
    (tmp_path / "again").write_bytes(lake.contents[run, BEST])
    stored = lake.storage.put_artifact(tmp_path / "again")
    again = {**row, "recipe": stored.recipe, "recorded_at": utc_now()}
    lake.storage.add_records("artifacts", [Artifact(**again)], project="p")
    assert Lake(lake.storage.url).read_artifact(run, BEST) == lake.contents[run, BEST]
    assert lake.tiers()[run, BEST] == "hot"


def test_metadata_is_answered_without_the_cold_root(lake: Filled, cold: Path) -> None:
    lake.storage.tier()
    cold.rename(cold.with_name("unplugged"))
    opened = Lake(lake.storage.url)
    run = finished(lake)[0]
    assert opened.sql("select count(*) as n from metrics").to_pylist() == [{"n": 6}]
    assert opened.runs("run_id = ?", [run]).num_rows == 1
    assert len(opened.sql("select * from artifacts where run_id = ?", [run])) == 5
    with pytest.raises(FileNotFoundError, match="is cold, and not to be found in"):
        opened.read_artifact(run, OTHERS[0])
    for action in (lake.storage.tier, lambda: lake.storage.restore([run])):
        with pytest.raises(StoreError, match="is not there, or is not this lake's"):
            action()
    assert lake.storage.actions(1)[0].details == {"failed": "StoreError"}
    places = opened.storage.objects.places
    with pytest.raises(StoreError, match="is not there"):
        # Nobody may believe that something was erased which is on a disk in a cupboard.
        places.remove("objects/00/x")
    assert not cold.exists()
    assert opened.read_artifact(run, BEST) == lake.contents[run, BEST]


def test_what_is_cold_is_audited_and_removed_with_the_rest(lake: Filled, tmp_path: Path, cold: Path) -> None:
    secret = b"api_key = sk_live_51MzqX8kP2vTn9RbW4hJcYdLf"
    (tmp_path / "secret").write_bytes(secret)
    row = lake.storage.rows_of_run("artifacts", lake.runs[0], project="p")[0]
    stored = lake.storage.put_artifact(tmp_path / "secret")
    row |= {"path": "notes.txt", "kind": "notes", "object_id": stored.object_id, "size_bytes": len(secret)}
    lake.storage.add_records("artifacts", [Artifact(**row)], project="p")
    found = {one.fingerprint for one in audit_lake(lake.storage)}
    assert found
    set_tiers(lake.storage, str(cold), "kind=notes to=cold")
    assert lake.storage.tier().removed.n == 1
    assert {one.fingerprint for one in audit_lake(lake.storage)} == found
    places, [path] = lake.storage.objects.places, stored.paths
    assert (places.size(path), places.copies(path)) == (None, [len(secret)])
    places.remove(path)
    assert places.copies(path) == []
    assert not below(cold)


def test_a_damaged_or_missing_object_stays_and_is_said(lake: Filled, lake_path: Path, cold: Path) -> None:
    run, other = finished(lake)[:2]
    ids = {
        (row["run_id"], row["path"]): row["object_id"]
        for row in Lake(lake_path).sql("select run_id, path, object_id from artifacts").to_pylist()
    }
    damaged, missing = ids[run, OTHERS[0]], ids[other, OTHERS[1]]
    (lake_path / "objects" / damaged[:2] / damaged).write_bytes(b"x" * 2000)
    (lake_path / "objects" / missing[:2] / missing).unlink()
    done = lake.storage.tier()
    assert done.to_cold.n == 6
    assert sorted(problem.split(" stays: ")[1] for problem in done.problems) == sorted(
        [f"objects/{damaged[:2]}/{damaged} is damaged", f"objects/{missing[:2]}/{missing} is missing"]
    )
    assert lake.tiers()[run, OTHERS[0]] == "hot"
    lake.check((run, OTHERS[0]), (other, OTHERS[1]))


@pytest.mark.slow
def test_a_former_root_is_read_still(lake: Filled, tmp_path: Path) -> None:
    lake.storage.tier()
    lake.storage.set_tiers(lake.storage.tiers().changed("tiers.cold", str(tmp_path / "new")))
    lake.check()
    lake.storage.tier()
    lake.check()
    lake.storage.restore(lake.runs)
    assert set(lake.tiers().values()) == {"hot"}
    lake.check()


def test_what_cannot_work_moves_nothing(lake: Filled, lake_path: Path, cold: Path) -> None:
    before = below(lake_path)
    set_tiers(lake.storage, None, "to=cold")
    with pytest.raises(ConfigurationError, match="there is none: `lde policy set"):
        lake.storage.tier()
    LakeStorage(lake_path.with_name("other")).initialise()
    other = LakeStorage(lake_path.with_name("other"))
    set_tiers(other, str(cold), "to=cold")
    other.tier()
    set_tiers(lake.storage, str(cold), "to=cold")
    with pytest.raises(ConfigurationError, match="belongs to another lake"):
        lake.storage.tier()
    for wrong in ({"days": 0}, {"retrieval": "Fast"}):
        with pytest.raises(ConfigurationError):
            lake.storage.restore(lake.runs, **wrong)  # type: ignore[arg-type]
    assert below(lake_path) == before


@pytest.mark.slow
def test_of_two_at_once_one_steps_aside(lake: Filled) -> None:
    from lightning_lde.lake.cold._lock import held
    from lightning_lde.lake.tiers._move import LOCK

    with held(lake.storage.store, LOCK):
        assert lake.storage.tier().was_busy
        assert lake.storage.restore(lake.runs).was_busy
        assert not lake.storage.tier(dry_run=True).was_busy
    assert lake.storage.tier().to_cold.n == 8


@pytest.mark.s3
@pytest.mark.slow
def test_a_bucket_with_an_archive(bucket_url: str, s3_server: S3Server, tmp_path: Path) -> None:
    filled = fill(LakeStorage(bucket_url, s3_server.options), 2, scratch=tmp_path)
    set_tiers(filled.storage, bucket_url + "-cold", TO_COLD, storage_class="GLACIER")
    done = filled.storage.tier()
    assert (done.to_cold.n, done.removed.n) == (4, 4)
    assert done.cost is not None
    assert done.cost.are_known
    run = filled.runs[0]
    lake = Lake(bucket_url, s3_server.options)
    assert len(lake.sql("select * from metrics")) == 2
    with pytest.raises(OSError, match=rf"archived since 20.*`lde restore {bucket_url} {run}`"):
        lake.read_artifact(run, OTHERS[0])
    looked = filled.storage.restore([run], dry_run=True)
    assert (looked.states, looked.waiting.n, looked.asked.n, looked.until) == ({"archived": 2}, 2, 0, None)
    asked = filled.storage.restore([run], match=OTHERS[0], days=3)
    # moto has what was asked for at once.
    assert (asked.asked.n, asked.restored.n, asked.copied.n) == (1, 1, 1)
    assert lake.read_artifact(run, OTHERS[0]) == filled.contents[run, OTHERS[0]]
    back = filled.storage.restore(filled.runs, wait=True)
    assert (back.restored.n, back.waiting.n) == (3, 0)
    filled.check()
    assert set(filled.tiers().values()) == {"hot"}


@pytest.mark.s3
@pytest.mark.slow
def test_a_folder_whose_cold_root_is_a_bucket(
    lake: Filled, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", s3_server.key), ("AWS_SECRET_ACCESS_KEY", s3_server.secret),
        ("AWS_ENDPOINT_URL", s3_server.endpoint), ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    set_tiers(lake.storage, f"s3://{s3_server.new_bucket()}/cold", TO_COLD, storage_class="STANDARD_IA")
    assert lake.storage.tier().removed.n == 8
    lake.check()
    lake.storage.restore(lake.runs)
    lake.check()
