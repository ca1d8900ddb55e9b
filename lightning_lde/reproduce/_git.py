"""Git, asked without hooks, and the repository that has a commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lightning_lde.errors import ReproductionError

_TIMEOUT_S = 300.0


def git(folder: Path, *words: str, text: str | None = None) -> str:
    """The answer of git, without hooks.

    Args:
        folder: Where it is asked.
        words: Its command line.
        text: What it reads.

    Raises:
        ReproductionError: If git is missing or refuses.
    """
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", *words]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    asked = next((word for word in words if not word.startswith("-")), "")
    try:
        # Bytes, so that ends of lines stay what they are.
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            input=None if text is None else text.encode("utf-8", "surrogateescape"),
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ReproductionError(f"git {asked} did not work: {error}") from error
    answer, complaint = (each.decode("utf-8", "replace").strip() for each in (done.stdout, done.stderr))
    if done.returncode:
        raise ReproductionError(f"git {asked} did not work: {complaint or answer}")
    return answer


def find_repository(path: Path, commit: str) -> Path | None:
    """The repository around a folder, if it has a commit.

    Args:
        path: A folder.
        commit: The commit's hash.
    """
    try:
        root = Path(git(path, "rev-parse", "--show-toplevel"))
        git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except ReproductionError:
        return None
    return root
