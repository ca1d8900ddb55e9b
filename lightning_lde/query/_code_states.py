"""Two recorded states of code: a unified diff between them, or what is missing for one."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 20.0
LONGEST_SECTION_LINES = 5000
LARGEST_ANSWER = 20_000_000

_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/")
_NO_SURPRISES = ("--no-pager", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
_REDACTED = "<redacted"
_SECTION = re.compile(r"^(?=diff --git )", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class CodeDifference:
    """What changed from one state of code to another.

    Attributes:
        is_equal: True if both are the same state, False if not, None if that cannot be known.
        diff: A unified diff from the first to the second, None where there is nothing or it cannot be had.
        how: Where the diff comes from, in words.
        missing: What would be needed for one, or for a better one; None where nothing is.
    """

    is_equal: bool | None
    diff: str | None = None
    how: str | None = None
    missing: str | None = None


def compare_code(
    first: Mapping[str, Any], second: Mapping[str, Any], *, repository: str | os.PathLike[str] | None = None
) -> CodeDifference:
    """The difference between two rows of the table ``code``.

    A state is a commit and, with uncommitted changes, a diff to it. Two states of one commit are compared by their
    diffs alone. Otherwise git answers, in a repository that holds both commits: each diff is applied to its commit
    in an index of its own, outside the repository, which stays as it is.

    Args:
        first: The row of the first run, empty where none was recorded.
        second: The row of the second.
        repository: A folder inside a git repository in which to look for the commits; None to look nowhere.

    Returns:
        The diff, or words that say what is missing.
    """
    if absent := _unrecorded(first, second):
        return CodeDifference(is_equal=None, missing=absent)
    ours, theirs = first.get("diff") or "", second.get("diff") or ""
    if first["commit"] == second["commit"] and ours == theirs:
        return _equal(ours, theirs)
    refused = "no repository was given to look in"
    if repository is not None:
        diff, refused = _ask_git(Path(repository), first, second)
        if diff == "":
            return _equal(ours, theirs)
        if diff is not None:
            return CodeDifference(is_equal=False, diff=diff, how="git, commits with their recorded changes")
    if first["commit"] == second["commit"]:
        return _same_commit(ours, theirs, refused)
    return CodeDifference(is_equal=False, missing=f"the commits differ, and {refused}")


def _unrecorded(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    sides = [("first", first), ("second", second)]
    if without := [name for name, row in sides if not row.get("commit")]:
        hashes = [row.get("entry_point_hash") for _, row in sides]
        words = "are equal" if hashes[0] == hashes[1] else "differ"
        known = f"; the programs that were started {words}" if None not in hashes else ""
        return f"no commit was recorded for the {' and the '.join(without)} run{known}"
    if without := [name for name, row in sides if row.get("dirty") and not row.get("diff")]:
        return f"the {' and the '.join(without)} run had uncommitted changes that were not recorded"
    return None


def _equal(first: str, second: str) -> CodeDifference:
    """Equal as recorded, which says nothing of what was cut off or redacted."""
    if any(re.search(r"^<diff cut here after \d+ characters>$", diff[-200:], re.MULTILINE) for diff in (first, second)):
        return CodeDifference(is_equal=None, missing="the recorded changes are equal up to where they were cut")
    if _REDACTED in first or _REDACTED in second:
        return CodeDifference(is_equal=None, missing="the recorded changes are equal but for what was redacted in them")
    return CodeDifference(is_equal=True)


def _same_commit(first: str, second: str, refused: str) -> CodeDifference:
    """By the recorded diffs alone; exact where only one has changes, or no file is changed in both."""
    if not first:
        return CodeDifference(is_equal=False, diff=second, how="the second run's recorded changes; the first had none")
    if not second:
        return CodeDifference(
            is_equal=False, diff=first, how="the first run's recorded changes, forwards; the second had none"
        )
    return CodeDifference(
        is_equal=False,
        diff=_between_diffs(first, second),
        how="a diff between the two recorded diffs to one commit",
        missing=f"a diff between the files themselves needs the commit: {refused}",
    )


def _between_diffs(first: str, second: str) -> str:
    ours, theirs = _sections(first), _sections(second)
    parts = []
    for name in sorted(ours.keys() | theirs.keys()):
        before, after = ours.get(name, []), theirs.get(name, [])
        if before == after:
            continue
        if max(len(before), len(after)) > LONGEST_SECTION_LINES:
            parts.append(f"{name}\n<{len(before)} and {len(after)} lines, too many to compare>")
            continue
        lines = difflib.unified_diff(
            before, after, "recorded changes, first run", "recorded changes, second run", lineterm=""
        )
        parts.append("\n".join([name, *lines]))
    return "\n".join(parts) + "\n"


def _sections(diff: str) -> dict[str, list[str]]:
    """The part of each file in a diff by its first line."""
    parts = [part.splitlines() for part in _SECTION.split(diff) if part.strip()]
    return {part[0]: part[1:] for part in parts}


def _ask_git(repository: Path, first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[str | None, str]:
    """The diff, or None and the reason."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _Git(repository, Path(folder)).difference(first, second), ""
    except _RefusedError as error:
        return None, str(error)
    except OSError as error:
        return None, f"git could not be run: {error}"


