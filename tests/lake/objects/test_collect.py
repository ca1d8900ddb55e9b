"""Nothing that a row refers to is ever deleted, whoever dies or writes meanwhile; what nobody needs goes in the end."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner

from lightning_lde.cli import app
from lightning_lde.errors import StoreError
from lightning_lde.lake import LakeStorage, StoredObject
from lightning_lde.lake.objects import Recipe, condemn, delete_unreferenced, look
from lightning_lde.schema import Artifact, new_run_id
from lightning_lde.testing import Fault, FaultKind, FaultyStore

from ..writers import KilledError, killed_at
from .files import numbers, random_bytes, saved

NOW = timedelta(0)
AT_ONCE = {"older_than": NOW, "condemned_for": NOW}
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def storage(tmp_path: Path) -> LakeStorage:
    storage = LakeStorage(tmp_path / "lake")
    storage.initialise()
    return storage


def memory_lake() -> LakeStorage:
    # It looks through all files that it has, of whatever test, for each question.
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    storage = LakeStorage(f"memory://{uuid.uuid4()}")
    storage.initialise()
    return storage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "new.ckpt"
    path.write_bytes(saved({"shared": numbers(70_000, 1), "own": numbers(6_000, 2)}))
    return path


def row_of(stored: StoredObject, run_id: str) -> Artifact:
    return Artifact(
        run_id=run_id, segment=0, path="last.ckpt", kind="checkpoint", size_bytes=stored.size_bytes,
        object_id=stored.object_id, recipe=stored.recipe, recorded_at=LONG_AGO,
    )  # fmt: skip


class Writer:
    """A run that stores a file as docs/format.md asks, in steps; each goes on where the last one stopped."""

    def __init__(self, storage: LakeStorage, source: Path) -> None:
        self.storage, self.source, self.run_id = storage, source, new_run_id()
        self.stored = StoredObject("", 0, "", (), look(storage.store))
        self.named: set[str] = set()

    def put(self) -> None:
        self.stored = self.storage.put_artifact(self.source)

    def send(self) -> None:
        self.storage.add_records("artifacts", [row_of(self.stored, self.run_id)], project="p")
        self.named.update(self.stored.paths)

    def look(self) -> None:
        while self.storage.is_condemned_since(self.stored):
            self.put()
            self.send()

    def check(self) -> None:
        assert self.storage.get_object(self.stored.object_id, self.stored.recipe) == self.source.read_bytes()


def orphan(storage: LakeStorage, folder: Path) -> StoredObject:
    """A file that no row refers to; half of it is in the file that `source` is."""
    (folder / "orphan").write_bytes(saved({"shared": numbers(70_000, 1), "other": numbers(6_000, 3)}))
    return storage.put_artifact(folder / "orphan")


def stored_paths(storage: LakeStorage) -> set[str]:
    return {file.path for prefix in ("objects/", "chunks/") for file in storage.store.list(prefix)}


def lists(storage: LakeStorage) -> list[str]:
    return [file.path for file in storage.store.list("condemned/")]


def test_only_what_nobody_refers_to_goes(storage: LakeStorage, source: Path, tmp_path: Path) -> None:
    writer = Writer(storage, source)
    writer.put()
    writer.send()
    (tmp_path / "small").write_bytes(b"small")
    kept, lost = storage.put_artifact(tmp_path / "small"), orphan(storage, tmp_path)
    storage.add_records("artifacts", [row_of(kept, writer.run_id)], project="p")
    storage.put_object_bytes(b"an orphan")
    storage.store.put("chunks/ab/README", b"not ours")
    needed = {*writer.stored.paths, *kept.paths}
    dry = storage.collect(**AT_ONCE, dry_run=True)
    assert (dry.kept, dry.waiting, dry.deleted) == (len(needed), len({*lost.paths} - needed) + 1, 0)
    assert storage.collect(**AT_ONCE).deleted == 0
    assert stored_paths(storage) >= {*needed, *lost.paths}
    done = storage.collect(**AT_ONCE)
    assert (done.deleted, done.waiting) == (dry.waiting, 0)
    assert done.deleted_bytes == dry.waiting_bytes > 0
    assert stored_paths(storage) == needed | {"chunks/ab/README"}
    assert lists(storage) == []
    assert storage.collect(**AT_ONCE).deleted == 0
    assert [one.action for one in storage.actions()] == ["gc", "gc"]
    writer.check()


def test_young_files_and_young_lists_are_left_alone(storage: LakeStorage, tmp_path: Path) -> None:
    lost = orphan(storage, tmp_path)
    assert storage.collect().young == len(lost.paths)
    assert lists(storage) == []
    week_ago = time.time() - 8 * 86400
    for path in lost.paths:
        os.utime(str(storage.store.local_path(path)), (week_ago, week_ago))
    assert storage.collect().waiting == len(lost.paths)
    for _ in range(2):
        assert (done := storage.collect()).deleted == 0
        assert done.waiting == len(lost.paths)
    assert len(lists(storage)) == 1
    assert storage.collect(condemned_for=NOW).deleted == len(lost.paths)


def test_lists_that_were_left_go_after_a_day(storage: LakeStorage, tmp_path: Path) -> None:
    lost = orphan(storage, tmp_path)
    mine = condemn(storage.store, lost.paths)
    storage.store.put("condemned/torn.json", b'{"created')
    for _ in range(3):
        assert storage.collect(older_than=NOW).deleted == 0
    assert lists(storage) == [mine.path, "condemned/torn.json"]
    old = json.loads(storage.store.get(mine.path)) | {"created_at": "2026-01-01T00:00:00+00:00"}
    storage.store.put(mine.path, json.dumps(old).encode())
    assert storage.collect(**AT_ONCE).deleted == len(lost.paths)
    assert lists(storage) == []


def test_a_file_that_is_condemned_is_stored_under_another_name(storage: LakeStorage, source: Path) -> None:
    first = storage.put_artifact(source)
    whole = storage.put_object_bytes(b"whole")
    condemn(storage.store, [*first.paths, f"objects/{whole[:2]}/{whole}"])
    second = storage.put_artifact(source)
    assert {path.split("/")[2] for path in second.paths} == {
        *(Recipe.from_bytes(storage.objects.places.chunk(second.recipe), "").names), second.recipe,
    }  # fmt: skip
    assert not {*first.paths} & {*second.paths}
    condemn(storage.store, second.paths)
    third = storage.put_artifact(source)
    assert all(path.endswith("-2") for path in third.paths if path.split("/")[2] != third.recipe)
    assert storage.put_object_bytes(b"whole") == whole
    for path in (*first.paths, *second.paths, f"objects/{whole[:2]}/{whole}"):
        storage.store.delete(path)
    assert storage.get_object(third.object_id, third.recipe) == source.read_bytes()
    assert storage.get_object(whole) == b"whole"


def test_who_looks_again_sees_lists_and_what_is_gone(storage: LakeStorage, source: Path) -> None:
    stored = storage.put_artifact(source)
    assert not storage.is_condemned_since(stored)
    condemn(storage.store, ["chunks/00/something else"])
    assert not storage.is_condemned_since(stored)
    mine = condemn(storage.store, [stored.paths[2]])
    assert storage.is_condemned_since(stored)
    # The collector has finished: its list is gone, and so is the file.
    storage.store.delete(mine.path)
    assert not storage.is_condemned_since(stored)
    storage.store.delete(stored.paths[2])
    assert storage.is_condemned_since(stored)


@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER, FaultKind.TORN], ids=lambda kind: kind.value)
def test_a_collector_may_die_anywhere(kind: FaultKind, source: Path, tmp_path: Path) -> None:
    for number in itertools.count():
        storage = memory_lake()
        writer = Writer(storage, source)
        writer.put()
        writer.send()
        orphan(storage, tmp_path)
        storage.collect(**AT_ONCE)
        survived = True
        try:
            killed_at(storage, number, kind).collect(**AT_ONCE)
        except KilledError:
            survived = False
        writer.check()
        late = Writer(storage, source)
        late.put(), late.send(), late.look(), late.check()
        for _ in range(3):
            storage.collect(**AT_ONCE)
        assert stored_paths(storage) <= writer.named | late.named
        late.check()
        if survived:
            break
    assert number > 8


def interrupted(storage: LakeStorage, steps: dict[int, Callable[[], None]]) -> LakeStorage:
    """The same lake, for who is interrupted before operations of these numbers."""
    counted = itertools.count()

    def fault(_operation: str, _path: str) -> Fault | None:
        steps.pop(next(counted), lambda: None)()
        return None

    same = LakeStorage(storage.url, storage.given_options)
    same.store = FaultyStore(storage.store, fault)
    return same


def n_operations(act: Callable[[LakeStorage], object]) -> int:
    storage = memory_lake()
    storage.store = watched = FaultyStore(storage.store)
    act(storage)
    return len(watched.calls)


def lake_with_an_orphan(folder: Path) -> LakeStorage:
    """A lake in which an orphan is condemned, and another one is not."""
    storage = memory_lake()
    orphan(storage, folder)
    storage.collect(**AT_ONCE)
    (folder / "orphan").write_bytes(saved({"shared": numbers(70_000, 7), "other": numbers(6_000, 3)}))
    storage.put_artifact(folder / "orphan")
    return storage


def run_pairs(
    folder: Path, source: Path, collect: Callable[[LakeStorage], object], pairs: Callable[[int], list[tuple[int, ...]]]
) -> None:
    """A writer takes its three steps before three operations of a collector."""
    storage = lake_with_an_orphan(folder)
    storage.store = watched = FaultyStore(storage.store)
    collect(storage)
    for places in pairs(len(watched.calls) + 1):
        storage = lake_with_an_orphan(folder)
        writer = Writer(storage, source)
        steps: dict[int, list[Callable[[], None]]] = {}
        for place, step in zip(places, (writer.put, writer.send, writer.look), strict=True):
            steps.setdefault(place, []).append(step)
        calls = {place: (lambda these=these: [step() for step in these]) for place, these in steps.items()}
        collect(interrupted(storage, calls))
        for place in sorted(calls):
            calls[place]()
        writer.check()
        for _ in range(3):
            storage.collect(**AT_ONCE)
            writer.check()
        assert stored_paths(storage) <= writer.named


def gc(storage: LakeStorage) -> object:
    return storage.collect(**AT_ONCE)


def at_once(storage: LakeStorage) -> object:
    """As who erases a run does: what is on its list goes now."""
    paths = [file.path for file in storage.store.list("chunks/")]
    return delete_unreferenced(storage, paths)


@pytest.mark.parametrize("collect", [gc, at_once])
def test_a_writer_at_work_loses_nothing(source: Path, tmp_path: Path, collect: Callable[[LakeStorage], object]) -> None:
    def diagonal(n: int) -> list[tuple[int, ...]]:
        return [(max(0, place - 3), place - place % 2, place) for place in range(0, n, 2)]

    run_pairs(tmp_path, source, collect, diagonal)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("collect", [gc, at_once])
def test_a_writer_at_work_loses_nothing_wherever_its_steps_fall(
    source: Path, tmp_path: Path, collect: Callable[[LakeStorage], object]
) -> None:
    run_pairs(tmp_path, source, collect, lambda n: list(itertools.combinations_with_replacement(range(n), 3)))


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_collectors_between_any_operations_of_a_writer_delete_nothing_of_its(
    source: Path, tmp_path: Path, times: int
) -> None:
    def write(storage: LakeStorage) -> Writer:
        writer = Writer(storage, source)
        writer.put(), writer.send(), writer.look()
        return writer

    for number in range(n_operations(write)):
        storage = lake_with_an_orphan(tmp_path)

        def collect(storage: LakeStorage = storage) -> None:
            for _ in range(times):
                storage.collect(**AT_ONCE)
                at_once(storage)

        writer = write(interrupted(storage, {number: collect}))
        writer.storage = storage
        writer.check()
        collect()
        writer.check()


def test_two_collectors_at_once(source: Path, tmp_path: Path) -> None:
    for number in itertools.count():
        storage = lake_with_an_orphan(tmp_path)
        writer = Writer(storage, source)
        steps = {number: lambda writer=writer: (gc(writer.storage), writer.put(), writer.send(), writer.look())}
        gc(interrupted(storage, steps))
        writer.check() if not steps else None
        for _ in range(2):
            gc(storage)
        assert stored_paths(storage) <= writer.named
        if steps:
            break
    assert number > 8


def test_nothing_is_deleted_where_nobody_knows_what_is_needed(storage: LakeStorage, tmp_path: Path) -> None:
    lost = orphan(storage, tmp_path)
    (tmp_path / "other").write_bytes(random_bytes(300_000))
    kept = storage.put_artifact(tmp_path / "other")
    storage.add_records("artifacts", [row_of(kept, new_run_id())], project="p")
    storage.collect(**AT_ONCE)
    storage.store.put(kept.paths[0], b"\0damaged")
    with pytest.raises(StoreError, match=kept.recipe):
        storage.collect(**AT_ONCE)
    assert stored_paths(storage) >= {*lost.paths, *kept.paths}


def test_the_command_says_what_it_does(storage: LakeStorage, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        result = CliRunner().invoke(app, ["gc", storage.url, *words], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    n = len(orphan(storage, tmp_path).paths)
    assert f"{n} files (" in said()
    assert "too young to tell" in said()
    assert "to be deleted later\n0 files (0 B) would be deleted" in said("--older-than", "0", "--dry-run")
    assert "condemned: a later `lde gc` deletes them" in said("--older-than", "0")
    found = json.loads(said("--older-than", "0", "--condemned-for", "0", "--dry-run", "--format", "json"))
    assert (found["dry_run"], found["deleted"]) == (True, n)
    assert f"{n} files (" in said("--older-than", "0", "--condemned-for", "0")
    assert stored_paths(storage) == set()
    shutil.rmtree(str(storage.url))
