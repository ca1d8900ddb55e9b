"""The code a run is started from: the state of its git repository and its entry point."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_lde.capture._access import clean_text, get
from lightning_lde.capture._launch import command_line, describe_launch, in_notebook
from lightning_lde.capture._redaction import redact_text
from lightning_lde.capture._snapshot import Snapshot, extend_snapshot, take_snapshot
from lightning_lde.capture._used import (
    imported_sources,
    is_output,
    is_shared_folder,
    is_source,
    named_settings,
    used_sources,
)
from lightning_lde.schema import Code, content_id, utc_now

_MAX_DIFF = 1_000_000
_NEAR = 3
_TIMEOUT_S = 10.0
_USER_INFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@")
_NO_SURPRISES = ("--no-pager", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
_DIFF = (
    *("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty"),
    # Whatever the user has set: it shall apply to a clone.
    *("--full-index", "--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--submodule=short"),
)


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


def capture_sources(entry_point: str | None = None) -> CapturedCode:
    """What `capture_code` finds, together with the text of the sources that git does not keep.

    Inside a repository these are the sources that it neither tracks nor ignores; elsewhere the entry point and what it
    imported from outside of installed packages, and all sources of its folder if that is a project. Settings that the
    command line names belong to both.

    Args:
        entry_point: The program's file; None for the one this process runs.

    Returns:
        The row and the snapshot that it names.
    """
    program = _program(entry_point)
    home = _home(program, given=entry_point is not None)
    repository = _Repository(home)
    root = repository.root or _root_without_git(program, home)
    # The command line of a notebook is that of its kernel, and names a file with the key of its connections.
    words = [] if entry_point is not None or in_notebook() is not None else command_line()[1:]
    snapshot = _snapshot(program, repository, root, words)
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
    """The folder that names of sources are relative to, and the program's; None in a repository of git.

    Asked when the code is captured: a program may change its working directory.
    """
    program = _program(None)
    home = _home(program, given=False)
    root = None if _Repository(home).root is not None else _root_without_git(program, home)
    if root is None:
        return None
    return root, program.parent if program is not None and program.is_relative_to(root) else root


def with_later_imports(code: CapturedCode, folders: tuple[Path, Path]) -> CapturedCode | None:
    """The code of this process with the modules that it imported since then; files that are known stay as they were.

    Args:
        code: What `capture_sources` found in this process.
        folders: What `source_folders` found then.

    Returns:
        The larger code, None where nothing was imported that belongs to it.
    """
    imported = {clean_text(name): path for name, path in imported_sources(*folders)}
    snapshot = extend_snapshot(Snapshot(code.row.untracked, code.snapshot), imported)
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


def _snapshot(program: Path | None, repository: _Repository, root: Path | None, words: Sequence[str]) -> Snapshot:
    try:
        if root is None:
            return Snapshot([], None)
        used = used_sources(program, root, words)
        return take_snapshot(used if repository.root is None else _outside_of_commits(repository, root, used, words))
    except Exception:
        # A folder that changes meanwhile, or cannot be read: the rest is worth having.
        return Snapshot([], None)


def _outside_of_commits(
    repository: _Repository, root: Path, used: dict[str, Path], words: Sequence[str]
) -> dict[str, Path]:
    """What git does not track: sources that it does not ignore either, and settings that the command line names."""
    untracked = {
        clean_text(path.relative_to(root).as_posix()): path
        for path in repository.untracked()
        if is_source(path) and not is_output(path, root)
    }
    if is_shared_folder(root):
        # A home under git: most of what is not tracked there has nothing to do with the program.
        untracked = {name: path for name, path in untracked.items() if name in used}
    named = {clean_text(name): path for name, path in named_settings(words, root)}
    tracked = repository.tracked(path for path in named.values() if path.is_relative_to(root))
    return {**{name: path for name, path in named.items() if path not in tracked}, **untracked}


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


class _Repository:
    """Questions to git about the repository of a folder; every answer may be None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.root: Path | None = None
        if root := self.ask("rev-parse", "--show-toplevel"):
            self._folder = self.root = Path(root)
        else:
            self._folder = None

    def ask(self, *question: str) -> str | None:
        """The answer as one stripped text, None if it is empty or git refuses."""
        answer = self._run(*question)
        return (answer.strip() or None) if answer is not None else None

    def is_dirty(self) -> bool | None:
        """Whether a tracked file differs from the commit."""
        status = self._run("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
        return None if status is None else bool(status.strip())

    def diff(self) -> str | None:
        """The difference to the commit, redacted, at most 1,000,000 characters."""
        text = self._raw_diff() if self.is_dirty() else None
        if not text:
            return None
        text = redact_text(text)
        if len(text) <= _MAX_DIFF:
            return text
        return f"{text[:_MAX_DIFF]}\n<diff cut here after {_MAX_DIFF} characters>\n"

    def untracked(self) -> Iterator[Path]:
        """Files that the repository neither tracks nor ignores."""
        answer = self._run("ls-files", "--others", "--exclude-standard", "-z")
        # What follows the last zero was cut.
        for name in (answer or "").split("\0")[:-1]:
            if self.root is not None:
                yield self.root / name

    def tracked(self, paths: Iterable[Path]) -> set[Path]:
        """Those of some files that the repository tracks."""
        names = [str(path) for path in paths]
        if not names or self.root is None:
            return set()
        answer = self._run("ls-files", "--full-name", "-z", "--", *names)
        return {self.root / name for name in (answer or "").split("\0")[:-1]}

    def remote(self) -> str | None:
        """The address of ``origin``, or of the first remote, without credentials."""
        address = self.ask("config", "--get", "remote.origin.url")
        if address is None and (names := self.ask("remote")):
            address = self.ask("config", "--get", f"remote.{names.splitlines()[0]}.url")
        if address is None:
            return None
        # A folder of this machine as a remote says nothing elsewhere and may name a person.
        address = f"<path>/{Path(address).name}" if Path(address).is_absolute() else address
        return redact_text(_USER_INFO.sub(r"\1", address))

    def _raw_diff(self) -> str | None:
        # `git diff` writes what it learns to the index; it gets a copy, so that nobody finds the index locked.
        index = self.ask("rev-parse", "--git-path", "index")
        if index is None or self._folder is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "index"
            try:
                # With its times: git trusts an entry that is older than the index.
                shutil.copy2(self._folder / index, copy)
            except OSError:
                return None
            return self._run(*_DIFF, GIT_INDEX_FILE=str(copy))

    def _run(self, *question: str, **variables: str) -> str | None:
        if self._folder is None:
            return None
        command = ["git", *_NO_SURPRISES, *question]
        with tempfile.TemporaryFile() as output:
            try:
                subprocess.run(
                    command,
                    cwd=self._folder,
                    env={**_git_environment(), **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                    timeout=_TIMEOUT_S,
                    check=True,
                )
            except (OSError, ValueError, subprocess.SubprocessError):
                return None
            output.seek(0)
            return output.read(_MAX_DIFF + 100_000).decode("utf-8", errors="replace")


def _git_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
