"""Runs, their files and all that maintains a lake, in any order and killed anywhere: nothing is lost, or left."""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, consumes, initialize, invariant, multiple, rule

from lightning_lde.errors import EraseError
from lightning_lde.lake import LakeStorage, Request, StoredObject
from lightning_lde.lake.cold import _lock
from lightning_lde.lake.objects import _put
from lightning_lde.lake.stores import open_store
from lightning_lde.lake.tiers._move import LOCK
from lightning_lde.schema import Artifact, records_to_arrow, utc_now
from lightning_lde.testing import FaultKind
from tests.lake.erase.planted import found_in
from tests.lake.objects.files import numbers, saved

from .test_compaction_model import KINDS, LakeMachine
from .writers import KilledError, Writer, killed_at

NONE = timedelta(0)
OPERATIONS = st.integers(0, 120)
TIERS = ("status=finished kind=checkpoint to=cold", "status=failed kind=checkpoint to=delete")


ACTIONS: dict[str, Callable[[LakeStorage, Writer], object]] = {
    "condemn": lambda storage, _: storage.collect(older_than=NONE),
    "collect": lambda storage, _: storage.collect(older_than=NONE, condemned_for=NONE),
    "tier": lambda storage, _: storage.tier(),
    "restore": lambda storage, writer: storage.restore([writer.run_id]),
}
MAINTENANCE = st.sampled_from(list(ACTIONS))


@dataclass(frozen=True)
class File:
    """A file of a run.

    Attributes:
        writer: Its run.
        path: Its path there.
        kind: What it is.
        content: Its bytes.
        traces: Bytes that no other file has.
    """

    writer: Writer
    path: str
    kind: str
    content: bytes
    traces: tuple[bytes, ...]


