"""Whatever is written, merged, sent once more, compacted, cut off and cleaned up: each read sees each row once."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from lightning_lde import Lake
from lightning_lde.lake.cold import _lock, newest_manifest
from lightning_lde.schema import utc_now
from lightning_lde.testing import FaultKind

from .writers import KilledError, Writer, killed_at

GRACE = st.sampled_from([timedelta(0), timedelta(hours=1)])
KINDS = st.sampled_from([FaultKind.BEFORE, FaultKind.AFTER, FaultKind.TORN])


class LakeMachine(RuleBasedStateMachine):
    """A lake, and beside it what its writers know that they wrote."""

    writers = Bundle("writers")

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.lake = Lake(self.folder / "lake").create()
        self.all: list[Writer] = []
        self.numbers = itertools.count()

    @rule(target=writers, project=st.sampled_from(["p", "a/b"]))
    def begin(self, project: str) -> Writer:
        writer = Writer(self.lake.storage, project=project)
        self.all.append(writer)
        writer.send(2, heard_at=utc_now() + timedelta(hours=1))
        return writer

    @rule(writer=writers, n=st.integers(1, 4))
    def go_on(self, writer: Writer, n: int) -> None:
        writer.send(n, heard_at=utc_now() + timedelta(hours=1))

    @rule(writer=writers, merges=st.booleans())
    def end(self, writer: Writer, merges: bool) -> None:
        writer.send(1, status="finished")
        if merges:
            writer.merge()

    @rule(writer=writers)
    def die(self, writer: Writer) -> None:
        writer.send(1)

    @rule(writer=writers, data=st.data())
    def send_again(self, writer: Writer, data: st.DataObject) -> None:
        writer.send_again(data.draw(st.integers(0, len(writer.parcels) - 1)))

    @rule(grace=GRACE, kept_for=GRACE, project=st.sampled_from([None, "p"]))
    def compact(self, grace: timedelta, kept_for: timedelta, project: str | None) -> None:
        self.lake.storage.compact(project=project, silent_for=timedelta(0), grace=grace, kept_for=kept_for)

    @rule(number=st.integers(0, 40), kind=KINDS, grace=GRACE, kept_for=GRACE)
    def compact_and_die(self, number: int, kind: FaultKind, grace: timedelta, kept_for: timedelta) -> None:
        dying = killed_at(self.lake.storage, number, kind)
        try:
            dying.compact(silent_for=timedelta(0), grace=grace, kept_for=kept_for)
        except KilledError:
            # The lock would run out; nobody waits for it here.
            self.lake.storage.store.delete(_lock.PATH)

    @invariant()
    def each_row_is_there_once(self) -> None:
        found = self.lake.sql("select value from stored.metrics").column("value").to_pylist()
        assert sorted(found) == sorted(value for writer in self.all for value in writer.values)
        runs = self.lake.sql("select run_id, revision from runs").to_pylist()
        assert {row["run_id"]: row["revision"] for row in runs} == {
            writer.run_id: len(writer.parcels) - 1 for writer in self.all
        }

    @invariant()
    def what_a_manifest_names_is_there(self) -> None:
        store = self.lake.storage.store
        manifest = newest_manifest(store)
        for file in itertools.chain(*manifest.tables.values()):
            assert store.size(file.path) == file.size_bytes

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


QUICK = settings(max_examples=5, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))


class TestQuick(LakeMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = QUICK


@pytest.mark.slow
@pytest.mark.timeout(1200)
class TestLong(LakeMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(QUICK, max_examples=20, stateful_step_count=30)
