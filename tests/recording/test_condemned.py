"""A collector deletes what no row named, at the very moment in which a writer sends the row that names it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.lake import LakeStorage
from lightning_lde.lake.stores import open_store
from lightning_lde.recording import sync_spools
from lightning_lde.testing import FaultyStore

LARGE = 600_000
"""Of more than one chunk."""

PROGRAM = """
import os, signal, sys
from pathlib import Path
from lightning_lde import Recorder
run = Recorder(sys.argv[1], project="p", system_metrics_every_s=None)
run.__enter__()
run.save_file(Path(sys.argv[2]), path="best.ckpt", kind="checkpoint", score=0.5)
run.make_durable()
os.kill(os.getpid(), signal.SIGKILL)
"""


class Collector:
    """Condemns and deletes all objects and chunks, when the first files of some rows are about to be written.

    Args:
        lake_path: The lake.
        table: Which rows.
        times: How many files of them.
        keeps_list: Whether it dies before it removes its list.
    """

    def __init__(self, lake_path: Path, table: str, *, times: int = 1, keeps_list: bool = False) -> None:
        self._store = open_store(lake_path)
        self._table = table
        self._times = times
        self._keeps_list = keeps_list
        self._lock = threading.Lock()
        self.deleted: list[str] = []
        self.listed = Counter[str]()

    def __call__(self, operation: str, path: str) -> None:
        self.listed[f"{operation} {path}"] += 1
        if operation == "put" and path.startswith(f"hot/{self._table}/"):
            with self._lock:
                if self._times:
                    self._times -= 1
                    self._collect()

    def _collect(self) -> None:
        paths = [file.path for folder in ("objects/", "chunks/") for file in self._store.list(folder)]
        made = f"condemned/{uuid.uuid4()}.json"
        self._store.create(
            made, json.dumps({"created_at": "2026-01-01T00:00:00+00:00", "paths": sorted(paths)}).encode()
        )
        for path in paths:
            self._store.delete(path)
        self.deleted += paths
        if not self._keeps_list:
            self._store.delete(made)


def storage_with(collector: Collector, lake_path: Path) -> LakeStorage:
    storage = LakeStorage(lake_path)
    storage.initialise()
    storage.store = FaultyStore(storage.store, collector)
    return storage


def kept_in(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.suffix in {".kept", ".file", ".done"}]


@pytest.mark.parametrize("keeps_list", [True, False], ids=["list stays", "list is gone"])
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_file_deleted_before_its_row_was_seen_is_stored_again(
    tmp_path: Path, lake_path: Path, own_spool: Path, times: int, keeps_list: bool
) -> None:
    collector = Collector(lake_path, "artifacts", times=times, keeps_list=keeps_list)
    contents = {"large.ckpt": os.urandom(LARGE), "small.txt": os.urandom(1000)}
    with Recorder(storage_with(collector, lake_path), project="p", system_metrics_every_s=None) as run:
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
            run.save_file(tmp_path / name, path=name, kind="other")
            (tmp_path / name).unlink()
    assert len(collector.deleted) >= 2 * times
    lake = Lake(lake_path)
    for name, content in contents.items():
        assert lake.read_artifact(run.run_id, name) == content
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]
    assert kept_in(tmp_path, own_spool) == []


def test_whoever_sends_a_note_looks_again_too(tmp_path: Path, own_spool: Path) -> None:
    disk, source = tmp_path / "disk", tmp_path / "best.ckpt"
    disk.write_text("no folder")
    content = os.urandom(LARGE)
    source.write_bytes(content)
    command = [sys.executable, "-c", PROGRAM, str(disk / "lake"), str(source)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    disk.unlink()
    collector = Collector(disk / "lake", "artifacts", times=2, keeps_list=True)
    storage = storage_with(collector, disk / "lake")
    assert {outcome.error for outcome in sync_spools(own_spool, lambda *_: storage)} == {None}
    assert len(collector.deleted) >= 4
    lake = Lake(disk / "lake")
    [row] = lake.sql("select run_id, score from artifacts order by recorded_at desc limit 1").to_pylist()
    assert row["score"] == 0.5
    assert lake.read_artifact(row["run_id"], "best.ckpt") == content
    assert list(own_spool.iterdir()) == []


def test_an_object_that_came_with_its_row_is_looked_for_again(lake_path: Path) -> None:
    collector = Collector(lake_path, "events")
    storage = storage_with(collector, lake_path)
    run = Recorder(storage, project="p", flush_every_s=60, system_metrics_every_s=None)
    run.start_segment("run")
    run.make_durable()
    run.add_event("note", run.store_bytes(b"what the event names"))
    run.finish_segment("finished")
    assert collector.deleted
    lake = Lake(lake_path)
    [row] = lake.sql("select message from events where kind = 'note'").to_pylist()
    assert lake.storage.get_object(row["message"]) == b"what the event names"


def test_an_object_that_came_before_its_row_is_looked_for_at_the_end(lake_path: Path) -> None:
    # The random states come with the first rows, and are named when the process was described.
    collector = Collector(lake_path, "environments")
    with Recorder(storage_with(collector, lake_path), project="p", flush_every_s=0.05, system_metrics_every_s=None):
        pass
    assert collector.deleted
    lake = Lake(lake_path)
    [row] = lake.sql("select seeds from runs").to_pylist()
    assert lake.storage.get_object(json.loads(row["seeds"])["random_state"])


def test_where_no_file_waits_nobody_looks(lake_path: Path) -> None:
    collector = Collector(lake_path, "artifacts", times=0)
    run = Recorder(storage_with(collector, lake_path), project="p", flush_every_s=0.01, system_metrics_every_s=None)
    run.start_segment("fit")
    for step in range(20):
        run.log({"a": float(step)}, step=step)
        threading.Event().wait(0.02)
    run.finish_segment("finished")
    # The random states of the beginning are an object: stored, and looked for again.
    assert collector.listed["list condemned/"] <= 3
