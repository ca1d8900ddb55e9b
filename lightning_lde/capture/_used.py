"""The files that a program is made of where no commit says so: itself, its imports, its settings."""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lightning_lde.capture._access import clean_text, get
from lightning_lde.capture._pace import Pace
from lightning_lde.capture._source import is_installed, is_known_library

ELSEWHERE = "lde_elsewhere"
"""The folder of a snapshot with modules that were imported from outside of the program's folder."""

_MOST_SOURCES = 5000
_MOST_ENTRIES = 200_000
_DEEPEST_WALK = 8
_AT_ONCE = 1000
_SETTINGS = {".cfg", ".conf", ".gin", ".ini", ".json", ".toml", ".yaml", ".yml"}
_SUFFIXES = {
    *{".py", ".pyi", ".ipynb", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh"},
    *{".jinja", ".j2", *_SETTINGS},
}
_TEXTS = ("requirements*.txt", "constraints*.txt", "CMakeLists.txt")
_ENDINGS = (*sorted(_SUFFIXES), ".txt")
_PROJECT_FILES = {
    *{"pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "Pipfile", "poetry.lock", "uv.lock"},
    *{"environment.yml", "environment.yaml"},
}
_OUTPUTS = {
    *{"__pycache__", "lightning_logs", "checkpoints", "wandb", "mlruns", "outputs", "multirun", "node_modules"},
    *{"site-packages", "dist-packages", "build", "dist"},
}
_MOST_READ, _LARGEST_READ_BYTES = 200, 256 << 10
_SETTINGS_LITERAL = re.compile(r"[\"']([^\"'\n\\{}]{1,200}\.(?:cfg|conf|gin|ini|json|toml|ya?ml))[\"']")
_LAKE, _VENV = "lde.json", "pyvenv.cfg"
_OF_TOOLS = ("pydev", "_pydev", "debugpy", "ptvsd", "pycharm", "sitecustomize", "usercustomize")


def is_source(path: Path) -> bool:
    """Whether a file's name is that of a source or of settings.

    Example:
        >>> [is_source(Path(name)) for name in ("a.py", "b.YAML", "requirements-dev.txt", "letter.txt", "c.csv")]
        [True, True, True, False, False]
    """
    return path.suffix.lower() in _SUFFIXES or any(fnmatch.fnmatch(path.name, form) for form in _TEXTS)


def is_shared_folder(folder: Path) -> bool:
    """Whether a folder holds all kinds of things: a home, the one for temporary files, the root of a disk."""
    return folder in {Path(folder.anchor), Path.home().resolve(), Path(tempfile.gettempdir()).resolve()}


def used_sources(
    program: Path | None, root: Path, words: Sequence[str] = (), notes: list[str] | None = None
) -> dict[str, Path]:
    """The files that a program is made of, the important ones first.

    These are the program; modules that are imported, other than those of Python and of installed packages, each with
    the whole package it belongs to; settings that the command line or a literal of sources below the root names; and
    the sources of the program's folder, or of one above it up to the root, if that is a project, as a
    ``pyproject.toml`` tells. Other files beside the program are somebody else's.

    Args:
        program: The program's file; None, or one outside of the root, where it is typed in or installed.
        root: The folder that names are relative to.
        words: The words of the command line.
        notes: Gets a sentence for each folder in which more is than is looked at.

    Returns:
        Files by the names that they have in a snapshot.
    """
    found: dict[str, Path] = {}
    for name, path in _in_order(program, root, words, [] if notes is None else notes):
        found.setdefault(clean_text(name), path)
    own = [path for path in found.values() if path.suffix == ".py" and path.is_relative_to(root)]
    for path in own[:_MOST_READ]:
        for name, named in _settings_in(path, root):
            found.setdefault(clean_text(name), named)
    return found


def start_of(program: Path | None, root: Path) -> Path:
    """The folder of a program, or the root where it lies elsewhere or is typed in."""
    return program.parent if program is not None and program.is_relative_to(root) else root


def _in_order(program: Path | None, root: Path, words: Sequence[str], notes: list[str]) -> Iterator[tuple[str, Path]]:
    start = start_of(program, root)
    if program is not None and program.is_relative_to(root):
        yield program.relative_to(root).as_posix(), program
    yield from named_settings(words, root)
    yield from imported_sources(root, start, notes)
    project = next((folder for folder in _upwards(start, root) if _is_project(folder)), None)
    if project is not None:
        title = project.relative_to(root).as_posix()
        yield from ((path.relative_to(root).as_posix(), path) for path in _walk(project, title, notes))


def named_settings(words: Iterable[str], root: Path) -> Iterator[tuple[str, Path]]:
    """Settings that a command line names: ``run.yaml``, ``--config=run.yaml``.

    Of those outside of the root and of the working directory a copy is kept; the program reads the file itself.

    Args:
        words: The words.
        root: The folder that names are relative to.
    """
    here = Path.cwd()
    for word in words:
        for text in dict.fromkeys((word, word.rpartition("=")[2])):
            path = _file(text) if Path(text).suffix.lower() in _SETTINGS else None
            if path is None:
                continue
            # The program starts in the root where it started outside of it.
            base = next((base for base in (root, here) if path.is_relative_to(base)), None)
            yield (f"{ELSEWHERE}/{path.name}" if base is None else path.relative_to(base).as_posix()), path


def _settings_in(source: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Settings that a literal of a source names, relative to it or to the working directory."""
    try:
        text = source.read_text("utf-8") if source.stat().st_size <= _LARGEST_READ_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return
    for literal in dict.fromkeys(_SETTINGS_LITERAL.findall(text)):
        for name, path in named_settings((literal, str(source.parent / literal)), root):
            if path.is_relative_to(root) or path.is_relative_to(Path.cwd()):
                yield name, path


def imported_sources(root: Path, start: Path, notes: list[str] | None = None) -> Iterator[tuple[str, Path]]:
    """Files of the modules that are imported and belong to no installed package, with their names in a snapshot.

    What the program has imported belongs to it, whatever its folder is called.

    Args:
        root: The folder that names are relative to.
        start: The program's folder.
        notes: Gets a sentence for each package in which more is than is looked at.
    """
    notes = [] if notes is None else notes
    folders: set[Path] = set()
    variable = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    on_path = {Path(place).resolve() for place in variable if place} - {start, Path.cwd()}
    for name, path, base in sorted(_imported_modules()):
        inside = path.is_relative_to(root)
        if not inside and _holds_packages(base):
            continue
        if _is_hidden(path.relative_to(root) if inside else path) or not (inside or not name.startswith(_OF_TOOLS)):
            continue
        for file in _package(path, base / name.partition(".")[0], folders, notes):
            if inside:
                yield file.relative_to(root).as_posix(), file
            if not inside or base in on_path:
                # Where the program runs again, this folder is on the path instead.
                yield f"{ELSEWHERE}/{file.relative_to(base).as_posix()}", file


def _package(path: Path, top: Path, done: set[Path], notes: list[str]) -> Iterator[Path]:
    """A module's file, and the rest of its package: what is imported lazily may be imported at any time."""
    yield path
    if top not in done and (top / "__init__.py").is_file():
        done.add(top)
        yield from _walk(top, top.name, notes)
    if path.parent.is_relative_to(top) and path.parent not in done:
        # Without an __init__.py, a package is any folder of that name; and it may be called like one of outputs.
        done.add(path.parent)
        yield from sorted(path.parent.glob("*.py"))


def _imported_modules() -> Iterator[tuple[str, Path, Path]]:
    """Name, file and the folder on Python's path of each module that is imported and of no library."""
    for name, module in list(sys.modules.items()):
        file = get(module, "__file__")
        if name == "__main__":
            name = str(get(get(module, "__spec__"), "name") or name)
        if not isinstance(file, str) or not file.endswith(".py") or is_known_library(name) or is_installed(file):
            continue
        path = _file(file)
        parts = name.split(".")
        up = len(parts) - (path is not None and path.name != "__init__.py")
        if path is None or up >= len(path.parents) or any(path.is_relative_to(folder) for folder in _of_python()):
            continue
        base = path.parents[up]
        expected = base.joinpath(*parts)
        if path in {expected.with_suffix(".py"), expected / "__init__.py"}:
            yield name, path, base


def _is_hidden(path: Path) -> bool:
    """Whether a file lies where editors and other tools keep what is theirs."""
    return any(part.startswith(".") for part in path.parts)


@functools.cache
def _holds_packages(folder: Path) -> bool:
    """Whether packages are installed there, as ``pip install --target`` does; their versions are recorded."""
    return any(folder.glob("*.dist-info"))


@functools.cache
def _of_python() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({Path(sysconfig.get_paths()[name]).resolve() for name in names})


def _file(text: str) -> Path | None:
    """An existing file, its folder without links; the file itself may be one."""
    try:
        path = Path(text)
        return path.parent.resolve() / path.name if path.is_file() else None
    except (OSError, ValueError):
        return None


def _upwards(folder: Path, root: Path) -> Iterator[Path]:
    while folder.is_relative_to(root):
        yield folder
        if folder == folder.parent:
            return
        folder = folder.parent


def _is_project(folder: Path) -> bool:
    if is_shared_folder(folder):
        return False
    return any((folder / name).is_file() for name in _PROJECT_FILES) or any(folder.glob("requirements*.txt"))


def _walk(folder: Path, title: str, notes: list[str]) -> Iterator[Path]:
    """The sources below a folder, without outputs; data beside them cost time, but do not count."""
    n_sources = n_entries = 0
    pace = Pace(gently=True)
    for here, folders, names in os.walk(folder):
        at = Path(here)
        depth = len(at.relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if depth < _DEEPEST_WALK and not _skipped(at / name))
        for name in _source_names(names, pace):
            if n_sources == _MOST_SOURCES:
                notes.append(f"of the sources below {title} only {_MOST_SOURCES} are listed")
                return
            n_sources += 1
            yield at / name
        n_entries += len(folders) + len(names)
        if n_entries > _MOST_ENTRIES:
            notes.append(f"below {title} not all folders were looked at: there are more than {_MOST_ENTRIES} files")
            return


def _source_names(names: list[str], pace: Pace) -> list[str]:
    found = []
    for first in range(0, len(names), _AT_ONCE):
        pace.breathe()
        part = [name for name in names[first : first + _AT_ONCE] if name.lower().endswith(_ENDINGS)]
        found += [name for name in part if is_source(Path(name))]
    return sorted(found)


def is_output(path: Path, root: Path) -> bool:
    """Whether a file lies in a folder of outputs, of a lake, or of an environment, below a root."""
    parts = path.relative_to(root).parts
    return any(_skipped(root.joinpath(*parts[:count])) for count in range(1, len(parts)))


def _skipped(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in _OUTPUTS or folder.name.endswith(".egg-info")
    return hidden or folder.is_symlink() or (folder / _LAKE).exists() or (folder / _VENV).exists()
