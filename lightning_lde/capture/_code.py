"""The code a run is started from: the state of its git repository and its entry point."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_lde.capture._access import clean_text, get
from lightning_lde.capture._launch import command_line, describe_launch, in_notebook
from lightning_lde.capture._repository import Repository
from lightning_lde.capture._snapshot import Snapshot, extend_snapshot, take_snapshot
from lightning_lde.capture._used import (
    imported_sources,
    is_output,
    is_shared_folder,
    is_source,
    named_settings,
    start_of,
    used_sources,
)
from lightning_lde.schema import Code, content_id, utc_now

_NEAR = 3


class CapturedCode(NamedTuple):
    """The code of a program.

    Attributes:
        row: The row of the table ``code``.
        snapshot: The bytes of the object that ``row.snapshot_object`` names, None where there is none.
    """

    row: Code
    snapshot: bytes | None


def capture_code(entry_point: str | None = None) -> Code:
    """Describe the repository in which the entry point lies, and the entry point itself.

    Without git, or outside a repository, the facts of git are None. Credentials are taken out of the
    remote's address and the diff; paths are relative to the repository, or else to the entry point's folder.

    Args:
        entry_point: The program's file; None for the one this process runs. For an installed program
            (``pytest``, ``lightning``) and in a notebook the repository is that of the working directory.

    Returns:
        The row; its id covers all fields but ``recorded_at`` and ``snapshot_object``.
    """
    return capture_sources(entry_point).row


def capture_sources(entry_point: str | None = None, *, hide: Callable[[str], str] = str) -> CapturedCode:
    """What `capture_code` finds, together with the text of the sources that git does not keep.

    These are the entry point, what it imported from outside of installed packages, and settings that the command line
    names. In a repository only what it does not track is taken of them, and further the sources that it neither tracks
    nor ignores; elsewhere all sources of the program's folder if that is a project.

    Args:
        entry_point: The program's file; None for the one this process runs.
        hide: Takes out of the snapshot's names and texts what does not look like a secret and is known to be one.

    Returns:
        The row and the snapshot that it names.
    """
    program = _program(entry_point)
    home = _home(program, given=entry_point is not None)
    repository = Repository(home)
    root = repository.root or _root_without_git(program, home)
    # The command line of a notebook is that of its kernel, and names a file with the key of its connections.
    words = [] if entry_point is not None or in_notebook() is not None else command_line()[1:]
    snapshot = _snapshot(program, repository, root, words, hide)
    facts: dict[str, Any] = {
        "commit": repository.ask("rev-parse", "--verify", "-q", "HEAD"),
        "branch": repository.ask("symbolic-ref", "--short", "-q", "HEAD"),
        "remote": repository.remote(),
        "dirty": repository.is_dirty(),
        "diff": repository.diff(),
        "entry_point": None if program is None else _name(program, root),
        "entry_point_hash": None if program is None else _hash(program),
        "working_directory": _working_directory(root),
        "launch": describe_launch(program, root) if entry_point is None else {},
        "untracked": snapshot.files,
    }
    return _captured(facts, snapshot)


def source_folders() -> tuple[Path, Path] | None:
    """The folder that names of sources are relative to, and the program's; None where there is neither.

    Asked when the code is captured: a program may change its working directory.
    """
    program = _program(None)
    home = _home(program, given=False)
    root = Repository(home).root or _root_without_git(program, home)
    return None if root is None else (root, start_of(program, root))


def with_later_imports(
    code: CapturedCode, folders: tuple[Path, Path], *, hide: Callable[[str], str] = str
) -> CapturedCode | None:
    """The code of this process with the modules that it imported since then; files that are known stay as they were.

    Args:
        code: What `capture_sources` found in this process.
        folders: What `source_folders` found then.
        hide: As for `capture_sources`.

    Returns:
        The larger code, None where nothing was imported that belongs to it.
    """
    root, start = folders
    imported = {clean_text(name): path for name, path in imported_sources(root, start)}
    if (repository := Repository(root)).root == root:
        imported = _not_tracked(repository, root, imported)
    snapshot = extend_snapshot(Snapshot(code.row.untracked, code.snapshot), imported, hide)
    if snapshot is None:
        return None
    facts = {field.name: getattr(code.row, field.name) for field in dataclasses.fields(code.row)}
    for name in ("code_id", "recorded_at", "snapshot_object"):
        del facts[name]
    return _captured({**facts, "untracked": snapshot.files}, snapshot)


def _captured(facts: dict[str, Any], snapshot: Snapshot) -> CapturedCode:
    row = Code(code_id=content_id("code", facts), recorded_at=utc_now(), snapshot_object=snapshot.object_id, **facts)
    return CapturedCode(row, snapshot.archive)


def _root_without_git(program: Path | None, home: Path | None) -> Path | None:
    """The working directory where the program lies a little below it, else the program's folder."""
    if program is None or home is None:
        return home
    try:
        here = Path.cwd()
        near = program.is_relative_to(here) and len(program.relative_to(here).parts) <= _NEAR
        return here if near and here != Path(here.anchor) else home
    except (OSError, RuntimeError):
        return home


