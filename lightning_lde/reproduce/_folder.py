"""A folder with the code of a run as it was: the commit, the uncommitted changes, the files of no commit."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce._facts import Row

_LARGEST_UNPACKED_BYTES = 64 << 20
_MOST_MEMBERS = 10_000
_TIMEOUT_S = 300.0
_PATH_REMOTE = "<path>/"
_BINARY = re.compile(r"^Binary files .* differ$", re.MULTILINE)
_CUT = re.compile(r"^<diff cut here after \d+ characters>$", re.MULTILINE)


def write_code(
    folder: Path, code: Row, *, repository: Path | None, snapshot: bytes | None, links: Sequence[str] = ()
) -> list[str]:
    """Bring the code of a run into an empty folder.

    Args:
        folder: Where to; made if it is not there.
        code: The row of the table ``code``.
        repository: The repository that has the commit; nothing is changed in it. None where there is no commit.
        snapshot: The archive with the files that no commit holds, None where there is none.
        links: Paths below the repository, or below the working directory, that are linked into the folder, such as
            data that no commit holds.

    Returns:
        What is not as it was.

    Raises:
        ReproductionError: If the folder is not empty, or the code cannot be brought back.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ReproductionError(f"{folder} is not empty: name a folder that is, or one that does not exist")
    folder.mkdir(parents=True, exist_ok=True)
    if code.get("commit") and repository is not None:
        _clone(repository, folder, code)
        _apply(folder, code.get("diff"))
    if snapshot is not None:
        unpack(snapshot, folder)
    for link in links:
        _link(folder, link, (repository or Path.cwd()).absolute())
    return _not_as_it_was(folder, code)


def unpack(archive: bytes, folder: Path) -> list[str]:
    """Unpack the plain files of a ``tar.gz``; anything that could reach outside of the folder is refused.

    Args:
        archive: The archive.
        folder: Where to.

    Returns:
        The paths of the files, relative to the folder.

    Raises:
        ReproductionError: If a member is no plain file, has an absolute path or one with ``..``, would be written
            through a link, or the archive is damaged or too large. Nothing is written then.
    """
    files: dict[str, tuple[bytes, int]] = {}
    room = _LARGEST_UNPACKED_BYTES
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for member in tar:
                room -= member.size
                if room < 0 or len(files) >= _MOST_MEMBERS:
                    raise ReproductionError(f"the snapshot is larger than {_LARGEST_UNPACKED_BYTES} bytes unpacked")
                _check_member(member, folder)
                content = tar.extractfile(member)
                files[member.name] = (b"" if content is None else content.read(), member.mode & 0o777)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, ReproductionError):
            raise
        raise ReproductionError(f"the snapshot is damaged: {error}") from error
    for name, (data, mode) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600 | mode)
    return sorted(files)


def binary_changes(diff: str | None) -> list[str]:
    """Files whose changes a diff names without holding them."""
    return [_name_of(part) for part in _parts(diff) if _BINARY.search(part)]


def is_cut(diff: str | None) -> bool:
    """Whether a diff was too large to be kept as a whole."""
    return diff is not None and _CUT.search(diff) is not None


def git(folder: Path, *words: str, text: str | None = None) -> str:
    """The answer of git, without hooks.

    Raises:
        ReproductionError: If git is missing or refuses.
    """
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", *words]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ReproductionError(f"git {words[0]} did not work: {error}") from error
    if done.returncode:
        raise ReproductionError(f"git {words[0]} did not work: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def _clone(repository: Path, folder: Path, code: Row) -> None:
    # Shared: also a commit that no branch leads to any more can be checked out, and nothing is copied.
    git(folder, "clone", "--quiet", "--shared", "--no-checkout", "--template=", str(repository), str(folder))
    branch = code.get("branch")
    where = ["-B", str(branch)] if branch else ["--detach"]
    git(folder, "checkout", "--quiet", *where, str(code["commit"]))
    remote = code.get("remote")
    if remote is None:
        git(folder, "remote", "remove", "origin")
    elif not str(remote).startswith(_PATH_REMOTE):
        git(folder, "remote", "set-url", "origin", str(remote))
    else:
        git(folder, "remote", "set-url", "origin", f"/{str(remote).removeprefix(_PATH_REMOTE)}")


def _apply(folder: Path, diff: str | None) -> None:
    if is_cut(diff):
        raise ReproductionError("the uncommitted changes were too large to be recorded as a whole")
    text = "".join(part for part in _parts(diff) if not _BINARY.search(part))
    if not text:
        return
    try:
        git(folder, "apply", "--index", "--whitespace=nowarn", "-", text=text)
    except ReproductionError as error:
        hint = "; what looked like a secret was replaced in it" if "<redacted>" in text else ""
        raise ReproductionError(f"the recorded changes do not fit the commit{hint}: {error}") from error


def _parts(diff: str | None) -> list[str]:
    """The pieces of a diff, one for each file."""
    return [part for part in re.split(r"(?m)^(?=diff --git )", diff or "") if part.startswith("diff --git ")]


def _name_of(part: str) -> str:
    return part.splitlines()[0].rpartition(" b/")[2]


def _check_member(member: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(member.name)
    wrong = None
    if not member.isreg():
        wrong = "is no plain file"
    elif path.is_absolute() or ".." in path.parts or not path.parts or "\\" in member.name or "\0" in member.name:
        wrong = "leads outside of the folder"
    elif path.parts[0] == ".git":
        wrong = "would change the repository itself"
    elif not (folder / path).parent.resolve().is_relative_to(folder.resolve()) or (folder / path).is_symlink():
        wrong = "would be written through a link"
    if wrong is not None:
        raise ReproductionError(f"the snapshot's member {member.name!r} {wrong}; nothing was unpacked")


def _link(folder: Path, link: str, base: Path) -> None:
    path = PurePosixPath(link)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ReproductionError(f"--link {link!r} is no path below {base}: give one such as data/images")
    source, target = base / path, folder / path
    if not source.exists():
        raise ReproductionError(f"--link {link!r}: there is no {source}")
    if target.exists() or target.is_symlink():
        raise ReproductionError(f"--link {link!r}: the code of the run has a file of that name")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def _not_as_it_was(folder: Path, code: Row) -> list[str]:
    found = []
    expected = {row["path"]: row for row in code.get("untracked") or [] if row["sha256"]}
    for path, row in expected.items():
        file = folder / path
        if row["note"] == "cells that were run":
            continue
        if not file.is_file():
            found.append(f"{path} is missing: {row['note'] or 'it is not in the snapshot'}")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != row["sha256"]:
            found.append(f"{path} is not as it was: {row['note'] or 'its content has another hash'}")
    return found
