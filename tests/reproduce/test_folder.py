"""The folder of a reproduction: the code as it was, and nothing that reaches outside."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_lde.capture import capture_sources
from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce import find_repository, unpack, write_code
from lightning_lde.reproduce._facts import Row

from .conftest import git


def archive(*members: tuple[str, bytes, dict[str, object]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data, facts in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for fact, value in facts.items():
                setattr(entry, fact, value)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


HOSTILE = {
    "absolute": ("/tmp/lde-was-here", b"x", {}),
    "above": ("../outside.py", b"x", {}),
    "hidden above": ("a/../../outside.py", b"x", {}),
    "link": ("link.py", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    "hard link": ("link.py", b"", {"type": tarfile.LNKTYPE, "linkname": "../secret"}),
    "device": ("null", b"", {"type": tarfile.CHRTYPE}),
    "pipe": ("pipe", b"", {"type": tarfile.FIFOTYPE}),
    "folder": ("folder", b"", {"type": tarfile.DIRTYPE}),
    "git": (".git/config", b"[core]\nfsmonitor = touch /tmp/x\n", {}),
    "through a link": ("away/x.py", b"x", {}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_write_nothing(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "away").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReproductionError, match="nothing was unpacked"):
        unpack(archive(("good.py", b"1\n", {}), HOSTILE[kind]), folder)
    assert [path.name for path in folder.iterdir()] == ["away"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "folder"]


def test_a_bomb_and_a_damaged_archive(tmp_path: Path) -> None:
    with pytest.raises(ReproductionError, match="larger"):
        unpack(archive(("zeros.py", b"\0" * (65 << 20), {})), tmp_path)
    with pytest.raises(ReproductionError, match="damaged"):
        unpack(archive(("a.py", b"1\n" * 5000, {}))[:-20], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A repository with changes of every kind: edited, added, deleted, renamed, untracked, odd names."""
    root = tmp_path / "project"
    (root / "pack").mkdir(parents=True)
    for name in ("train.py", "gone.py", "old name.py", "pack/größe.py"):
        (root / name).write_text(f"# {name}\n" * 20)
    git(root, "init", "-q", "-b", "feature/x")
    git(root, "remote", "add", "origin", "https://git.example/team/project.git")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    (root / "train.py").write_text((root / "train.py").read_text() + "last line without an end")
    (root / "pack" / "größe.py").write_text("print('ä')\r\nx = 1\n")
    git(root, "rm", "-q", "gone.py")
    git(root, "mv", "old name.py", "new name.py")
    (root / "added.py").write_text("A = 1\n")
    git(root, "add", "added.py")
    (root / "untracked.py").write_text("U = 1\n")
    return root


def code_of(root: Path) -> tuple[Row, bytes | None]:
    row, snapshot = capture_sources(str(root / "train.py"))
    return dict(vars(row)), snapshot


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_the_code_comes_back_as_it_was(changed: Path, tmp_path: Path) -> None:
    for setting in ("diff.noprefix", "diff.mnemonicPrefix", "core.quotepath"):
        git(changed, "config", setting, "true")
    row, snapshot = code_of(changed)
    before = git(changed, "status", "--porcelain"), git(changed, "branch", "--all"), git(changed, "worktree", "list")
    folder = tmp_path / "code"
    assert write_code(folder, row, repository=changed, snapshot=snapshot) == []
    assert contents(folder) == contents(changed)
    # Seen from inside it is the same code.
    assert capture_sources(str(folder / "train.py")).row.code_id == row["code_id"]
    after = git(changed, "status", "--porcelain"), git(changed, "branch", "--all"), git(changed, "worktree", "list")
    assert after == before


