"""The sources of a run are no business of a lake that asks for little; what it takes of them passed the gate."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.lake import LakeStorage
from lightning_lde.policy import Policy
from lightning_lde.recording import Rows, sync_spools
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._objects import SmallObject
from tests.privacy.planting import all_bytes, unpacked

PROGRAM = """
import sys
from lightning_lde import Recorder
with Recorder(sys.argv[1], project="p", capture=sys.argv[2], system_metrics_every_s=None) as run:
    run.log({"a": 1.0}, step=0)  # a line of the user's own
"""


def sources_in(lake_path: Path) -> bool:
    contents = [path.read_bytes() for path in lake_path.glob("objects/*/*")]
    unpacked = [gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content for content in contents]
    return any(b"a line of the user's own" in content for content in unpacked)


@pytest.mark.parametrize(
    ("asked_for", "given", "there"),
    [("full", "standard", True), ("full", "minimal", False), ("minimal", "standard", False)],
)
def test_a_snapshot_is_stored_where_lake_and_user_take_it(
    tmp_path: Path, lake_path: Path, asked_for: str, given: str, there: bool
) -> None:
    Lake(lake_path).create()
    storage = LakeStorage(lake_path)
    storage.set_policy(storage.policy().changed("capture", asked_for))
    script = tmp_path / "program" / "train.py"
    script.parent.mkdir()
    script.write_text(PROGRAM)
    command = [sys.executable, str(script), str(lake_path), given]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sources_in(lake_path) is there


NEIGHBOURS = ("notes_on_ann.py", "letter.yaml", "other/work.py", "diary.ipynb")


@pytest.mark.parametrize("under_git", [False, True])
def test_what_lies_beside_a_program_in_a_home_stays_out(tmp_path: Path, lake_path: Path, *, under_git: bool) -> None:
    home = tmp_path / "home"
    for name in NEIGHBOURS:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("# words of a neighbour\n")
    (home / "train.py").write_text(PROGRAM)
    if under_git:
        subprocess.run(["git", "init", "-q"], cwd=home, check=True)
    variables = {**os.environ, "HOME": str(home), "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    command = [sys.executable, "train.py", str(lake_path), "full"]
    done = subprocess.run(command, cwd=home, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sources_in(lake_path)
    contents = [path.read_bytes() for path in lake_path.rglob("*") if path.is_file()]
    unpacked = [gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content for content in contents]
    for words in (b"words of a neighbour", *(Path(name).name.encode() for name in NEIGHBOURS)):
        assert not any(words in content for content in unpacked)
    # Hashes and names are not in its tables either.
    [row] = Lake(lake_path).sql("select untracked from code").to_pylist()
    assert [file["path"] for file in json.loads(row["untracked"])] == ["train.py"]


KNOWN = "correcthorse42battery"
PERSONAL = """
import os, signal, sys
import correcthorse42battery_tools, helper
from lightning_lde import Recorder

def connect(*words):
    pass

connect("db", "correcthorse42battery")  # ask ann@example.org
run = Recorder(sys.argv[1], project="p", system_metrics_every_s=None)
run.__enter__()
run.log({"a": 1.0}, step=0)
run.describe_later(lambda: None).wait()  # after what describes the process
if sys.argv[2] == "dies":
    run.make_durable()
    os.kill(os.getpid(), signal.SIGKILL)
run.__exit__(None, None, None)
"""


def members(archive: bytes) -> dict[str, str]:
    """Names and texts of an archive."""
    found = [data.decode() for _, data in unpacked("it", archive)]
    return dict(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize(("how", "people_stay"), [("keep", True), ("pseudonymise", True), ("drop", False)])
def test_known_secrets_leave_the_sources_and_people_where_they_are_dropped(
    tmp_path: Path, own_spool: Path, how: str, people_stay: bool, away: bool
) -> None:
    disk, folder = tmp_path / "disk", tmp_path / "program"
    lake_path = disk / "lake"

    def make_lake() -> None:
        LakeStorage(lake_path).initialise()
        LakeStorage(lake_path).set_policy(Policy(emails=how, names=how, salt="s"))

    folder.mkdir()
    for name, text in {
        "train.py": PERSONAL, f"{KNOWN}_tools.py": "X = 1\n", "helper.py": "# by bob@example.org\n",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    if away:
        disk.write_text("no folder")
    else:
        make_lake()
    command = [sys.executable, "train.py", str(lake_path), "dies" if away else "ends"]
    variables = {**os.environ, "DB_PASSWORD": KNOWN, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == (-signal.SIGKILL if away else 0), done.stderr
    if away:
        # The policy is learnt, and the variable is not known any more, where it is sent.
        assert [place for place, data in all_bytes(own_spool) if KNOWN.encode() in data] == []
        disk.unlink()
        make_lake()
        assert {outcome.error for outcome in sync_spools(own_spool, LakeStorage)} == {None}
    assert [place for place, data in all_bytes(lake_path) if KNOWN.encode() in data] == []
    [row] = Lake(lake_path).sql("select snapshot_object, untracked from code").to_pylist()
    # What the row names is there, whole, and has the files that the row lists.
    texts = members(LakeStorage(lake_path).get_object(row["snapshot_object"]))
    notes = {one["path"]: one["note"] for one in json.loads(row["untracked"]) if one["in_snapshot"]}
    assert notes.keys() == texts.keys() == {"train.py", "<redacted>_tools.py", "helper.py"}
    assert 'connect("db", "<redacted>")' in texts["train.py"]
    assert notes["train.py"] == "redacted"
    assert notes["helper.py"] == (None if people_stay else "redacted")
    assert texts["helper.py"] == ("# by bob@example.org\n" if people_stay else "# by <email>\n")
    assert ("ask ann@example.org" in texts["train.py"]) is people_stay


def test_an_archive_that_cannot_be_looked_into_is_not_stored() -> None:
    gate = Governance(known=[KNOWN])
    assert gate.apply(Rows(objects=[SmallObject(b"no archive", is_archive=True)])).objects == []
    other = SmallObject(f"no archive, {KNOWN}".encode())
    assert gate.apply(Rows(objects=[other])).objects == [other]
