"""Objects that rows name wait in the spool with them: neither kill -9 nor a lake that is away loses them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import sync_spools
from lightning_lde.recording._objects import SmallObject, decode_object, encode_object

PROGRAM = """
import os, signal, sys, threading
from lightning_lde import Recorder
run = Recorder(sys.argv[1], project="p", system_metrics_every_s=None)
run.__enter__()
run.log({"loss": 1.0}, step=0)  # in the snapshot
run.describe_later(lambda: None).wait()  # after what describes the process
run.make_durable()
os.kill(os.getpid(), signal.SIGKILL)
"""


def sources(archive: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        return "".join(tar.extractfile(member).read().decode() for member in tar if member.isfile())  # type: ignore[union-attr]


def the_objects_are_there(lake_path: Path) -> None:
    [row] = Lake(lake_path).sql("select seeds, snapshot_object from runs join code using (code_id)").to_pylist()
    storage = LakeStorage(lake_path)
    assert "# in the snapshot" in sources(storage.get_object(row["snapshot_object"]))
    state = json.loads(storage.get_object(json.loads(row["seeds"])["random_state"]))
    assert {"python", "numpy"} & set(state)


def test_they_outlive_a_killed_process_whose_lake_was_away(tmp_path: Path, own_spool: Path) -> None:
    script, in_the_way = tmp_path / "program" / "train.py", tmp_path / "disk"
    script.parent.mkdir()
    script.write_text(PROGRAM)
    in_the_way.write_text("not a folder")
    killed = subprocess.run([sys.executable, str(script), str(in_the_way / "lake")], cwd=script.parent, check=False)
    assert killed.returncode == -signal.SIGKILL
    in_the_way.unlink()
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    the_objects_are_there(in_the_way / "lake")


def test_a_run_whose_lake_stayed_away_leaves_them_to_sync(tmp_path: Path, own_spool: Path) -> None:
    in_the_way = tmp_path / "disk"
    in_the_way.write_text("not a folder")
    run = Recorder(in_the_way / "lake", project="p", system_metrics_every_s=None)
    run.start_segment("run")
    name = run.store_bytes(b"content")
    run.update(tags={"object": name})
    with pytest.warns(RecordingWarning, match="lde sync"):
        run.finish_segment("finished")
    in_the_way.unlink()
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    [tags] = Lake(in_the_way / "lake").sql("select tags from runs").column("tags").to_pylist()
    assert LakeStorage(in_the_way / "lake").get_object(json.loads(tags)["object"]) == b"content"


def test_whoever_sees_the_row_sees_the_object(lake_path: Path) -> None:
    LakeStorage(lake_path).initialise()
    with Recorder(lake_path, project="p", flush_every_s=0.01, system_metrics_every_s=None) as run:
        for number in range(20):
            name = run.store_bytes(b"%d" % number * 1000)
            run.add_event("object", name)
            for message in (
                Lake(lake_path).sql("select message from events where kind = 'object'").column(0).to_pylist()
            ):
                assert len(LakeStorage(lake_path).get_object(message)) >= 1000
    assert len(list(lake_path.glob("objects/*/*"))) >= 20


@pytest.mark.parametrize("at_minimal", [True, False])
@pytest.mark.parametrize("is_archive", [True, False])
def test_the_spool_keeps_what_an_object_is(at_minimal: bool, is_archive: bool) -> None:
    item = SmallObject(b"content", at_minimal, is_archive)
    assert decode_object(memoryview(b"".join(encode_object(item)))) == item
