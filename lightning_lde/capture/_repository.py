"""Questions to git about the repository of a folder: its state, and which files it has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from lightning_lde.capture._redaction import redact_text

_MAX_DIFF = 1_000_000
_MOST_NAMES = 1000
_TIMEOUT_S = 10.0
_USER_INFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@")
_NO_SURPRISES = ("--no-pager", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
_DIFF = (
    *("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=dirty"),
    # Whatever the user has set: it shall apply to a clone.
    *("--full-index", "--src-prefix=a/", "--dst-prefix=b/", "--no-relative", "--submodule=short"),
)


def address_of(url: str) -> str:
    """The address of a repository or a file without credentials, and without folders of this machine.

    Example:
        >>> address_of("https://ann:hunter2@git.example/lib.git"), address_of("/home/ann/lib.git")
        ('https://git.example/lib.git', '<path>/lib.git')
    """
    # A folder of this machine says nothing elsewhere and may name a person.
    address = f"<path>/{Path(url).name}" if Path(url).is_absolute() else url
    return redact_text(_USER_INFO.sub(r"\1", address))


class Repository:
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
        """Those of some files that the repository tracks itself; those of a submodule it does not."""
        names, found = [str(path) for path in paths], set[Path]()
        for first in range(0, len(names), _MOST_NAMES):
            part = names[first : first + _MOST_NAMES]
            answer = self._run("--literal-pathspecs", "ls-files", "--full-name", "-z", "--", *part)
            if self.root is not None:
                found |= {self.root / name for name in (answer or "").split("\0")[:-1]}
        return found

    def remote(self) -> str | None:
        """The address of ``origin``, or of the first remote, without credentials."""
        address = self.ask("config", "--get", "remote.origin.url")
        if address is None and (names := self.ask("remote")):
            address = self.ask("config", "--get", f"remote.{names.splitlines()[0]}.url")
        return None if address is None else address_of(address)

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