class _RefusedError(Exception):
    """Git did not give what was asked of it; the message ends a sentence."""


class _Git:
    """Git in one repository, which it only reads: what it makes goes into a folder of the caller's."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self._repository = repository
        self._folder = folder
        self._variables: dict[str, str] = {}
        objects = self._ask("rev-parse", "--git-path", "objects", why=f"{repository} is in no git repository")
        objects_folder = (repository / objects.strip()).resolve()
        # Below the top, `git apply` would leave out what lies beside the folder.
        self._repository = Path(
            self._ask("rev-parse", "--show-toplevel", why=f"{repository} is no working tree").strip()
        )
        (folder / "objects").mkdir()
        self._variables = {
            "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(objects_folder)),
        }

    def difference(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
        trees = [self._tree(word, row) for word, row in (("first", first), ("second", second))]
        return self._ask("diff", *_DIFF, *trees, "--", why="git could not compare the two states")

    def _tree(self, word: str, row: Mapping[str, Any]) -> str:
        commit = str(row["commit"])
        if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
            raise _RefusedError(f"what was recorded for the {word} run is no commit")
        why = f"commit {commit[:12]} is not in the repository at {self._repository}"
        tree = self._ask("rev-parse", "--verify", "-q", f"{commit}^{{tree}}", why=why).strip()
        if not row.get("diff"):
            return tree
        patch = self._folder / f"{word}.patch"
        patch.write_text(str(row["diff"]), encoding="utf-8", newline="")
        index = {"GIT_INDEX_FILE": str(self._folder / f"{word}.index")}
        self._ask("read-tree", tree, why=why, **index)
        why = f"the {word} run's recorded changes cannot be applied to its commit (cut, redacted, or binary)"
        self._ask("apply", "--cached", "--whitespace=nowarn", str(patch), why=why, **index)
        return self._ask("write-tree", why=why, **index).strip()

    def _ask(self, *question: str, why: str, **variables: str) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        fixed = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        with tempfile.TemporaryFile() as output:
            try:
                subprocess.run(
                    ["git", *_NO_SURPRISES, *question],
                    cwd=self._repository,
                    env={**kept, **fixed, **self._variables, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                    timeout=TIMEOUT_S,
                    check=True,
                )
            except (ValueError, NotADirectoryError, FileNotFoundError, subprocess.SubprocessError) as error:
                raise _RefusedError(why if shutil.which("git") else "git is not installed") from error
            output.seek(0)
            return output.read(LARGEST_ANSWER).decode("utf-8", errors="replace")


def _quoted(path: str) -> str:
    # A colon would end the path in a list of them.
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
