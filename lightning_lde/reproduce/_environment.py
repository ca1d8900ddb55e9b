"""An environment with the versions of packages that a run had, built by pip."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import lightning_lde
from lightning_lde.errors import ReproductionError
from lightning_lde.reproduce._facts import Row

OWN = "lightning-lde"
_NOT_ASKED_FOR = {"pip", OWN}
_TIMEOUT_S = 3600.0


def build_environment(folder: Path, environment: Row) -> tuple[Path, list[str]]:
    """Make a virtual environment with the packages that were recorded.

    pip decides where packages come from (its own settings and ``PIP_*`` variables). Only what was recorded is
    installed, without asking what packages need: that was recorded, too. This version of lightning-lde goes beside.

    Args:
        folder: Where to.
        environment: The row of the table ``environments``.

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
    packages = {name: version for name, version in _packages(environment).items() if name not in _NOT_ASKED_FOR}
    notes += _install(own, packages)
    site = _run([str(own), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], "it does not start").strip()
    (Path(site) / "lightning_lde_of_today.pth").write_text(f"{Path(lightning_lde.__file__).parent.parent}\n")
    return own, notes


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
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
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
