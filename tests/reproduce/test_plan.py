"""The plan: what will be done, what cannot, and an environment built of recorded versions."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import ReproductionError
from lightning_lde.policy import Policy
from lightning_lde.reproduce import (
    Recorded,
    Use,
    build_environment,
    make_plan,
    packages_of_elsewhere,
    packages_to_install,
    plan_reproduction,
    reproduce,
)

from .conftest import git

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


def plan(tmp_path: Path, *, options: dict[str, Any] | None = None, **changes: Any) -> Any:
    facts: dict[str, Any] = {"run": RUN, "code": CODE, "seeds": [{"seeded": False, "torch_initial_seed": UNSEEDED}]}
    for name, value in changes.items():
        facts[name] = {**facts[name], **value} if isinstance(facts.get(name), dict) else value
    return make_plan(Recorded(**facts), lake="/lake", repository=tmp_path, here={}, **(options or {}))


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
    ({"run": {"argv": ["a.py", "-p<withheld>"]}}, "not recorded"),
    ({"code": {"launch": {"kind": "command", "target": "<withheld>"}}}, "not recorded"),
    ({"code": {"commit": None}}, "no commit and no snapshot"),
    ({"code": {"diff": "x\n<diff cut here after 1000000 characters>\n"}}, "too large"),
    ({"code": {"launch": {"kind": "unknown"}, "entry_point": None}}, "neither"),
    ({"run": {"argv": ["a.py", "--lr", "<withheld>"]}}, "values that were not recorded"),
    ({"run": {"argv": ["a.py", "--patient=<withheld>"]}}, "values that were not recorded"),
    ({"code": {"dirty": True}}, "uncommitted changes that were not recorded"),
    ({"code": {"untracked": [{"path": "sub/train.py", "in_snapshot": True, "note": None}]}}, "in no commit"),
    ({"run": {"argv": ["a.py", "/home/<user-0123456789ab>/x"]}}, "command line names people or machines"),
    ({"code": {"working_directory": "<user-0123456789ab>"}}, "working directory names people or machines"),
    ({"code": {"diff": "diff --git a/b.py b/b.py\n+A = '<email-0123456789ab>'\n"}}, "changes name people"),
    ({"code": {"diff": "diff --git a/b.py b/b.py\n # <host-0123456789ab>\n+A = 1\n"}}, "changes name people"),
    ({"options": {"missing_modules": ["lib at 0123"]}}, "submodules are not here at their commits: lib at 0123"),
]


@pytest.mark.parametrize(("changes", "words"), OBSTACLES)
def test_what_cannot_be_run_is_told(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    [obstacle] = plan(tmp_path, **changes).obstacles
    assert words in obstacle


NOTES = [
    ({"diff": "diff --git a/b.py b/b.py\n+A = '<redacted>'\n"}, "the change of b.py: what looked like a secret"),
    ({"diff": "diff --git a/b.py b/b.py\n+    # by <user-0123456789ab>\n"}, "<user-0123456789ab>, not known here"),
    ({"dirty": None}, "whether there were uncommitted changes is not recorded"),
    ({"untracked": [{"path": "x.py", "in_snapshot": True, "note": None}]}, "not in the lake: x.py"),
]


@pytest.mark.parametrize(("code", "words"), NOTES)
def test_what_is_not_as_it_was_is_told_and_run(tmp_path: Path, code: dict[str, Any], words: str) -> None:
    found = plan(tmp_path, code={"dirty": False, **code})
    assert found.obstacles == ()
    assert len([note for note in found.notes if words in note]) == 1
    assert not [note for note in plan(tmp_path, code={"dirty": False}).notes if words in note]


def test_variables_that_were_not_recorded_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_DEBUG", "1")
    monkeypatch.setenv("NCCL_DEBUG", "1")
    for left_by_others in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.delenv(left_by_others, raising=False)
    nothing = {"python": "CPython 3.11.7", "variables": {}}
    # Values of the command line show that more than the level `minimal` was recorded: none were set.
    assert {"MKL_DEBUG", "NCCL_DEBUG"} <= set(plan(tmp_path, environment=nothing).unset)
    for argv in (["train.py", "--lr", "<withheld>"], ["train.py"]):
        found = plan(tmp_path, environment=nothing, run={"argv": argv})
        assert found.unset == ()
        assert any("MKL_DEBUG" in note and "stay as they are" in note for note in found.notes)
    some = {**nothing, "variables": {"OMP_NUM_THREADS": "1", "TORCH_HOME": "/home/<user-0123456789ab>/t"}}
    found = plan(tmp_path, environment=some, options={"policy": Policy(variables_deny=("MKL_*",))})
    assert "NCCL_DEBUG" in found.unset
    assert "MKL_DEBUG" not in found.unset
    assert "TORCH_HOME" not in found.variables


def test_the_data_are_looked_for_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "sub" / "near").mkdir(parents=True)
    places = {
        "absolute": str(tmp_path / "here"), "gone": str(tmp_path / "gone"), "url": "s3://bucket/x", "near": "near",
        "far": "organisation/set", "file": f"file://{tmp_path}/here", "named": "<path>/here", "unnamed": "<path>/other",
        "nobody": "~nobody-of-that-name/x", "nothing": None,
    }  # fmt: skip
    uses = [Use("trained_on", {"dataset": name, "dataset_samples": 3, "uri": uri}) for name, uri in places.items()]
    found = plan(tmp_path, uses=uses, run={"argv": ["train.py", f"--data={tmp_path}/here"]}).data
    assert [line.replace(str(tmp_path), "TMP") for line in found] == [
        "absolute: TMP/here is there",
        "gone: TMP/gone is not there",
        "near: near is there",
        "file: TMP/here is there",
        "named: TMP/here is there",
        "nobody: ~nobody-of-that-name/x is not there",
    ]


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


def test_pip_is_not_asked_for_what_no_index_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "part").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[project]\nname = "Our.Tool"\n[[tool.uv.index]]\nname = "torch"\n')
    (project / "setup.cfg").write_text("[metadata]\nname = our_older_tool\n[options]\nname = numpy\n")
    (project / "part" / "setup.py").write_text("setup(name='our-part', author_name='scipy')\n")
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "first")
    site = tmp_path / "site"
    origins = {
        "edited": '{"url": "file:///x", "dir_info": {"editable": true}}',
        "cloned": '{"url": "https://git.example/x", "vcs_info": {"vcs": "git", "commit_id": "a"}}',
        "fetched": '{"url": "https://files.example/x.whl", "archive_info": {}}',
    }
    for name, origin in origins.items():
        about = site / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "direct_url.json").write_text(origin)
    monkeypatch.syspath_prepend(site)
    elsewhere = packages_of_elsewhere(project, git(project, "rev-parse", "HEAD"))
    names = ("our-tool", "our-older-tool", "our-part", *origins, "torch", "numpy", "scipy", "pip", "lightning-lde")
    asked, left_out = packages_to_install({"packages": dict.fromkeys(names, "1.0")}, elsewhere)
    assert asked == {"torch": "1.0", "numpy": "1.0", "scipy": "1.0"}
    assert [sentence.partition(" ")[0] for sentence in left_out] == list(names[:6])
    assert left_out[0] == "our-tool 1.0 is not installed: it comes from the run's own repository, not from an index"


def test_what_the_run_had_from_elsewhere_is_not_asked_of_an_index() -> None:
    origins = {
        "edited": {"editable": True, "vcs": "git", "commit": "a", "dirty": False},
        "Cloned_Tool": {"url": "https://git.example/x", "vcs": "git", "commit": "a", "files_hash": "f"},
        "fetched": {"url": "https://files.example/x.whl"},
        "from-a-file": {"archive_hash": "sha256:1"},
        "of-an-index": {"files_hash": "f"},
    }
    elsewhere = packages_of_elsewhere(None, None, origins)
    asked, left_out = packages_to_install({"packages": dict.fromkeys(origins, "1.0")}, elsewhere)
    assert asked == {"of-an-index": "1.0"}
    assert [sentence.partition("comes from ")[2] for sentence in left_out] == [
        "a folder, not from an index",
        "a repository (https://git.example/x), not from an index",
        "an archive (https://files.example/x.whl), not from an index",
        "an archive, not from an index",
    ]


def test_the_plan_names_each_package_that_pip_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Recorder(tmp_path / "lake", project="p", system_metrics_every_s=None):
        pass
    lake = Lake(tmp_path / "lake")
    [row] = lake.sql("select run_id, packages from runs join environments using (environment_id)").to_pylist()
    shown = CliRunner().invoke(app, ["reproduce", str(tmp_path / "lake"), row["run_id"], "--env", "venv", "--dry-run"])
    words = shown.output.split()
    elsewhere = packages_of_elsewhere(None, None)
    packages = {name: version for name, version in json.loads(row["packages"]).items() if name not in elsewhere}
    assert len(packages) > 20
    for name, version in packages.items():
        assert (f"{name}=={version}" in words) is (name not in {"pip", "lightning-lde"})
    assert "lightning-lde==" not in shown.output
    assert "python -m pip --disable-pip-version-check install --quiet --no-deps" in shown.output


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
    packages = {"tiny": "1.0", "absent": "9.9", "built": "3.0+cpu", "lightning-lde": "0.0.1", "mine": "1"}
    environment = {"python": f"CPython {sys.version.split()[0]}", "packages": packages}
    python, notes = build_environment(tmp_path / "venv", environment, not_from_index={"mine": "a folder"})
    assert notes == [
        "absent==9.9 could not be had; absent is missing",
        "built==3.0+cpu could not be had: built==3.0 is used",
    ]
    code = "import tiny, built, lightning_lde; print(tiny.VERSION, built.VERSION)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "3.0"]
    # Nothing else of what lies beside this package, or is installed here, came with it.
    code = "import importlib.util as u; print([n for n in ('tests', 'setup', 'numpy', 'click') if u.find_spec(n)])"
    assert subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "from importlib.metadata import version; print(version('lightning-lde'))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == importlib.metadata.version("lightning-lde")
    _, notes = build_environment(tmp_path / "other", {"python": "CPython 2.6.1", "packages": {}})
    assert "python 2.6 could not be had" in notes[0]
