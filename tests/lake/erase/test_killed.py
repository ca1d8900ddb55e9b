"""An erasure that is killed at any change of the lake is finished by the next one, or by a compaction."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from lightning_lde.lake import LakeStorage, Request
from lightning_lde.schema import TABLES, Link, records_to_arrow
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from .planted import LONG_AGO, Planted, contents, found_in, rows_of

NONE = timedelta(0)
CHANGES = {"put", "create", "put_file", "delete"}


class KilledError(BaseException):
    """What a process that is killed does not survive."""


class Before:
    """A lake in a folder before the erasure, with what has to be true after it."""

    def __init__(self, folder: Path) -> None:
        storage = LakeStorage(folder / "lake")
        storage.initialise()
        self.gone = Planted(storage, "ERASEME").write(folder)
        self.stays = Planted(storage, "keeper").write(folder)
        storage.compact(silent_for=NONE, grace=NONE)
        self.later = Planted(storage, "later", names_run=self.gone.run_id).write(folder)
        # Rows of the run, and of others about it, in the hot tier too.
        self.gone.append("metrics", records_to_arrow("metrics", self.gone.rows()["metrics"]), 40)
        edge = Link(
            source_kind="run", source_id=self.later.run_id, relation="derived_from", target_kind="run",
            target_id=self.gone.run_id, run_id=self.later.run_id, recorded_at=LONG_AGO,
        )  # fmt: skip
        self.later.append("links", records_to_arrow("links", [edge]), 41)
        self.folder = folder / "lake"
        self.kept = rows_of(storage, self.stays.run_id)
        self.counts = {
            table: sum(self.gone.run_id in row for row in rows if f"'run_id': '{self.gone.run_id}'" in row)
            for table, rows in rows_of(storage).items()
        }

    @property
    def request(self) -> Request:
        return Request("run", (self.gone.run_id,))

    def copy(self, target: Path) -> LakeStorage:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.folder, target)
        return LakeStorage(target)

    def check(self, storage: LakeStorage) -> None:
        assert found_in(storage.store, self.gone.traces()) == []
        assert rows_of(storage, self.stays.run_id) == self.kept
        assert rows_of(storage, self.gone.run_id) == {table: [] for table in TABLES}
        assert len(rows_of(storage, self.later.run_id)["metrics"]) == 3
        for run in (self.stays, self.later):
            file = run.objects["file"]
            assert storage.get_object(file.object_id, file.recipe).endswith(run.tensor + b"tail")
        for folder in ("erasing/", "condemned/"):
            assert list(storage.store.list(folder)) == []
        [receipt] = storage.receipts()
        assert receipt.is_about(self.gone.run_id)
        for table in ("runs", "metrics", "episodes", "artifacts", "resumes"):
            assert receipt.rows[table]["count"] == self.counts[table], table
        assert sum(one.action == "erase" for one in storage.actions()) in {1, 2}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    return Before(tmp_path_factory.mktemp("before"))


def killed(storage: LakeStorage, request: Request, number: int, kind: FaultKind) -> bool:
    """Erase in a process that is killed at its change of that number; whether it came so far."""
    counted = itertools.count()

    def fault(operation: str, _path: str) -> Fault | None:
        if operation not in CHANGES or (at := next(counted)) < number:
            return None
        return Fault(kind if at == number else FaultKind.BEFORE, error=KilledError)  # type: ignore[arg-type]

    dying = LakeStorage(storage.url)
    dying.store = FaultyStore(dying.store, fault)
    try:
        dying.erase(request, silent_for=NONE)
    except KilledError:
        return True
    return False


def without_locks(storage: LakeStorage) -> LakeStorage:
    """The lake after the locks of who died have run out."""
    for path in ("cold/lock.json", "cold/tiers-lock.json"):
        storage.store.delete(path)
    return LakeStorage(storage.url)


def every_death(before: Before, target: Path, kind: FaultKind) -> Iterator[LakeStorage]:
    for number in itertools.count():
        storage = before.copy(target)
        if not killed(storage, before.request, number, kind):
            assert number > 30
            return
        yield without_locks(storage)


@pytest.mark.parametrize("number", [8, *(pytest.param(number, marks=pytest.mark.slow) for number in (3, 25, 40))])
def test_a_death_is_made_up_for(before: Before, tmp_path: Path, number: int) -> None:
    storage = before.copy(tmp_path / "copy")
    assert killed(storage, before.request, number, FaultKind.AFTER)
    rest = without_locks(storage)
    rest.erase(before.request, silent_for=NONE)
    before.check(rest)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER, FaultKind.TORN], ids=lambda kind: kind.value)
def test_whenever_it_is_killed_the_next_one_finishes(before: Before, tmp_path: Path, kind: FaultKind) -> None:
    for storage in every_death(before, tmp_path / "copy", kind):
        storage.erase(before.request, silent_for=NONE)
        before.check(storage)
        after = contents(storage.store)
        assert storage.erase(before.request, silent_for=NONE) is None
        assert contents(storage.store) == after


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_whenever_it_is_killed_a_compaction_finishes(before: Before, tmp_path: Path) -> None:
    for storage in every_death(before, tmp_path / "copy", FaultKind.AFTER):
        begun = bool(list(storage.store.list("erasing/")) or list(storage.store.list("receipts/")))
        storage.compact(silent_for=NONE, grace=NONE)
        if begun:
            before.check(storage)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_who_reads_meanwhile_sees_others_once(before: Before, tmp_path: Path) -> None:
    for storage in every_death(before, tmp_path / "copy", FaultKind.AFTER):
        assert rows_of(storage, before.stays.run_id) == before.kept
        assert len(rows_of(storage, before.later.run_id)["metrics"]) == 3
