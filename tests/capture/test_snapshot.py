"""The snapshot: what no commit holds, as text without secrets, in an archive that depends on nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import pytest

from lightning_lde.capture import _used, capture_sources, rewritten_snapshot
from lightning_lde.capture._access import get
from lightning_lde.capture._snapshot import CELLS, LARGEST_FILE_BYTES, notebook_cells
from lightning_lde.capture._used import ELSEWHERE, used_sources


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def members(archive: bytes | None) -> dict[str, str]:
    assert archive is not None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: tar.extractfile(one).read().decode() for one in tar}  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def _only_what_a_test_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the tests are no part of a program that one of them describes."""
    tests = str(Path(__file__).resolve().parents[1])
    for name, module in list(sys.modules.items()):
        if str(get(module, "__file__")).startswith(tests):
            monkeypatch.delitem(sys.modules, name)


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
    (repository / "password.yaml").write_text("hunter2secret\n")
    row, archive = capture_sources(str(repository / "train.py"))
    assert members(archive) == {"helper.py": "api_key = '<redacted>'\n"}
    assert [(one["path"], one["in_snapshot"], one["note"]) for one in row.untracked] == [
        ("helper.py", True, "redacted"),
        ("password.yaml", False, "named like a secret"),
    ]
    assert b"hunter2" not in (archive or b"")


def test_what_is_known_to_be_a_secret_is_taken_out_of_names_and_texts(repository: Path) -> None:
    (repository / "of_correcthorse.py").write_text("connect('correcthorse')\n")
    hide = lambda text: text.replace("correcthorse", "#")  # noqa: E731
    row, archive = capture_sources(str(repository / "train.py"), hide=hide)
    assert members(archive) == {"of_#.py": "connect('#')\n"}
    assert [(one["path"], one["note"]) for one in row.untracked] == [("of_#.py", "redacted")]


def test_an_archive_is_written_again_only_where_something_changes(repository: Path) -> None:
    (repository / "a.py").write_text("X = 1\n")
    (repository / "b.py").write_text("Y = 1\n")
    _, archive = capture_sources(str(repository / "train.py"))
    assert archive is not None
    same, changed = rewritten_snapshot(archive, lambda text: text.replace("Z", "z"))
    assert same is archive
    assert changed == set()
    other, changed = rewritten_snapshot(archive, lambda text: text.replace("X", "x"))
    assert changed == {"a.py"}
    assert members(other) == {"a.py": "x = 1\n", "b.py": "Y = 1\n"}
    (repository / "a.py").write_text("x = 1\n")
    assert capture_sources(str(repository / "train.py")).snapshot == other
    for broken in (b"", b"no archive", archive[:-20]):
        with pytest.raises(ValueError, match="cannot be unpacked"):
            rewritten_snapshot(broken, str)


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


def test_untracked_texts_that_are_no_sources_stay_out(repository: Path) -> None:
    for name in ("letter.txt", "requirements.txt", "notes.md"):
        (repository / name).write_text("words\n")
    _, archive = capture_sources(str(repository / "train.py"))
    assert list(members(archive)) == ["requirements.txt"]


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everybody's things, not under git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "folder"
    put(folder, "train.py", "helper.py", "private.py", "letter.yaml", "other/plans.py", "used/__init__.py")
    monkeypatch.chdir(folder)
    put(folder, "used/deep/lazy.py", "used/defaults.yaml", "bare/one.py", "bare/two.py", "bare/below/three.py")
    return folder


def kept(program: Path) -> dict[str, str]:
    """What is in the snapshot of a program, apart from the modules of this test."""
    kept_files = members(capture_sources(str(program)).snapshot)
    return {name: text for name, text in kept_files.items() if not name.startswith(f"{ELSEWHERE}/")}


def imports(monkeypatch: pytest.MonkeyPatch, name: str, file: Path | str) -> None:
    module = types.ModuleType(name)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)


def test_without_git_a_program_alone_is_all_that_is_kept(outside: Path) -> None:
    row = capture_sources(str(outside / "train.py")).row
    assert list(kept(outside / "train.py")) == ["train.py"]
    assert (row.commit, row.entry_point) == (None, "train.py")


