"""The sources of a run are no business of a lake that asks for little."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.lake import LakeStorage

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
