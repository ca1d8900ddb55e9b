"""The plan: what will be done, what cannot, and an environment built of recorded versions."""

from __future__ import annotations

import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce import Recorded, build_environment, make_plan, plan_reproduction, reproduce

RUN = {
    "run_id": "r", "project": "p", "experiment": None, "name": None, "tags": {}, "argv": ["train.py", "--lr", "1"],
    "status": "finished", "resumed_from": None, "number_in_process": 0, "world_size": 1, "seeds": {},
}  # fmt: skip
CODE = {
    "commit": "c" * 40, "diff": None, "entry_point": "sub/train.py", "working_directory": "sub", "untracked": [],
    "launch": {"kind": "script", "target": "sub/train.py", "options": ["-O"], "recorded_by": None},
    "snapshot_object": None,
}  # fmt: skip
UNSEEDED = 1 << 63


def plan(tmp_path: Path, **changes: Any) -> Any:
    facts: dict[str, Any] = {"run": RUN, "code": CODE, "seeds": [{"seeded": False, "torch_initial_seed": UNSEEDED}]}
    for name, value in changes.items():
        facts[name] = {**facts[name], **value} if isinstance(facts.get(name), dict) else value
    return make_plan(Recorded(**facts), lake="/lake", repository=tmp_path, here={})


def test_the_command_line(tmp_path: Path) -> None:
    assert plan(tmp_path).words == ("-O", "train.py", "--lr", "1")
    launches = {
        "module": ("pack.train", ["-m", "pack.train"]),
        "command": ("import a; a.b('c d')", ["-c", "import a; a.b('c d')"]),
        "installed": ("lightning", ["<bin>/lightning"]),
    }
    for kind, (target, words) in launches.items():
        launch = {"kind": kind, "target": target, "options": []}
        found = plan(tmp_path, code={"launch": launch})
        assert list(found.words) == [*words, "--lr", "1"]
        assert shlex.split(found.command) == ["python", *found.words]


def test_old_rows_are_run_by_their_entry_point(tmp_path: Path) -> None:
    found = plan(tmp_path, code={"launch": None, "working_directory": None})
    assert found.words == ("sub/train.py", "--lr", "1")
    assert any("not recorded" in note for note in found.notes)


OBSTACLES = [
    ({"run": {"argv": ["a.py", "--api-key", "<redacted>"]}}, "secret"),
    ({"run": {"argv": ["a.py", "-p<withheld>"]}}, "left values"),
    ({"code": {"launch": {"kind": "command", "target": "<withheld>"}}}, "left values"),
    ({"code": {"commit": None}}, "no commit and no snapshot"),
    ({"code": {"diff": "x\n<diff cut here after 1000000 characters>\n"}}, "too large"),
    ({"code": {"launch": {"kind": "unknown"}, "entry_point": None}}, "neither"),
]


@pytest.mark.parametrize(("changes", "words"), OBSTACLES)
def test_what_cannot_be_run_is_told(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    [obstacle] = plan(tmp_path, **changes).obstacles
    assert words in obstacle


def test_an_unseeded_torch_begins_as_it_did(tmp_path: Path) -> None:
    assert plan(tmp_path).torch_seed == UNSEEDED
    assert plan(tmp_path, seeds=[{"seeded": True, "torch_initial_seed": UNSEEDED}]).torch_seed is None
    assert plan(tmp_path, seeds=[{"seeded": False, "torch_initial_seed": 42}]).torch_seed is None


def test_variables_become_what_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"OMP_NUM_THREADS": "7", "MKL_DEBUG": "1", "CUDA_VISIBLE_DEVICES": "3", "HOME_X": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PL_GLOBAL_SEED", "99")
    recorded = {"OMP_NUM_THREADS": "2", "TORCH_HOME": "<path>/cache", "LD_PRELOAD": "evil.so"}
    found = plan(tmp_path, environment={"variables": recorded})
    # Only what is recorded by name is set: a lake cannot make a program load a library.
    assert found.variables == {"OMP_NUM_THREADS": "2"}
    assert {"MKL_DEBUG", "PL_GLOBAL_SEED"} <= set(found.unset)
    assert not {"CUDA_VISIBLE_DEVICES", "HOME_X"} & set(found.unset)


def test_a_run_that_cannot_be_run_again_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Recorder(tmp_path / "lake", project="p", system_metrics_every_s=None, capture="minimal"):
        pass
    lake = Lake(tmp_path / "lake")
    run = lake.sql("select run_id from runs").to_pylist()[0]["run_id"]
    found = plan_reproduction(lake, run, repository=tmp_path)
    assert found.obstacles
    with pytest.raises(ReproductionError, match="cannot be run again"):
        reproduce(lake, found, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def wheel(folder: Path, name: str, version: str) -> None:
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")


@pytest.mark.slow
def test_an_environment_of_recorded_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version in (("tiny", "1.0"), ("tiny", "2.0"), ("built", "3.0")):
        wheel(wheels, name, version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    packages = {"tiny": "1.0", "absent": "9.9", "built": "3.0+cpu", "lightning-lde": "0.0.1"}
    environment = {"python": f"CPython {sys.version.split()[0]}", "packages": packages}
    python, notes = build_environment(tmp_path / "venv", environment)
    assert notes == [
        "absent==9.9 could not be had; absent is missing",
        "built==3.0+cpu could not be had: built==3.0 is used",
    ]
    code = "import tiny, built, lightning_lde; print(tiny.VERSION, built.VERSION)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "3.0"]
    _, notes = build_environment(tmp_path / "other", {"python": "CPython 2.6.1", "packages": {}})
    assert "python 2.6 could not be had" in notes[0]