@pytest.mark.parametrize("mark", ["pyproject.toml", "setup.py", "setup.cfg", "requirements-dev.txt"])
def test_of_a_project_all_sources_are_kept(outside: Path, mark: str) -> None:
    put(outside, mark)
    assert {mark, "train.py", "private.py", "letter.yaml", "other/plans.py"} <= set(kept(outside / "train.py"))


def test_a_home_is_no_project(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(outside, "requirements.txt")
    monkeypatch.setenv("HOME", str(outside))
    assert list(kept(outside / "train.py")) == ["train.py"]


def test_of_a_home_under_git_only_what_is_used_is_kept(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(outside, "init", "-q")
    monkeypatch.setenv("HOME", str(outside))
    imports(monkeypatch, "helper", outside / "helper.py")
    assert sorted(kept(outside / "train.py")) == ["helper.py", "train.py"]


def test_imported_modules_are_kept_with_their_packages(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imports(monkeypatch, "helper", outside / "helper.py")
    imports(monkeypatch, "used", outside / "used" / "__init__.py")
    imports(monkeypatch, "bare.one", outside / "bare" / "one.py")
    package = ["used/__init__.py", "used/deep/lazy.py", "used/defaults.yaml"]
    assert sorted(kept(outside / "train.py")) == ["bare/one.py", "bare/two.py", "helper.py", "train.py", *package]


def test_libraries_and_tools_are_not_the_users(outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = outside / "venv" / "lib" / "site-packages" / "library.py"
    put(library.parent, "library.py")
    put(tmp_path, "ide/pydevd.py", ".vscode/extension.py")
    imports(monkeypatch, "library", library)
    imports(monkeypatch, "pydevd", tmp_path / "ide" / "pydevd.py")
    imports(monkeypatch, "extension", tmp_path / ".vscode" / "extension.py")
    assert list(kept(outside / "train.py")) == ["train.py"]


def test_modules_from_elsewhere_have_a_folder_of_their_own(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "libraries/mine/__init__.py", "libraries/mine/part.py", "libraries/others.py", "libraries/single.py")
    imports(monkeypatch, "mine", tmp_path / "libraries" / "mine" / "__init__.py")
    imports(monkeypatch, "single", tmp_path / "libraries" / "single.py")
    found = used_sources(outside / "train.py", outside)
    elsewhere = {name for name in found if name.startswith(f"{ELSEWHERE}/")}
    expected = {f"{ELSEWHERE}/mine/__init__.py", f"{ELSEWHERE}/mine/part.py", f"{ELSEWHERE}/single.py"}
    assert {name for name in elsewhere if found[name].is_relative_to(tmp_path)} == expected


def test_data_beside_sources_do_not_count(outside: Path) -> None:
    put(outside, "pyproject.toml", "models/net.py")
    (outside / "data").mkdir()
    for number in range(5100):
        (outside / "data" / f"{number}.npy").touch()
    found = kept(outside / "train.py")
    assert {"models/net.py", "train.py"} <= set(found)
    assert not any(name.startswith("data/") for name in found)


@pytest.mark.parametrize(("limit", "words"), [("_MOST_SOURCES", "only 3 are listed"), ("_MOST_ENTRIES", "more than 3")])
def test_what_is_not_listed_is_said(outside: Path, monkeypatch: pytest.MonkeyPatch, limit: str, words: str) -> None:
    put(outside, "pyproject.toml", "a/1.py", "b/2.py", "c/3.py")
    assert "…" not in [one["path"] for one in capture_sources(str(outside / "train.py")).row.untracked]
    monkeypatch.setattr(_used, limit, 3)
    last = capture_sources(str(outside / "train.py")).row.untracked[-1]
    assert (last["path"], last["in_snapshot"]) == ("…", False)
    assert words in last["note"]
    assert "folder" not in last["note"].split()  # the same on a machine where it has another name


def recorded_by(folder: Path, *words: str, **variables: str) -> dict[str, Any]:
    """What a process of its own finds of its code, at its beginning and later."""
    command = [sys.executable, *words]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


LATER = """
import io, json, sys, tarfile
from lightning_lde import capture
import helper

def names(code):
    return sorted(tarfile.open(fileobj=io.BytesIO(code.snapshot)).getnames())

folders, first = capture.source_folders(), capture.capture_sources()
assert capture.with_later_imports(first, folders) is None
open("helper.py", "a").write("# changed meanwhile")
open("written.yaml", "w").write("a: 1")
import used
later = capture.with_later_imports(first, folders)
text = tarfile.open(fileobj=io.BytesIO(later.snapshot)).extractfile("helper.py").read().decode()
differ = later.row.code_id != first.row.code_id and later.row.snapshot_object != first.row.snapshot_object
print(json.dumps({"first": names(first), "later": names(later), "helper": text, "differ": differ}))
"""


def test_modules_that_are_imported_later_are_added(outside: Path) -> None:
    (outside / "train.py").write_text(LATER)
    found = recorded_by(outside, "train.py")
    assert found["first"] == ["helper.py", "train.py"]
    assert found["later"] == ["helper.py", "train.py", "used/__init__.py", "used/deep/lazy.py", "used/defaults.yaml"]
    assert found["helper"] == "# helper.py\n"
    assert found["differ"]


NAMED = """
import json
from lightning_lde.capture import capture_sources, rewritten_snapshot
print(json.dumps({"untracked": [[one["path"], one["in_snapshot"]] for one in capture_sources().row.untracked]}))
"""


@pytest.mark.parametrize("folder", ["checkpoints", "outputs", "tools/build", "tools/dist", "tools/wandb"])
def test_what_is_imported_is_kept_whatever_its_folder_is_called(outside: Path, folder: str) -> None:
    put(outside, f"{folder}/io.py", f"{folder}/form.py", f"{folder}/metrics.json", "lightning_logs/old.py")
    (outside / "train.py").write_text(f"import {folder.replace('/', '.')}.io\n{NAMED}")
    found = recorded_by(outside, "train.py")
    assert found["untracked"] == [[f"{folder}/form.py", True], [f"{folder}/io.py", True], ["train.py", True]]


def test_of_a_package_those_folders_are_kept_that_are_imported(outside: Path) -> None:
    put(outside, "used/checkpoints/io.py", "used/checkpoints/lazy.py", "used/outputs/table.py")
    (outside / "train.py").write_text(f"import used.checkpoints.io\n{NAMED}")
    names = ["used/__init__.py", "used/checkpoints/io.py", "used/checkpoints/lazy.py", "used/deep/lazy.py"]
    assert [name for name, _ in recorded_by(outside, "train.py")["untracked"]] == [
        *("train.py", *names, "used/defaults.yaml")
    ]


def test_in_a_repository_what_git_ignores_is_kept_where_it_is_imported(repository: Path) -> None:
    (repository / ".gitignore").write_text("ignored.py\nlocal_settings.py\ncheckpoints/\n")
    (repository / "train.py").write_text(f"import checkpoints.io, helper, local_settings\n{NAMED}")
    put(repository, "helper.py", "local_settings.py", "ignored.py", "checkpoints/io.py", "checkpoints/last.json")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    assert recorded_by(repository, "train.py")["untracked"] == [
        ["checkpoints/io.py", True],
        ["local_settings.py", True],
    ]


def test_in_a_repository_a_program_that_git_ignores_is_kept(repository: Path) -> None:
    (repository / "ignored.py").write_text(NAMED)
    assert recorded_by(repository, "ignored.py")["untracked"] == [["ignored.py", True]]


def test_in_a_repository_modules_from_elsewhere_are_kept(repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text(f"import inside, shared\n{NAMED}")
    put(repository, "libraries/inside.py")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    put(tmp_path, "tools/shared.py", "tools/other.py")
    places = [str(repository / "libraries"), str(tmp_path / "tools"), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = recorded_by(repository, "train.py", PYTHONPATH=os.pathsep.join(places))
    # What the commit has needs no copy.
    assert found["untracked"] == [[f"{ELSEWHERE}/shared.py", True]]


def test_in_a_repository_modules_of_a_submodule_are_kept(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    put(other, "part.py")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "first")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", str(other), "sub")
    (repository / "train.py").write_text(f"import sub.part\n{NAMED}")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    assert recorded_by(repository, "train.py")["untracked"] == [["sub/part.py", True]]


LATER_IN_GIT = """
import json
from lightning_lde import capture

folders, first = capture.source_folders(), capture.capture_sources()
assert capture.with_later_imports(first, folders) is None
import helper, ignored
later = capture.with_later_imports(first, folders)
assert capture.with_later_imports(later, folders) is None
print(json.dumps([[one["path"] for one in code.row.untracked] for code in (first, later)]))
"""


def test_in_a_repository_modules_that_are_imported_later_are_added(repository: Path) -> None:
    (repository / "train.py").write_text(LATER_IN_GIT)
    put(repository, "helper.py", "ignored.py")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    done = subprocess.run([sys.executable, "train.py"], cwd=repository, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[], ["ignored.py"]]


@pytest.mark.parametrize("words", [["settings/run.yaml"], ["--config", "settings/run.yaml"], ["c=settings/run.yaml"]])
def test_settings_that_the_command_line_names_are_kept(outside: Path, words: list[str]) -> None:
    (outside / "train.py").write_text(NAMED)
    put(outside, "settings/run.yaml", "settings/other.yaml", "table.csv")
    found = recorded_by(outside, "train.py", *words, "table.csv", "0.1")
    assert found["untracked"] == [["settings/run.yaml", True], ["train.py", True]]


def test_settings_that_the_program_names_are_kept(outside: Path) -> None:
    names = "NAMES = ('settings/run.yaml', 'table.csv', 'gone.json', '../far.ini')"
    (outside / "train.py").write_text(f"{names}\n{NAMED}")
    put(outside, "settings/run.yaml", "settings/other.yaml", "table.csv", "../far.ini")
    found = recorded_by(outside, "train.py")
    assert found["untracked"] == [["settings/run.yaml", True], ["train.py", True]]


def test_settings_of_the_working_directory_are_kept_where_the_program_is_elsewhere(
    outside: Path, tmp_path: Path
) -> None:
    (outside / "train.py").write_text(NAMED)
    put(tmp_path, "there/run.toml", "there/further/run.json")
    found = recorded_by(
        tmp_path / "there", str(outside / "train.py"), "run.toml", str(tmp_path / "there/further/run.json")
    )
    assert found["untracked"] == [["further/run.json", True], ["run.toml", True], ["train.py", True]]


def test_of_settings_from_anywhere_a_copy_is_kept(outside: Path, tmp_path: Path) -> None:
    (outside / "train.py").write_text(NAMED)
    put(tmp_path, "far/run.json")
    found = recorded_by(outside, "train.py", str(tmp_path / "far" / "run.json"))
    assert found["untracked"] == [[f"{ELSEWHERE}/run.json", True], ["train.py", True]]


def test_settings_that_git_ignores_are_kept_where_the_command_line_names_them(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.yaml\n")
    (repository / "train.py").write_text(NAMED)
    put(repository, "tracked.toml", "named.yaml", "other.yaml")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    found = recorded_by(repository, "train.py", "named.yaml", "tracked.toml")
    assert found["untracked"] == [["named.yaml", True]]


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


def test_cells_as_ipython_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Written by IPython 9: what it makes of `%time x = 1`, `!ls`, `files = !ls`, `%%time`, `%%bash` and `x?`.
    kept_by_ipython = [
        "",
        "get_ipython().run_line_magic('time', 'x = 1')",
        "get_ipython().system('ls')\nfiles = get_ipython().getoutput('ls')",
        "get_ipython().run_cell_magic('time', '', 'y = x + 1\\n')",
        "get_ipython().run_cell_magic('bash', '', 'exit 1\\n')",
        "get_ipython().run_line_magic('pinfo', 'x')",
        "z = y + 1",
    ]
    shell = types.SimpleNamespace(user_ns={"In": kept_by_ipython})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    scope: dict[str, object] = {}
    exec(compile(notebook_cells(), CELLS, "exec"), scope)
    assert (scope["x"], scope["y"], scope["z"], scope["files"]) == (1, 2, 3, None)


KERNEL = """
import json, sys
from lightning_lde import capture
import helper
%time x = 1
!echo words of a shell
code = capture.capture_sources()
"""


def test_a_real_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    put(tmp_path, "helper.py", "private.py", "other.json")
    paths = "[one['path'] for one in code.row.untracked]"
    show = f"print(json.dumps([{paths}, code.row.launch['kind'], capture.command_line()]))"
    cells = [nbformat.v4.new_code_cell(text) for text in (KERNEL, show)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kept_paths, kind, words = json.loads(notebook.cells[1].outputs[0]["text"])
    # The file of the kernel's connections, which its command line names, has a key in it.
    assert any(word.endswith(".json") for word in words)
    assert (kept_paths, kind) == (["helper.py", CELLS], "notebook")


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
