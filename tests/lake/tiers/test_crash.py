"""Whoever moves files may be killed at any operation of either root: all files are read, and the next run finishes."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lightning_lde.lake import LakeStorage
from lightning_lde.lake.cold import _lock
from lightning_lde.lake.tiers import _move, _restore
from lightning_lde.lake.tiers._root import ColdRoot, cold_roots
from lightning_lde.testing import Fault, FaultKind, FaultyStore
from tests.lake.tiers.lakes import Filled, fill
from tests.lake.tiers.test_tier import below, set_tiers
from tests.lake.writers import KilledError

Action = Callable[[LakeStorage], object]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """Three runs: checkpoints of the first go to the cold root, files of the second are deleted, the third stays."""
    # A lock that a dead process left is free at once.
    monkeypatch.setattr(_lock, "HELD_FOR", timedelta(0))
    lake = fill(
        LakeStorage(tmp_path / "prepared"), 3, scratch=tmp_path, size_bytes=600, statuses=("finished", "failed", "lost")
    )
    set_tiers(
        lake.storage, str(tmp_path / "cold"), "kind=checkpoint status=finished keep=best to=cold",
        "status=failed kind=checkpoint to=delete",
    )  # fmt: skip
    return lake


class Dying:
    """A lake and its cold root for a process that is killed at its operation of a number, in either of them."""

    def __init__(self, root: Path, number: int, kind: FaultKind, patch: pytest.MonkeyPatch) -> None:
        self._counted = itertools.count()
        self._number, self._kind = number, kind
        self.storage = LakeStorage(root)
        self.storage.store = FaultyStore(self.storage.store, self._fault)

        def dying_roots(*words: object) -> list[ColdRoot]:
            roots = cold_roots(*words)  # type: ignore[arg-type]
            for one in roots:
                one.store = FaultyStore(one.store, self._fault)
            return roots

        for module in (_move, _restore):
            patch.setattr(module, "cold_roots", dying_roots)

    def _fault(self, _operation: str, path: str) -> Fault | None:
        at = next(self._counted)
        if at < self._number:
            return None
        kind = self._kind if at == self._number else FaultKind.BEFORE
        # Rows are never torn: no store leaves half of a file under its name. Of objects it is tried all the same.
        is_torn = kind is FaultKind.TORN and not path.startswith(("objects/", "chunks/"))
        return Fault(FaultKind.AFTER if is_torn else kind, error=KilledError)

    @property
    def operations(self) -> int:
        return next(self._counted)


def crash(lake: Filled, tmp_path: Path, action: Action, number: int, kind: FaultKind) -> bool:
    """Kill an action at an operation, look whether all is there, and finish it; whether it was killed at all."""
    for name in ("lake", "cold"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    shutil.copytree(tmp_path / "prepared", tmp_path / "lake")
    if (tmp_path / "prepared-cold").exists():
        shutil.copytree(tmp_path / "prepared-cold", tmp_path / "cold")
    storage = LakeStorage(tmp_path / "lake")
    with pytest.MonkeyPatch.context() as patch:
        dying = Dying(tmp_path / "lake", number, kind, patch)
        try:
            action(dying.storage)
            was_killed = False
        except KilledError:
            was_killed = True
    left = replace(lake, storage=storage)
    gone = [file for file, tier in left.tiers().items() if tier == "deleted"]
    assert all(run == lake.runs[1] for run, _ in gone)
    left.check(*gone)
    action(storage)
    return was_killed


def tier(storage: LakeStorage) -> object:
    return storage.tier()


def is_tiered(lake: Filled, tmp_path: Path) -> None:
    left = replace(lake, storage=LakeStorage(tmp_path / "lake"))
    tiers = left.tiers()
    assert {file for file, one in tiers.items() if one == "cold"} == {
        (lake.runs[0], f"checkpoints/{number}.ckpt") for number in (0, 2)
    }
    deleted = {(lake.runs[1], f"checkpoints/{number}.ckpt") for number in range(3)}
    assert {file for file, one in tiers.items() if one == "deleted"} == deleted
    left.check(*deleted)
    assert len(below(tmp_path / "cold")) == 2
    assert len(below(tmp_path / "lake")) == 1 + 3 + 3 + 1, "best, those of the third run, logs, and the picture"


def restore(storage: LakeStorage) -> object:
    from lightning_lde import Lake

    return storage.restore([row["run_id"] for row in Lake(storage.url).sql("select run_id from runs").to_pylist()])


def is_restored(lake: Filled, tmp_path: Path) -> None:
    left = replace(lake, storage=LakeStorage(tmp_path / "lake"))
    assert set(left.tiers().values()) == {"hot", "deleted"}
    shutil.rmtree(tmp_path / "cold")
    left.check(*(file for file, one in left.tiers().items() if one == "deleted"))


def prepare_cold(lake: Filled, tmp_path: Path) -> None:
    lake.storage.tier()
    (tmp_path / "cold").rename(tmp_path / "prepared-cold")


def matrix(
    lake: Filled, tmp_path: Path, action: Action, check: Callable[..., None], numbers: Sequence[int], late: FaultKind
) -> None:
    for number in numbers:
        for kind in (FaultKind.BEFORE, late):
            assert crash(lake, tmp_path, action, number, kind), number
            check(lake, tmp_path)


def n_operations(lake: Filled, tmp_path: Path, action: Action) -> int:
    shutil.rmtree(tmp_path / "counted", ignore_errors=True)
    shutil.copytree(tmp_path / "prepared", tmp_path / "counted")
    if (tmp_path / "prepared-cold").exists():
        shutil.copytree(tmp_path / "prepared-cold", tmp_path / "cold", dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        dying = Dying(tmp_path / "counted", 10**6, FaultKind.BEFORE, patch)
        action(dying.storage)
        return dying.operations


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_moving_is_killed_at_each_operation(prepared: Filled, tmp_path: Path) -> None:
    count = n_operations(prepared, tmp_path, tier)
    assert count > 40
    # The last ones note what was done, in the log of maintenance.
    matrix(prepared, tmp_path, tier, is_tiered, range(count - 3), FaultKind.TORN)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_restoring_is_killed_at_each_operation(prepared: Filled, tmp_path: Path) -> None:
    prepare_cold(prepared, tmp_path)
    count = n_operations(prepared, tmp_path, restore)
    assert count > 15
    matrix(prepared, tmp_path, restore, is_restored, range(count - 3), FaultKind.AFTER)


def test_moving_is_killed_now_and_then(prepared: Filled, tmp_path: Path) -> None:
    count = n_operations(prepared, tmp_path, tier)
    assert crash(prepared, tmp_path, tier, count // 2, FaultKind.TORN)
    is_tiered(prepared, tmp_path)
