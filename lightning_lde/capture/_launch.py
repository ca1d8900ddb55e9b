"""How the present process was started: a script, a module, words of Python, an installed program, a notebook."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_lde.capture._access import get
from lightning_lde.capture._redaction import redact_argv, redact_text

URI_VARIABLE = "LDE_URI"
_WITH_VALUE = {"--check-hash-based-pycs"}
_WORKERS = ("multiprocessing", "loky")


def describe_launch(program: Path | None, root: Path | None) -> dict[str, Any]:
    """How to start the present program again, its own arguments apart.

    Args:
        program: The program's file.
        root: The folder that paths are relative to.

    Returns:
        ``kind`` (``"script"``, ``"module"``, ``"command"``, ``"installed"``, ``"notebook"`` or ``"unknown"``),
        ``target`` (a path relative to the root, a module's name, the text behind ``-c``, a program's name),
        ``options`` of the interpreter, and ``recorded_by`` (``"LDE_URI"`` where that variable was set).
    """
    kind, target, options = _started(program, root)
    by_variable = URI_VARIABLE if os.environ.get(URI_VARIABLE) else None
    return {"kind": kind, "target": target, "options": redact_argv(options), "recorded_by": by_variable}


def command_line() -> list[str]:
    """The program's name and its arguments as they were given, also where it has changed ``sys.argv`` since."""
    kind, word, _ = _of_interpreter(sys.orig_argv[1:])
    name = sys.argv[0] if sys.argv else ""
    same = {"script": name == word, "module": Path(name).is_absolute(), "command": name == "-c"}.get(kind, False)
    if not same or word is None or word not in sys.orig_argv or multiprocessing.parent_process() is not None:
        return list(sys.argv)
    return [name, *sys.orig_argv[sys.orig_argv.index(word, 1) + 1 :]]


def in_notebook() -> Any:
    """IPython's shell where the program is typed into it, None elsewhere."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return shell if get(shell, "user_ns") else None


def _started(program: Path | None, root: Path | None) -> tuple[str, str | None, list[str]]:
    if in_notebook() is not None:
        return "notebook", None, []
    kind, word, options = _of_interpreter(sys.orig_argv[1:])
    if multiprocessing.parent_process() is not None or any(name in str(word) for name in _WORKERS):
        # A worker of a pool: its argv is that of the program that made the pool.
        kind, word, options = "script", None, []
        if program is not None and program.name == "__main__.py" and (module := _module_of(program)):
            return "module", module, options
    if kind == "module":
        return kind, word, options
    if kind == "command":
        return kind, redact_text(word or ""), options
    if program is None:
        return "unknown", None, options
    if root is not None and program.is_relative_to(root):
        return "script", program.relative_to(root).as_posix(), options
    return "installed", program.name, options


def _module_of(program: Path) -> str | None:
    folder = program.parent
    here = Path.cwd()
    return ".".join(folder.relative_to(here).parts) or None if folder.is_relative_to(here) else None


def _of_interpreter(words: Sequence[str]) -> tuple[str, str | None, list[str]]:
    """Kind, word and options of an interpreter's command line.

    Example:
        >>> _of_interpreter(["-um", "package.train", "--lr", "1"])
        ('module', 'package.train', ['-u'])
        >>> _of_interpreter(["-X", "dev", "-O", "train.py"])
        ('script', 'train.py', ['-X', 'dev', '-O'])
    """
    options: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-" or not word.startswith("-"):
            return "script", word, options
        options.append(word)
        if word.startswith("--"):
            options += [rest.pop(0)] if word in _WITH_VALUE and rest else []
            continue
        for place, letter in enumerate(word[1:], start=1):
            value = word[place + 1 :]
            if letter in "cm":
                options[-1:] = [word[:place]] if place > 1 else []
                return {"c": "command", "m": "module"}[letter], value or (rest[0] if rest else None), options
            if letter in "WX":
                options += [rest.pop(0)] if not value and rest else []
                break
    return "unknown", None, options
