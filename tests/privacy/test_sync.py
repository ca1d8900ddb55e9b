"""What a run left on the disk is sent by somebody who knows less than it did: nothing gets in for that."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.lake import LakeStorage
from lightning_lde.recording import SyncOutcome, sync_spools
from tests.privacy.planting import all_bytes

KNOWN = "correcthorse42battery"
PROGRAM = """
import os, signal, sys
from pathlib import Path
from lightning_lde import Recorder
run = Recorder(sys.argv[1], project="p", system_metrics_every_s=None)
run.__enter__()
run.add_event("note", "annmiller was here, in /home/annmiller/x")
for file in sys.argv[2:]:
    run.save_file(Path(file), path=f"files/correcthorse42battery/{Path(file).name}", kind="note")
run.describe_later(lambda: None).wait()
run.make_durable()
os.kill(os.getpid(), signal.SIGKILL)
"""


def left_behind(tmp_path: Path, *, directory: str = ".", **variables: str) -> Path:
    """The lake of a run that died before there was one, with a file that holds a secret under an innocent name."""
    disk, folder = tmp_path / "disk", tmp_path / "folder"
    disk.write_text("no folder")
    folder.mkdir()
    file = folder / directory / "state.pkl"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps({"note": KNOWN, "lr": 0.1}))
    command = [sys.executable, "-c", PROGRAM, str(disk / "lake"), str(file)]
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path), **variables}
    assert subprocess.run(command, cwd=folder, env=environment, check=False).returncode == -signal.SIGKILL
    disk.unlink()
    return disk / "lake"


def sync(spool: Path) -> list[SyncOutcome]:
    return list(sync_spools(spool, lambda url, _: LakeStorage(url)))


def stored(lake_path: Path) -> list[bytes]:
    rows = Lake(lake_path).sql("select path, object_id from artifacts").to_pylist()
    assert all(row["path"] == "files/<redacted>/state.pkl" for row in rows)
    return [LakeStorage(lake_path).get_object(row["object_id"]) for row in rows]


@pytest.mark.parametrize("elsewhere", [{}, {"DB_PASSWORD": "another42word-of-today"}])
def test_a_file_waits_where_its_secrets_are_not_known(
    tmp_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: dict[str, str]
) -> None:
    lake_path = left_behind(tmp_path, DB_PASSWORD=KNOWN)
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    [note] = own_spool.glob("*/*.file")
    assert KNOWN not in note.read_text()
    errors = [outcome.error for outcome in sync(own_spool) if outcome.error]
    assert len(errors) == 1
    assert "files/<redacted>/state.pkl waits: what stood in DB_PASSWORD" in errors[0]
    assert "lde sync --without-known-secrets" in errors[0]
    assert note.exists()
    assert stored(lake_path) == []
    assert [place for place, data in all_bytes(lake_path) if KNOWN.encode() in data] == []
    done = CliRunner().invoke(app, ["sync"])
    assert done.exit_code == 2
    assert "DB_PASSWORD" in done.output
    assert KNOWN not in done.output
    done = CliRunner().invoke(app, ["sync", "--without-known-secrets"])
    assert done.exit_code == 0, done.output
    [data] = stored(lake_path)
    assert pickle.loads(data) == {"note": KNOWN, "lr": 0.1}
    assert list(own_spool.iterdir()) == []


def test_another_working_directory_is_no_secret_that_is_missing(
    tmp_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_path = left_behind(tmp_path, PWD="/data/team42/projects", OLDPWD="/data/team42/others")
    monkeypatch.setenv("PWD", "/elsewhere/9/in/another/shell")
    assert {outcome.error for outcome in sync(own_spool)} == {None}
    assert len(Lake(lake_path).sql("select * from artifacts").to_pylist()) == 1


@pytest.mark.parametrize("name", ["DB_PASSWORD", "OTHER_PASSWORD"])
def test_a_file_is_stored_without_them_where_they_are_known(
    tmp_path: Path, own_spool: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lake_path = left_behind(tmp_path, DB_PASSWORD=KNOWN)
    monkeypatch.setenv(name, KNOWN)
    assert {outcome.error for outcome in sync(own_spool)} == {None}
    [data] = stored(lake_path)
    assert pickle.loads(data) == {"note": "*" * len(KNOWN), "lr": 0.1}
    assert [place for place, data in all_bytes(lake_path) if KNOWN.encode() in data] == []
    assert list(own_spool.iterdir()) == []


def test_a_file_that_is_gone_waits_for_nobody(tmp_path: Path, own_spool: Path) -> None:
    lake_path = left_behind(tmp_path, DB_PASSWORD=KNOWN)
    (tmp_path / "folder" / "state.pkl").unlink()
    [kept] = own_spool.glob("*/*.kept")
    kept.unlink()
    assert {outcome.error for outcome in sync(own_spool)} == {None}
    assert [place for place, data in all_bytes(lake_path) if KNOWN.encode() in data] == []
    assert list(own_spool.iterdir()) == []


def test_a_file_is_found_again_whose_path_holds_secrets(tmp_path: Path, own_spool: Path) -> None:
    token = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    lake_path = left_behind(tmp_path, directory=f"of {token} and {KNOWN}", DB_PASSWORD=KNOWN)
    (tmp_path / "folder" / f"of {token} and another").mkdir()
    (tmp_path / "folder" / f"of {token} and another" / "state.pkl").write_bytes(b"of somebody else")
    [kept] = own_spool.glob("*/*.kept")
    # No copy: the same file under a second name.
    assert kept.samefile(tmp_path / "folder" / f"of {token} and {KNOWN}" / "state.pkl")
    for word in (token.encode(), KNOWN.encode()):
        found = [place for place, data in all_bytes(own_spool) if word in data]
        assert [place for place in found if not place.endswith(".kept")] == []
    assert list(sync_spools(own_spool, lambda url, _: LakeStorage(url), also_unchecked=True)) != []
    [data] = stored(lake_path)
    assert pickle.loads(data) == {"note": KNOWN, "lr": 0.1}
    assert list(own_spool.iterdir()) == []


def test_the_one_who_recorded_is_hidden_by_another_who_sends(tmp_path: Path, own_spool: Path) -> None:
    lake_path = left_behind(tmp_path, LOGNAME="annmiller", DB_PASSWORD=KNOWN)
    spools = list(own_spool.glob("*/*.spool"))
    assert all(b"annmiller" in spool.read_bytes() for spool in spools)
    assert {spool.parent.stat().st_mode & 0o077 for spool in spools} == {0}
    sync(own_spool)
    [message] = Lake(lake_path).sql("select message from events where kind = 'note'").column(0).to_pylist()
    name, _, rest = message.partition(" ")
    assert name.startswith("<user-")
    assert rest == f"was here, in /home/{name}/x"
    assert [place for place, data in all_bytes(lake_path) if b"annmiller" in data] == []
    assert json.loads((lake_path / "lde.json").read_text())["policy"]["names"] == "pseudonymise"