def _snapshot(
    program: Path | None,
    repository: Repository,
    root: Path | None,
    words: Sequence[str],
    hide: Callable[[str], str],
) -> Snapshot:
    notes: list[str] = []
    try:
        if root is None:
            return Snapshot([], None)
        if repository.root is None:
            return take_snapshot(used_sources(program, root, words, notes), hide, notes)
        return take_snapshot(_outside_of_commits(repository, program, root, words, notes), hide, notes)
    except Exception:
        # A folder that changes meanwhile, or cannot be read: the rest is worth having.
        return Snapshot([], None)


def _outside_of_commits(
    repository: Repository, program: Path | None, root: Path, words: Sequence[str], notes: list[str]
) -> dict[str, Path]:
    """What git does not track: of what the program uses, also what it ignores, and other sources, if it does not."""
    used = {} if program is None or not program.is_relative_to(root) else {_name(program, root): program}
    for name, path in (*named_settings(words, root), *imported_sources(root, start_of(program, root), notes)):
        used.setdefault(clean_text(name), path)
    untracked = {
        clean_text(path.relative_to(root).as_posix()): path
        for path in repository.untracked()
        if is_source(path) and not is_output(path, root)
    }
    if is_shared_folder(root):
        # A home under git: most of what is not tracked there has nothing to do with the program.
        known = used_sources(program, root, words)
        untracked = {name: path for name, path in untracked.items() if name in known}
    return {**_not_tracked(repository, root, used), **untracked}


def _not_tracked(repository: Repository, root: Path, files: dict[str, Path]) -> dict[str, Path]:
    """Files that no commit of a repository brings back: those that it does not track, and those from elsewhere."""
    tracked = repository.tracked(path for path in files.values() if path.is_relative_to(root))
    return {
        name: path
        for name, path in files.items()
        if not path.is_relative_to(root) or (path not in tracked and name == _name(path, root))
    }


def _working_directory(root: Path | None) -> str | None:
    try:
        here = Path.cwd()
    except OSError:
        return None
    return clean_text(here.relative_to(root).as_posix()) if root is not None and here.is_relative_to(root) else None


def _program(entry_point: str | None) -> Path | None:
    main = get(sys.modules.get("__main__"), "__file__")
    candidates = [entry_point] if entry_point is not None else [sys.argv[0] if sys.argv else None, main]
    for candidate in candidates:
        try:
            if candidate and Path(candidate).is_file():
                return Path(candidate).resolve()
        except (OSError, TypeError, ValueError):
            continue
    return None


def _home(program: Path | None, *, given: bool) -> Path | None:
    try:
        here = Path.cwd()
    except OSError:
        return None if program is None else program.parent
    if program is None:
        return here
    installed = any(program.is_relative_to(Path(prefix).resolve()) for prefix in {sys.prefix, sys.base_prefix})
    return here if installed and not given else program.parent


def _name(program: Path, root: Path | None) -> str:
    inside = root is not None and program.is_relative_to(root)
    return clean_text(program.relative_to(root).as_posix() if inside and root is not None else program.name)


def _hash(program: Path) -> str | None:
    try:
        return hashlib.sha256(program.read_bytes()).hexdigest()
    except OSError:
        return None
