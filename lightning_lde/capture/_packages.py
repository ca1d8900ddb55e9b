"""Installed packages: their versions, and what is known of where they come from and what is in them."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from lightning_lde.capture._pace import Pace
from lightning_lde.capture._repository import Repository, address_of
from lightning_lde.capture._used import is_shared_folder

_DIST_INFO = re.compile(r"([^-]+)-([^-]+)\.dist-info")
_DIRECT_URL = "direct_url.json"
_OF_INSTALLERS = ("INSTALLER", "REQUESTED", _DIRECT_URL, "uv_cache.json", "uv_build.json")
_OUTSIDE = (b"../", b"/")
_AFTER = b"\xff"
_HASH_DIGITS = 32


class Packages(NamedTuple):
    """What is installed.

    Attributes:
        versions: By normalised name.
        origins: By name, where something is known: ``files_hash``, ``url``, ``vcs``, ``commit``, ``subdirectory``,
            ``archive_hash``, ``editable``, ``dirty``.
    """

    versions: dict[str, str]
    origins: dict[str, dict[str, Any]]


def installed_packages() -> Packages:
    """All distributions on Python's path. No folder of this machine is named."""
    versions: dict[str, str] = {}
    origins: dict[str, dict[str, Any]] = {}
    pace = Pace(gently=True)
    for distribution in metadata.distributions():
        # One that is broken takes nothing else with it.
        with contextlib.suppress(Exception):
            folder = getattr(distribution, "_path", None)
            given, version = _name_and_version(distribution, folder)
            name = re.sub(r"[-_.]+", "-", given).lower()
            # The first on sys.path is the one that gets imported.
            if name not in versions:
                versions[name] = version
                if isinstance(folder, Path) and (origin := _origin(folder)):
                    origins[name] = origin
        pace.breathe()
    return Packages(dict(sorted(versions.items())), dict(sorted(origins.items())))


def _name_and_version(distribution: metadata.Distribution, folder: Any) -> tuple[str, str]:
    """What the folder's name says, which is far quicker to read than the metadata in it."""
    named = _DIST_INFO.fullmatch(getattr(folder, "name", ""))
    return (named[1], named[2]) if named else (distribution.metadata["Name"], distribution.version)


def _origin(folder: Path) -> dict[str, Any]:
    """What the ``.dist-info`` folder of a distribution tells of its origin."""
    record = _content(folder / "RECORD")
    # The record names this file where there is one, and most have none.
    has_url = record is None or _DIRECT_URL.encode() in record
    given = _content(folder / _DIRECT_URL) if has_url else None
    origin = _of_direct_url(json.loads(given)) if given else {}
    if record and not origin.get("editable"):
        # Of an editable one it holds a pointer to the folder.
        origin["files_hash"] = _files_hash(record, folder.name)
    return origin


def _of_direct_url(given: dict[str, Any]) -> dict[str, Any]:
    """The facts of a ``direct_url.json``.

    Source: the specification "Recording the Direct URL Origin of installed distributions" of the Python Packaging
    Authority (PEP 610).
    """
    parts = urlsplit(str(given["url"]))
    origin: dict[str, Any] = {}
    if parts.scheme != "file":
        # What follows a question mark may be a signature.
        origin["url"] = address_of(urlunsplit(parts._replace(query="", fragment="")))
    if "vcs_info" in given:
        origin |= {"vcs": given["vcs_info"]["vcs"], "commit": given["vcs_info"]["commit_id"]}
    if "archive_info" in given and (found := _archive_hash(given["archive_info"])):
        origin["archive_hash"] = found
    if given.get("dir_info", {}).get("editable"):
        origin |= {"editable": True, **_state(Path(unquote(parts.path)))}
    if given.get("subdirectory"):
        origin["subdirectory"] = given["subdirectory"]
    return origin


def _archive_hash(archive: dict[str, Any]) -> str | None:
    """The hash of the file that a package was installed from, with the algorithm's name before it."""
    hashes = dict([archive["hash"].split("=", 1)]) if "hash" in archive else {}
    hashes |= archive.get("hashes", {})
    name = "sha256" if "sha256" in hashes else min(hashes, default=None)
    return None if name is None else f"{name}:{hashes[name]}"


def _state(folder: Path) -> dict[str, Any]:
    """The commit of the repository that a folder lies in; none where that is a home, which says nothing of it."""
    repository = Repository(folder)
    if repository.root is None or is_shared_folder(repository.root):
        return {}
    commit = repository.ask("rev-parse", "--verify", "-q", "HEAD")
    return {} if commit is None else {"vcs": "git", "commit": commit, "dirty": repository.is_dirty()}


def _files_hash(record: bytes, folder: str) -> str:
    """A hash of the files of a distribution, by the hashes that its RECORD has of them.

    It is the same for one wheel wherever and by whatever it is installed: commands, which name the interpreter,
    compiled files, which have no hash there, and notes of the installer do not count.

    Source: the specification "Recording installed projects" of the Python Packaging Authority (PEP 376, PEP 627).
    """
    lines = [line for line in record.splitlines() if line[-1:] != b","]
    # Mostly they are in order already, and what is left out stands together then: asking each line would take longer.
    lines.sort()
    for start in (*_OUTSIDE, *(f"{folder}/{name},".encode() for name in _OF_INSTALLERS)):
        first = bisect.bisect_left(lines, start)
        del lines[first : bisect.bisect_left(lines, start + _AFTER, first)]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()[:_HASH_DIGITS]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