class LifeMachine(LakeMachine):
    """The lake of the model of compaction, with files of runs, gc, tiers and erasure."""

    writers = LakeMachine.writers
    unsent = Bundle("unsent")

    @initialize(target=LakeMachine.writers)
    def make(self) -> MultipleResults[Writer]:
        super().make()
        self.patches = pytest.MonkeyPatch()
        self.patches.setattr(_put, "WHOLE_BELOW_BYTES", 8 << 10)
        self.patches.setattr(_lock, "HELD_FOR", NONE)
        self.cold = self.folder / "cold"
        tiers = self.lake.storage.tiers().changed("tiers.cold", str(self.cold))
        self.lake.storage.set_tiers(tiers.with_rules(*TIERS))
        self.files: dict[tuple[str, str], File] = {}
        self.waiting: list[File] = []
        self.rows: dict[str, int] = {}
        return multiple(*map(self._begun, ("running", "failed", "finished")))

    def _begun(self, status: str) -> Writer:
        writer = self.begin("p")
        for kind in ("log", "checkpoint"):
            self.send(self.store(writer, kind, 0))
        writer.send(1, status=status, heard_at=utc_now() + timedelta(hours=1))
        return writer

    def teardown(self) -> None:
        if hasattr(self, "patches"):
            self.patches.undo()
        super().teardown()

    @rule(writer=LakeMachine.writers)
    def fail(self, writer: Writer) -> None:
        writer.send(1, status="failed")

    @rule(
        target=unsent, writer=LakeMachine.writers, kind=st.sampled_from(["checkpoint", "log"]), shared=st.integers(0, 1)
    )
    def store(self, writer: Writer, kind: str, shared: int) -> tuple[File, StoredObject]:
        number = next(self.numbers)
        file = File(writer, f"{number}.ckpt", kind, *_content(number, shared))
        return self._stored(file)

    @rule(target=unsent, one=st.runner().flatmap(lambda machine: st.sampled_from(sorted(machine.files) or [None])))
    def store_again(self, one: tuple[str, str] | None) -> tuple[File, StoredObject] | None:
        return None if one is None else self._stored(self.files[one])

    def _stored(self, file: File) -> tuple[File, StoredObject]:
        self.waiting.append(file)
        return file, self._put(file)

    def _put(self, file: File) -> StoredObject:
        with tempfile.NamedTemporaryFile(dir=self.folder) as source:
            source.write(file.content)
            source.flush()
            return self.lake.storage.put_artifact(Path(source.name))

    @rule(one=consumes(unsent))
    def send(self, one: tuple[File, StoredObject] | None) -> None:
        if one is None:
            return
        file, stored = one
        self._send_row(file, stored)
        while self.lake.storage.is_condemned_since(stored):
            stored = self._put(file)
            self._send_row(file, stored)
        self.waiting.remove(file)
        if not self.lake.storage.was_erased(file.writer.run_id):
            self.files[file.writer.run_id, file.path] = file

    def _send_row(self, file: File, stored: StoredObject) -> None:
        assert stored.object_id == hashlib.sha256(file.content).hexdigest()
        row = Artifact(
            run_id=file.writer.run_id, segment=0, path=file.path, kind=file.kind, size_bytes=stored.size_bytes,
            object_id=stored.object_id, recipe=stored.recipe, recorded_at=utc_now(),
        )  # fmt: skip
        number = self.rows[file.writer.run_id] = self.rows.get(file.writer.run_id, -1) + 1
        self.lake.storage.append("artifacts", records_to_arrow("artifacts", [row]), first=number, **file.writer.place)

    @rule(name=MAINTENANCE, writer=LakeMachine.writers)
    def maintain(self, name: str, writer: Writer) -> None:
        ACTIONS[name](self.lake.storage, writer)

    @rule(name=MAINTENANCE, writer=LakeMachine.writers, number=OPERATIONS, kind=KINDS)
    def maintain_and_die(self, name: str, writer: Writer, number: int, kind: FaultKind) -> None:
        self._dying(number, kind, lambda storage: ACTIONS[name](storage, writer))

    @rule(writer=LakeMachine.writers, force=st.booleans())
    def erase(self, writer: Writer, force: bool) -> None:
        with contextlib.suppress(EraseError):
            _erase(self.lake.storage, writer, force)
            assert self.lake.storage.was_erased(writer.run_id)
            self._forget(writer)

    @rule(writer=LakeMachine.writers, number=OPERATIONS, kind=KINDS)
    def erase_and_die(self, writer: Writer, number: int, kind: FaultKind) -> None:
        self._dying(number, kind, lambda storage: _erase(storage, writer, True))
        self.lake.storage.compact(silent_for=NONE, grace=NONE, kept_for=NONE)
        if self.lake.storage.was_erased(writer.run_id):
            self._forget(writer)

    def _dying(self, number: int, kind: FaultKind, action: Callable[[LakeStorage], object]) -> None:
        try:
            action(killed_at(self.lake.storage, number, kind))
        except (KilledError, EraseError):
            for lock in (_lock.PATH, LOCK):
                self.lake.storage.store.delete(lock)

    def _forget(self, writer: Writer) -> None:
        """A run was erased: no byte of it is anywhere."""
        if writer not in self.all:
            return
        self.all.remove(writer)
        mine = [key for key in self.files if key[0] == writer.run_id]
        traces = [writer.run_id.encode()]
        for file in [self.files.pop(key) for key in mine]:
            # What waits is no row's yet.
            if file not in self.waiting:
                traces += file.traces
        assert found_in(self.lake.storage.store, traces) == []
        assert found_in(open_store(self.cold), traces) == []

    @invariant()
    def each_file_is_there(self) -> None:
        rows = self.lake.sql("select run_id, path, object_id, recipe, tier from artifacts").to_pylist()
        assert sorted((row["run_id"], row["path"]) for row in rows) == sorted(self.files)
        for row in rows:
            file = self.files[row["run_id"], row["path"]]
            if row["tier"] == "deleted":
                assert (file.kind, "failed" in file.writer.states) == ("checkpoint", True)
            else:
                assert self.lake.storage.get_object(row["object_id"], row["recipe"]) == file.content


def _erase(storage: LakeStorage, writer: Writer, force: bool) -> object:
    return storage.erase(Request("run", (writer.run_id,)), silent_for=NONE, force=force)


def _content(number: int, shared: int) -> tuple[bytes, tuple[bytes, ...]]:
    """A checkpoint of which a tensor is another one's too, or a small text, and what only it has."""
    if number % 4 == 0:
        text = f"words of {number} {random.Random(number).random()}".encode()
        return text, (text,)
    own = numbers(5_000, number)
    return saved({"shared": numbers(5_000, -1 - shared), "own": own}), (own.numpy().tobytes()[1000:1032],)


QUICK = settings(max_examples=3, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))


class TestQuick(LifeMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = QUICK


@pytest.mark.slow
@pytest.mark.timeout(3000)
class TestLong(LifeMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(QUICK, max_examples=15, stateful_step_count=30)
