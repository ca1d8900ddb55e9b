"""A folder with the code of a run as it was: the commit, the uncommitted changes, the files of no commit."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce._changes import is_binary, is_cut, parts_of
from lightning_lde.reproduce._facts import Row
from lightning_lde.reproduce._git import git
from lightning_lde.reproduce._modules import bring_modules, modules_of

_LARGEST_UNPACKED_BYTES = 64 << 20
_MOST_MEMBERS = 10_000
_PATH_REMOTE = "<path>/"
_HIDDEN = ("<redacted>", "<user", "<host", "<email")
# Of these, the entry point is a file of the code's.
_STARTED_FROM_A_FILE = {None, "script", "module"}


def write_code(
    folder: Path,
    code: Row,
    *,
    repository: Path | None,
    snapshot: bytes | None,
    links: Sequence[str] = (),
    restore: Callable[[str], str] = str,
) -> list[str]:
    """Bring the code of a run into an empty folder.

    Args:
        folder: Where to; made if it is not there.
        code: The row of the table ``code``.
        repository: The repository that has the commit; nothing is changed in it. None where there is no commit.
        snapshot: The archive with the files that no commit holds, None where there is none.
        links: Paths below the repository, or below the working directory, that are linked into the folder, such as
            data that no commit holds.
        restore: Makes of a text with pseudonyms what it may have been. It is taken for a file of the snapshot if the
            file has the recorded hash then.

    Returns:
        What is not as it was.

    Raises:
        ReproductionError: If the folder is not empty, or the code cannot be brought back.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ReproductionError(f"{folder} is not empty: name a folder that is, or one that does not exist")
    folder.mkdir(parents=True, exist_ok=True)
    if code.get("commit") and repository is not None:
        modules = modules_of(repository, str(code["commit"]), code.get("diff"))
        _clone(repository, folder, code)
        _apply(folder, code.get("diff"))
        bring_modules(folder, [module for module in modules if module.path not in links])
        _clear(folder, {module.path for module in modules} & set(links))
    if snapshot is not None:
        unpack(snapshot, folder)
        _restore(folder, code, restore)
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
    text = "".join(part for part in parts_of(diff) if not is_binary(part))
    if not text:
        return
    try:
        git(folder, "apply", "--index", "--whitespace=nowarn", "-", text=text)
    except ReproductionError as error:
        is_changed = any(mark in text for mark in _HIDDEN)
        hint = "; what looked like a secret, or a name, was replaced in them" if is_changed else ""
        raise ReproductionError(f"the recorded changes do not fit the commit{hint}: {error}") from error


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


def _clear(folder: Path, modules: set[str]) -> None:
    """Take the empty folders away in whose place something is linked."""
    for path in modules:
        with contextlib.suppress(OSError):
            (folder / path).rmdir()


def _restore(folder: Path, code: Row, restore: Callable[[str], str]) -> None:
    for row in code.get("untracked") or []:
        file = folder / str(row["path"])
        inside = file.resolve().is_relative_to(folder.resolve()) and not file.is_symlink()
        if not row["sha256"] or not inside or not file.is_file() or _hash(file.read_bytes()) == row["sha256"]:
            continue
        with contextlib.suppress(UnicodeDecodeError):
            text = restore(file.read_bytes().decode("utf-8")).encode()
            if _hash(text) == row["sha256"]:
                file.write_bytes(text)


def _not_as_it_was(folder: Path, code: Row) -> list[str]:
    found = []
    expected = {row["path"]: row for row in code.get("untracked") or [] if row["sha256"]}
    for path, row in expected.items():
        file = folder / path
        if row["note"] == "cells that were run":
            continue
        if any(mark in path for mark in _HIDDEN):
            found.append(f"{path} has a name that is not known here: whether it is as it was is not checked")
        elif not file.is_file():
            found.append(f"{path} is missing: {row['note'] or 'it is not in the snapshot'}")
        elif _hash(file.read_bytes()) != row["sha256"]:
            found.append(f"{path} is not as it was: {row['note'] or 'its content has another hash'}")
    entry, recorded = code.get("entry_point"), code.get("entry_point_hash")
    is_file = (code.get("launch") or {}).get("kind") in _STARTED_FROM_A_FILE and entry not in expected
    if entry and recorded and is_file and (folder / entry).is_file():
        is_same = _hash((folder / entry).read_bytes()) == recorded
        found += [] if is_same else [f"{entry} is not as it was when it was started: its content has another hash"]
    return found


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
