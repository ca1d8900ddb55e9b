"""A thousand runs, writers that are at work meanwhile, and an archive that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.tiers import Amount, ColdRoot
from lightning_lde.lake.tiers._restore import restore
from lightning_lde.schema import Artifact, utc_now
from lightning_lde.testing import Fault, FaultyStore
from tests.conftest import S3Server
from tests.lake.tiers.lakes import Filled, fill
from tests.lake.tiers.test_tier import OTHERS, below, set_tiers


@pytest.mark.parametrize("n_runs", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_lake_of_many_runs(n_runs: int, lake_path: Path, tmp_path: Path) -> None:
    statuses = ("finished", "finished", "failed", "interrupted", "finished")
    lake = fill(LakeStorage(lake_path), n_runs, scratch=tmp_path, size_bytes=4000, statuses=statuses)
    cold = tmp_path / "cold"
    set_tiers(
        lake.storage, str(cold), "kind=checkpoint status=finished older_than=30d keep=best,last to=cold",
        "kind=checkpoint status=interrupted to=cold", "status=failed older_than=90d to=delete",
    )  # fmt: skip
    before = {path: (lake_path / path).read_bytes() for path in below(lake_path)}
    done = lake.storage.tier()
    fifth = n_runs // 5
    # Of finished runs one checkpoint, of interrupted ones all three, of failed ones all files.
    assert (done.to_cold, done.deleted) == (
        Amount(6 * fifth, 6 * fifth * 4000),
        Amount(5 * fifth, done.deleted.size_bytes),
    )
    assert sum(map(len, before.values())) == done.hot_before.size_bytes
    assert (len(before), sum(map(len, before.values()))) == (done.hot_before.n, done.hot_before.size_bytes)
    for root, amount in ((lake_path, done.hot_after), (cold, done.cold_after)):
        assert (len(below(root)), sum((root / path).stat().st_size for path in below(root))) == (
            amount.n, amount.size_bytes,
        )  # fmt: skip
    gone = [file for file in lake.contents if statuses[lake.runs.index(file[0]) % 5] == "failed"]
    tiers = lake.tiers()
    assert {file for file, tier in tiers.items() if tier == "deleted"} == set(gone)
    lake.check(*gone)
    assert Lake(lake_path).sql("select count(*) as n from metrics join runs using (run_id)").to_pylist() == [
        {"n": n_runs}
    ]
    back = lake.storage.restore(lake.runs)
    assert (back.restored, back.problems) == (done.to_cold, [])
    after = {path: (lake_path / path).read_bytes() for path in below(lake_path)}
    assert after == {path: data for path, data in before.items() if path in after}
    assert set(lake.tiers().values()) == {"hot", "deleted"}
    lake.check(*gone)


class WriterAtWork:
    """A run that stores a file which an old one has too, while that one's is being moved."""

    def __init__(self, lake: Filled, tmp_path: Path) -> None:
        self.storage = LakeStorage(lake.storage.url)
        self.content = lake.contents[lake.runs[0], OTHERS[0]]
        self._source = tmp_path / "same"
        self._source.write_bytes(self.content)
        self.run = lake.runs[1]
        self.stored = self.storage.put_artifact(self._source)

    def send(self) -> None:
        row = Artifact(
            run_id=self.run, segment=0, path="same.ckpt", kind="checkpoint", size_bytes=len(self.content),
            object_id=self.stored.object_id, recipe=self.stored.recipe, recorded_at=utc_now(),
        )  # fmt: skip
        self.storage.add_records("artifacts", [row], project="p")

    def look_again(self) -> None:
        if self.storage.is_condemned_since(self.stored):
            self.stored = self.storage.put_artifact(self._source)
            self.send()

    def is_hot(self) -> bool:
        return Lake(self.storage.url).storage.objects.places.size(self.stored.paths[0]) is not None


def tier_with(lake: Filled, at: Callable[[str, str], bool], action: Callable[[], None]) -> None:
    """Move files, and do something once, just before an operation of the lake's store."""
    left = [action]

    def fault(operation: str, path: str) -> Fault | None:
        if left and at(operation, path):
            left.pop()()
        return None

    lake.storage.store = FaultyStore(lake.storage.store, fault)
    lake.storage.tier()
    assert not left, "it was done"


def is_condemned(lake_path: Path) -> bool:
    return any((lake_path / "condemned").glob("*.json"))


@pytest.mark.parametrize(
    ("moment", "looks_hot"),
    [
        (lambda operation, path: operation == "list" and path == "hot/", True),
        (lambda operation, path: operation == "delete" and path.startswith(("objects/", "chunks/")), False),
    ],
    ids=["before the second look", "after the second look"],
)
def test_what_a_writer_relies_on_stays_or_is_stored_again(
    moment: Callable[[str, str], bool], looks_hot: bool, lake_path: Path, tmp_path: Path
) -> None:
    lake = fill(LakeStorage(lake_path), 2, scratch=tmp_path)
    set_tiers(lake.storage, str(tmp_path / "cold"), "kind=checkpoint older_than=1d keep=best to=cold")
    writer = WriterAtWork(lake, tmp_path)
    lake.contents[writer.run, "same.ckpt"] = writer.content
    tier_with(lake, lambda operation, path: is_condemned(lake_path) and moment(operation, path), writer.send)
    assert writer.is_hot() is looks_hot
    writer.look_again()
    assert writer.is_hot()
    assert lake.tiers()[writer.run, "same.ckpt"] == "hot"
    assert lake.tiers()[lake.runs[0], OTHERS[0]] == "cold"
    lake.check()
    replace(lake).storage.tier()
    assert writer.is_hot()
    lake.check()


@pytest.mark.s3
@pytest.mark.slow
def test_an_archive_that_takes_its_time(
    lake_path: Path, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", s3_server.key), ("AWS_SECRET_ACCESS_KEY", s3_server.secret),
        ("AWS_ENDPOINT_URL", s3_server.endpoint), ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    lake = fill(LakeStorage(lake_path), 1, scratch=tmp_path)
    set_tiers(
        lake.storage, f"s3://{s3_server.new_bucket()}/cold", "kind=checkpoint to=cold", storage_class="DEEP_ARCHIVE"
    )
    lake.storage.tier()
    true_head, patience = ColdRoot._head, {"left": 12}

    def slow_head(self: ColdRoot, path: str) -> dict[str, Any] | None:
        # moto has what was asked for at once, Amazon within hours.
        head = true_head(self, path)
        if head and head.get("Restore") and patience["left"]:
            patience["left"] -= 1
            return {**head, "Restore": 'ongoing-request="true"'}
        return head

    monkeypatch.setattr(ColdRoot, "_head", slow_head)
    asked = restore(lake.storage, lake.runs)
    assert (asked.asked.n, asked.restored.n, asked.waiting.n) == (3, 0, 3)
    again = restore(lake.storage, lake.runs)
    assert (again.asked.n, again.waiting.n, again.states) == (0, 3, {"restoring": 3})
    patience["left"] = 0
    seen = restore(lake.storage, lake.runs, dry_run=True)
    assert seen.states == {"restored": 3}
    assert seen.until is not None
    assert timedelta(days=6) < seen.until - utc_now() <= timedelta(days=7)
    patience["left"] = 6
    looks = []
    done = restore(lake.storage, lake.runs, wait=True, poll_s=0, tell=lambda found: looks.append(found.waiting.n))
    assert (done.restored.n, done.copied.n, done.waiting.n) == (3, 3, 0)
    assert looks[0] == 3
    assert looks[-1] == 0
    lake.check()
