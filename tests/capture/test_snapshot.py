"""The snapshot: what no commit holds, as text without secrets, in an archive that depends on nothing else."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import types
from pathlib import Path

import pytest

from lightning_lde.capture import capture_sources
from lightning_lde.capture._snapshot import CELLS, LARGEST_FILE_BYTES, sources_around, take_snapshot


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def members(archive: bytes | None) -> dict[str, str]:
    assert archive is not None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: tar.extractfile(one).read().decode() for one in tar}  # type: ignore[union-attr]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "train.py").write_text("import helper\n")
    (root / ".gitignore").write_text("ignored.py\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    return root


def test_untracked_sources_are_kept(repository: Path) -> None:
    (repository / "helper.py").write_text("X = 1\n")
    (repository / "new").mkdir()
    (repository / "new" / "größe.yaml").write_text("a: é\n")
    (repository / "ignored.py").write_text("Y = 1\n")
    (repository / "photo.png").write_bytes(b"\x89PNG\0")
    row, archive = capture_sources(str(repository / "train.py"))
    assert members(archive) == {"helper.py": "X = 1\n", "new/größe.yaml": "a: é\n"}
    assert [one["path"] for one in row.untracked] == ["helper.py", "new/größe.yaml"]
    assert row.untracked[0]["sha256"] == hashlib.sha256(b"X = 1\n").hexdigest()
    assert row.snapshot_object == hashlib.sha256(archive or b"").hexdigest()


def test_equal_files_give_equal_bytes(repository: Path) -> None:
    (repository / "helper.py").write_text("X = 1\n")
    first = capture_sources(str(repository / "train.py"))
    os.utime(repository / "helper.py", (1, 1))
    second = capture_sources(str(repository / "train.py"))
    assert first.snapshot == second.snapshot
    assert first.row.code_id == second.row.code_id
    (repository / "helper.py").write_text("X = 2\n")
    assert capture_sources(str(repository / "train.py")).row.code_id != first.row.code_id


def test_secrets_are_replaced_and_it_is_said(repository: Path) -> None:
    (repository / "helper.py").write_text("api_key = 'hunter2secret'\n")
    (repository / "password.txt").write_text("hunter2secret\n")
    row, archive = capture_sources(str(repository / "train.py"))
    assert members(archive) == {"helper.py": "api_key = '<redacted>'\n"}
    assert [(one["path"], one["in_snapshot"], one["note"]) for one in row.untracked] == [
        ("helper.py", True, "redacted"),
        ("password.txt", False, "named like a secret"),
    ]
    assert b"hunter2" not in (archive or b"")


def test_what_is_too_large_is_listed_with_its_hash(repository: Path) -> None:
    text = "x = 1\n" * (LARGEST_FILE_BYTES // 5)
    (repository / "large.py").write_text(text)
    row, archive = capture_sources(str(repository / "train.py"))
    assert archive is None
    [one] = row.untracked
    assert (one["in_snapshot"], one["size_bytes"]) == (False, len(text))
    assert one["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert "larger" in one["note"]


def test_outputs_and_links_are_not_sources(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "private.py").write_text("secret\n")
    (repository / "link.py").symlink_to(tmp_path / "private.py")
    for folder in ("lightning_logs/version_0", "lake/hot", ".venv/lib"):
        (repository / folder).mkdir(parents=True)
        (repository / folder / "hparams.yaml").write_text("a: 1\n")
    (repository / "lake" / "lde.json").write_text("{}")
    row, archive = capture_sources(str(repository / "train.py"))
    assert archive is None
    assert [(one["path"], one["note"]) for one in row.untracked] == [("link.py", "a link")]


def test_without_git_the_sources_around_the_program_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "project"
    (folder / "pack").mkdir(parents=True)
    for name in ("train.py", "pack/model.py", "settings.toml", "values.csv"):
        (folder / name).write_text(f"# {name}\n")
    row, archive = capture_sources(str(folder / "train.py"))
    assert sorted(members(archive)) == ["pack/model.py", "settings.toml", "train.py"]
    assert row.commit is None
    assert row.entry_point == "train.py"


def test_of_a_large_folder_only_what_is_near_and_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_lde.capture._snapshot._LARGEST_WALK", 20)
    for number in range(40):
        (tmp_path / f"folder {number}").mkdir()
        (tmp_path / f"folder {number}" / "a.py").write_text("1\n")
    (tmp_path / "train.py").write_text("1\n")
    module = types.ModuleType("imported")
    module.__file__ = str(tmp_path / "folder 7" / "a.py")
    monkeypatch.setitem(sys.modules, "imported", module)
    found = take_snapshot(tmp_path, sources_around(tmp_path / "train.py", tmp_path))
    assert sorted(members(found.archive)) == ["folder 7/a.py", "train.py"]


def test_cells_of_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = types.SimpleNamespace(user_ns={"In": ["", "x = 1", "%matplotlib inline\nif x:\n    !ls\n    y = x != 2"]})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher"])
    row, archive = capture_sources()
    text = members(archive)[CELLS]
    scope: dict[str, object] = {}
    exec(compile(text, CELLS, "exec"), scope)
    assert (scope["x"], scope["y"]) == (1, True)
    assert row.launch["kind"] == "notebook"


LAUNCHES = [
    (["{script}", "--lr", "1"], "script", "train.py", []),
    (["-O", "-X", "dev", "{script}"], "script", "train.py", ["-O", "-X", "dev"]),
    (["-um", "train", "-c"], "module", "train", ["-u"]),
    (["-c", "import train", "-m"], "command", "import train", []),
]


@pytest.mark.parametrize(("words", "kind", "target", "options"), LAUNCHES)
def test_how_a_program_was_started(
    repository: Path, words: list[str], kind: str, target: str, options: list[str]
) -> None:
    (repository / "train.py").write_text(
        "import json, sys\nfrom lightning_lde.capture import capture_code\nrow = capture_code()\n"
        "print(json.dumps([row.launch, row.working_directory]), file=sys.stderr)\n"
    )
    command = [sys.executable, *(word.format(script="train.py") for word in words)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    import json

    launch, directory = json.loads(done.stderr.splitlines()[-1])
    assert launch == {"kind": kind, "target": target, "options": options, "recorded_by": None}
    assert directory == "."


def test_the_command_line_is_the_one_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys\nfrom lightning_lde.capture import command_line\nsys.argv.pop(1)\nprint(*command_line()[1:])\n"
    )
    for words in (["program.py"], ["-X", "dev", "program.py"], ["-m", "program"], ["-c", "import program"]):
        command = [sys.executable, *words, "lake", "fit", "-c", "1"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["lake", "fit", "-c", "1"]
