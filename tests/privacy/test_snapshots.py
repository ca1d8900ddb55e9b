"""The sources of a run are no business of a lake that asks for little."""

from __future__ import annotations

import gzip
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
