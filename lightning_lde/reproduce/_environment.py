"""An environment with the versions of packages that a run had, built by pip."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning_lde
from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce._facts import Row
from lightning_lde.reproduce._git import git

OWN = "lightning-lde"
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps")
"""What Python is told to install packages, which follow as ``name==version``."""

_NOT_ASKED_FOR = {"pip", OWN}
_OWN_PLACE = "lightning_lde_of_today"
_TIMEOUT_S = 3600.0
_PROJECT_FILES = {"pyproject.toml", "setup.cfg", "setup.py"}
_MOST_PROJECTS = 50
_TABLE = re.compile(r"^\s*\[+([^\]]+)\]+\s*$")
_NAME = re.compile(r"""^\s*name\s*=\s*["']?([A-Za-z0-9][\w.-]*)""")
_NAME_IN_PYTHON = re.compile(r"""\bname\s*=\s*["']([A-Za-z0-9][\w.-]*)["']""")


def packages_to_install(environment: Row, not_from_index: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What pip is asked for, and what it is not asked for.

    Args:
        environment: The row of the table ``environments``.
        not_from_index: Packages that come from somewhere else, and from where: an index may have another package of
            that name.

    Returns:
        Names and versions, and a sentence for each package that is left out.

    Example:
        >>> packages_to_install({"packages": {"tiny": "1.0", "mine": "2.0", "pip": "25"}}, {"mine": "a folder"})
        ({'tiny': '1.0'}, ['mine 2.0 is not installed: it comes from a folder, not from an index'])
    """
    recorded = {name: version for name, version in _packages(environment).items() if name not in _NOT_ASKED_FOR}
    asked = {name: version for name, version in recorded.items() if _normal(name) not in not_from_index}
    left_out = [
        f"{name} {version} is not installed: it comes from {not_from_index[_normal(name)]}, not from an index"
        for name, version in recorded.items()
        if name not in asked
    ]
    return asked, left_out


def packages_of_elsewhere(
    repository: Path | None, commit: str | None, origins: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, str]:
    """Packages that no index has under their names, as far as that is known, and where they come from.

    These are the projects of the run's repository, and what was installed there, or is here, from a folder, an
    archive or a repository (PEP 610).

    Args:
        repository: The repository of the run, None where there is none.
        commit: Its commit.
        origins: What the run recorded of its packages, the column ``environments.package_origins``.
    """
    found = dict(_installed_from_elsewhere())
    for name, origin in (origins or {}).items():
        if place := _recorded_place(origin):
            found[_normal(name)] = place
    if repository is not None and commit is not None:
        found |= dict.fromkeys(_projects(repository, commit), "the run's own repository")
    return found


def build_environment(
    folder: Path, environment: Row, *, not_from_index: Mapping[str, str] | None = None
) -> tuple[Path, list[str]]:
    """Make a virtual environment with the packages that were recorded.

    pip decides where packages come from (its own settings and ``PIP_*`` variables). Only what was recorded is
    installed, without asking what packages need: that was recorded, too. This version of lightning-lde goes beside,
    and nothing else of what is installed here.

    Args:
        folder: Where to.
        environment: The row of the table ``environments``.
        not_from_index: Packages that pip must not be asked for, and where they come from.

    Returns:
        The interpreter, and what could not be had.

    Raises:
        ReproductionError: If no environment can be made.
    """
    notes: list[str] = []
    wanted = re.search(r"(\d+\.\d+)(\.\S+)?", str(environment.get("python")))
    python = _interpreter(wanted[1] if wanted else None, notes)
    if python == sys.executable and wanted and wanted[0] != sys.version.split()[0] and not notes:
        notes.append(f"python {wanted[0]} could not be had: {sys.version.split()[0]} is used")
    _run([python, "-m", "venv", str(folder)], "an environment could not be made")
    own = folder / "bin" / "python"
    packages, _ = packages_to_install(environment, not_from_index or {})
    notes += _install(own, packages)
    site = _run([str(own), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], "it does not start").strip()
    (Path(site) / f"{_OWN_PLACE}.pth").write_text(f"{_only_own(folder / _OWN_PLACE)}\n", encoding="utf-8")
    return own, notes


def _only_own(place: Path) -> Path:
    """A folder with this package and what is written about it, without what is installed beside it."""
    place = place.absolute()
    place.mkdir()
    sources = [Path(lightning_lde.__file__).parent]
    with contextlib.suppress(metadata.PackageNotFoundError):
        # Lightning finds the callback by it where a variable asks for recording.
        about = getattr(metadata.distribution(OWN), "_path", None)
        sources += [about] if isinstance(about, Path) and about.is_dir() else []
    for source in sources:
        try:
            (place / source.name).symlink_to(source.absolute(), target_is_directory=True)
        except OSError:
            shutil.copytree(source, place / source.name)
    return place


def _installed_from_elsewhere() -> Iterator[tuple[str, str]]:
    for distribution in metadata.distributions():
        with contextlib.suppress(Exception):
            origin = json.loads(distribution.read_text("direct_url.json") or "{}")
            if origin.get("url"):
                kind = "a repository" if "vcs_info" in origin else "a folder" if "dir_info" in origin else "an archive"
                yield _normal(distribution.metadata["Name"]), kind


def _recorded_place(origin: Mapping[str, Any]) -> str | None:
    if origin.get("editable"):
        return "a folder"
    where = f" ({origin['url']})" if origin.get("url") else ""
    if origin.get("vcs"):
        return f"a repository{where}"
    return f"an archive{where}" if where or origin.get("archive_hash") else None


def _projects(repository: Path, commit: str) -> Iterator[str]:
    with contextlib.suppress(ReproductionError):
        listed = git(repository, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit).split("\0")
        files = [path for path in listed if path.rpartition("/")[2] in _PROJECT_FILES]
        for path in sorted(files, key=lambda path: path.count("/"))[:_MOST_PROJECTS]:
            yield from map(_normal, _names_in(path, git(repository, "show", f"{commit}:{path}")))


def _names_in(path: str, text: str) -> Iterator[str]:
    """The names of projects in a file; in one of Python only the first that is written out."""
    if path.endswith(".py"):
        yield from _NAME_IN_PYTHON.findall(text)[:1]
        return
    table = ""
    for line in text.splitlines():
        if header := _TABLE.match(line):
            table = header[1].strip()
        elif table in {"project", "tool.poetry", "metadata"} and (named := _NAME.match(line)):
            yield named[1]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _packages(environment: Row) -> Mapping[str, str]:
    packages: Mapping[str, str] = environment.get("packages") or {}
    return packages


def _interpreter(version: str | None, notes: list[str]) -> str:
    if version is None or version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    if found := shutil.which(f"python{version}"):
        return found
    notes.append(f"python {version} could not be had: {sys.version_info[0]}.{sys.version_info[1]} is used")
    return sys.executable


def _install(python: Path, packages: Mapping[str, str]) -> list[str]:
    """Install all at once, or one after the other where some cannot be had."""
    pip = [str(python), *PIP]
    wishes = {name: f"{name}=={version}" for name, version in packages.items()}
    if not wishes or _works([*pip, *wishes.values()]):
        return []
    notes = []
    for name, wish in wishes.items():
        if _works([*pip, wish]):
            continue
        # A build such as 2.4.0+cpu stands on an index of its own.
        plain = wish.partition("+")[0]
        if plain != wish and _works([*pip, plain]):
            notes.append(f"{wish} could not be had: {plain} is used")
        else:
            notes.append(f"{wish} could not be had; {name} is missing")
    return notes


def _works(command: list[str]) -> bool:
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _run(command: list[str], problem: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S).stdout
    except subprocess.CalledProcessError as error:
        raise ReproductionError(f"{problem}: {(error.stderr or error.stdout).strip()}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise ReproductionError(f"{problem}: {error}") from error
