"""Files that the lake did not take: noted in the spool, stored by whoever sends it, once, and only as they were."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import sync_spools

PROGRAM = """
import os, signal, sys
from pathlib import Path
from lightning_lde import Recorder
run = Recorder(sys.argv[1], project="p", system_metrics_every_s=None)
run.__enter__()
run.save_file(Path(sys.argv[2]), path="checkpoints/last.ckpt", kind="checkpoint", score=0.5)
run.make_durable()
os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by_a_run_without_a_lake(tmp_path: Path) -> Path:
    """A lake that can be there now, and was not while a run had a file for it."""
    in_the_way = tmp_path / "disk"
    in_the_way.write_text("not a folder")
    (tmp_path / "last.ckpt").write_bytes(b"weights")
    run = Recorder(in_the_way / "lake", project="p", system_metrics_every_s=None)
    run.start_segment("run")
    run.save_file(tmp_path / "last.ckpt", path="checkpoints/last.ckpt", kind="checkpoint", score=0.5)
    with pytest.warns(RecordingWarning, match=r"lde sync; .*are kept until then: checkpoints/last\.ckpt"):
        run.finish_segment("finished")
    in_the_way.unlink()
    return in_the_way / "lake"


def artifacts(lake_path: Path) -> list[dict[str, object]]:
    return Lake(lake_path).sql("select path, kind, score, object_id from artifacts").to_pylist()


def test_sync_stores_it(tmp_path: Path, own_spool: Path) -> None:
    lake_path = left_by_a_run_without_a_lake(tmp_path)
    result = CliRunner().invoke(app, ["sync"])
    assert result.exit_code == 0, result.output
    [row] = artifacts(lake_path)
    object_id = hashlib.sha256(b"weights").hexdigest()
    assert row == {"path": "checkpoints/last.ckpt", "kind": "checkpoint", "score": 0.5, "object_id": object_id}
    assert LakeStorage(lake_path).get_object(object_id) == b"weights"
    assert list(own_spool.iterdir()) == []
    assert "nothing to send" in CliRunner().invoke(app, ["sync"]).output


@pytest.mark.parametrize("is_written_over", [False, True])
def test_what_is_not_there_as_it_was_is_said_and_not_stored(
    tmp_path: Path, own_spool: Path, is_written_over: bool
) -> None:
    lake_path = left_by_a_run_without_a_lake(tmp_path)
    if is_written_over:
        (tmp_path / "last.ckpt").write_bytes(b"other weights")
    else:
        (tmp_path / "last.ckpt").unlink()
        for kept in own_spool.glob("*/*.kept"):
            kept.unlink()
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    assert artifacts(lake_path) == []
    [event] = Lake(lake_path).sql("select message from events where kind = 'artifact'").to_pylist()
    assert event["message"] == "checkpoints/last.ckpt was changed before it could be stored, or is gone"
    assert list(own_spool.iterdir()) == []


def test_a_killed_process_leaves_the_note(tmp_path: Path, own_spool: Path) -> None:
    in_the_way, checkpoint = tmp_path / "disk", tmp_path / "last.ckpt"
    in_the_way.write_text("not a folder")
    checkpoint.write_bytes(b"weights")
    command = [sys.executable, "-c", PROGRAM, str(in_the_way / "lake"), str(checkpoint)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    in_the_way.unlink()
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    assert len(artifacts(in_the_way / "lake")) == 1


def test_sending_twice_is_sending_once(tmp_path: Path, own_spool: Path) -> None:
    lake_path = left_by_a_run_without_a_lake(tmp_path)
    [note] = own_spool.glob("*/*.file")
    text, folder = note.read_text(), note.parent
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    folder.mkdir()
    note.write_text(text)
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    assert len(artifacts(lake_path)) == 1


def test_a_damaged_note_is_said_and_holds_up_nothing(tmp_path: Path, own_spool: Path) -> None:
    lake_path = left_by_a_run_without_a_lake(tmp_path)
    [note] = own_spool.glob("*/*.file")
    (note.parent / "0.file").write_text("{")
    outcomes = list(sync_spools(own_spool, LakeStorage))
    assert [outcome.path.name for outcome in outcomes if outcome.error] == ["0.file"]
    assert len(artifacts(lake_path)) == 1


@pytest.mark.slow
def test_the_next_run_sends_it_and_no_note_stays_where_all_went_well(tmp_path: Path, own_spool: Path) -> None:
    lake_path = left_by_a_run_without_a_lake(tmp_path)
    LakeStorage(lake_path).initialise()
    with Recorder(lake_path, project="p", system_metrics_every_s=None) as run:
        run.save_file(tmp_path / "last.ckpt", path="again.ckpt", kind="checkpoint")
        deadline = time.monotonic() + 20
        while len(artifacts(lake_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
    assert sorted(str(row["path"]) for row in artifacts(lake_path)) == ["again.ckpt", "checkpoints/last.ckpt"]
    assert list(own_spool.iterdir()) == []


def test_a_note_holds_no_secret(tmp_path: Path, own_spool: Path) -> None:
    (tmp_path / "disk").write_text("not a folder")
    places = [tmp_path / "last.ckpt", tmp_path / "password=x9-unlikely-word.ckpt"]
    run = Recorder(tmp_path / "disk" / "lake", project="p", system_metrics_every_s=None)
    run.start_segment("run")
    for place in places:
        place.write_text(f"weights of {place.name[:4]}")
        run.save_file(place, path="token=x9-unlikely-word", kind="checkpoint")
    with pytest.warns(RecordingWarning, match="lde sync"):
        run.finish_segment("finished")
    assert not any(b"unlikely" in path.read_bytes() for path in own_spool.rglob("*") if path.is_file())
    (tmp_path / "disk").unlink()
    assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    assert len(artifacts(tmp_path / "disk" / "lake")) == 2