def test_a_commit_that_no_branch_leads_to(changed: Path, tmp_path: Path) -> None:
    row, snapshot = code_of(changed)
    git(changed, "commit", "-q", "--amend", "-a", "-m", "another")
    git(changed, "reflog", "expire", "--expire=now", "--all")
    assert find_repository(changed / "pack", row["commit"]) == changed
    write_code(tmp_path / "code", row, repository=changed, snapshot=snapshot)
    assert (tmp_path / "code" / "added.py").read_text() == "A = 1\n"


def test_hooks_do_not_run(changed: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    template = tmp_path / "template"
    for place in (changed / ".git" / "hooks", template / "hooks"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "post-checkout").write_text(f"#!/bin/sh\ntouch '{trace}'\n")
        (place / "post-checkout").chmod(0o755)
    git(changed, "config", "init.templateDir", str(template))
    row, snapshot = code_of(changed)
    write_code(tmp_path / "code", row, repository=changed, snapshot=snapshot)
    assert not trace.exists()


def test_what_cannot_come_back_is_told(changed: Path, tmp_path: Path) -> None:
    (changed / "untracked.py").write_text("api_key = 'hunter2secret'\n")
    row, snapshot = code_of(changed)
    notes = write_code(tmp_path / "code", row, repository=changed, snapshot=snapshot)
    assert notes == ["untracked.py is not as it was: redacted"]
    row["untracked"] = [{**row["untracked"][0], "in_snapshot": False, "note": "larger than 262144 bytes"}]
    notes = write_code(tmp_path / "other", row, repository=changed, snapshot=None)
    assert notes == ["untracked.py is missing: larger than 262144 bytes"]


def test_a_program_that_is_another_one_is_told(changed: Path, tmp_path: Path) -> None:
    row, snapshot = code_of(changed)
    row["diff"] = None
    [note] = write_code(tmp_path / "code", row, repository=changed, snapshot=snapshot)
    assert note == "train.py is not as it was when it was started: its content has another hash"


def test_files_under_pseudonyms_come_back_where_their_hash_says_so(changed: Path, tmp_path: Path) -> None:
    (changed / "untracked.py").write_text("OWNER = 'ann'\n")
    row, _ = code_of(changed)
    hidden = archive(("untracked.py", b"OWNER = '<user-0123456789ab>'\n", {}))

    def restore(name: str) -> Callable[[str], str]:
        return lambda text: text.replace("<user-0123456789ab>", name)

    assert write_code(tmp_path / "a", row, repository=changed, snapshot=hidden, restore=restore("ann")) == []
    assert (tmp_path / "a" / "untracked.py").read_text() == "OWNER = 'ann'\n"
    [note] = write_code(tmp_path / "b", row, repository=changed, snapshot=hidden, restore=restore("bob"))
    assert note.startswith("untracked.py is not as it was")
    assert "<user-" in (tmp_path / "b" / "untracked.py").read_text()


def test_a_diff_that_does_not_fit(changed: Path, tmp_path: Path) -> None:
    row, _ = code_of(changed)
    row["diff"] = row["diff"].replace("# train.py", "# <redacted>")
    with pytest.raises(ReproductionError, match="looked like a secret"):
        write_code(tmp_path / "code", row, repository=changed, snapshot=None)
    row["diff"] = "diff --git a/x b/x\n<diff cut here after 1000000 characters>\n"
    with pytest.raises(ReproductionError, match="too large"):
        write_code(tmp_path / "other", row, repository=changed, snapshot=None)


def test_a_folder_in_use_is_left_alone(changed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    row, _ = code_of(changed)
    with pytest.raises(ReproductionError, match="not empty"):
        write_code(tmp_path / "mine", row, repository=changed, snapshot=None)


@pytest.mark.parametrize("link", ["/etc", "../project", "missing", "train.py"])
def test_links_that_do_not_fit(changed: Path, tmp_path: Path, link: str) -> None:
    row, _ = code_of(changed)
    with pytest.raises(ReproductionError, match="--link"):
        write_code(tmp_path / "code", row, repository=changed, snapshot=None, links=[link])
