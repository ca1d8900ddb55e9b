"""Fetching of public files, each checked against a checksum before it gets its name."""

from __future__ import annotations

import re
import shutil
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lightning_lde.errors import ConfigurationError, DownloadError, MissingDependencyError

__all__ = ["RemoteFile", "fetch"]

_TIMEOUT_S = 60


class RemoteFile(NamedTuple):
    """A file in the net.

    Attributes:
        url: Where its publisher has it.
        checksum: ``algorithm:hexadecimal digits``.
        name: What it is called in a folder or on a mirror.
    """

    url: str
    checksum: str
    name: str


def fetch(
    files: Sequence[RemoteFile],
    folder: str | PathLike[str],
    *,
    base_url: str | None,
    registry: Mapping[str, str] | None,
    progress: bool,
) -> list[Path]:
    """Return the paths of files in a folder; what is not there with the right checksum is downloaded.

    Args:
        files: The files.
        folder: Where they go; made when it does not exist.
        base_url: Address of a folder that has the files under their names: a mirror, ``file://`` too.
        registry: Checksums that count instead of the known ones, by name.
        progress: Show a bar.

    Raises:
        ConfigurationError: ``registry`` names another file or has no checksum, or ``base_url`` is no address.
        DownloadError: A file cannot be fetched or has another checksum; nothing of it is left.
        MissingDependencyError: pooch is not installed.
    """
    checksums = {file.name: file.checksum for file in files}
    for name, checksum in (registry or {}).items():
        if name not in checksums or not re.fullmatch(r"(md5|sha1|sha256|sha512):[0-9a-fA-F]+", str(checksum)):
            raise ConfigurationError(
                f"registry has {name!r}: {checksum!r}; expected one of {list(checksums)} and, for example, 'sha256:…'."
            )
        checksums[name] = checksum.lower()
    if base_url is not None and not base_url.startswith(("http://", "https://", "file:")):
        raise ConfigurationError(f"base_url={base_url!r}; expected an address that begins with https:// or file://.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mirror = None if base_url is None else base_url.rstrip("/")
    urls = [file.url if mirror is None else f"{mirror}/{file.name}" for file in files]
    return [
        _fetch(url, checksums[file.name], folder / file.name, progress) for url, file in zip(urls, files, strict=True)
    ]


def _fetch(url: str, checksum: str, path: Path, progress: bool) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise MissingDependencyError("downloads need pooch: pip install lightning-lde[data]") from error
    downloader: Callable[..., Any] = (
        _copy if url.startswith("file:") else pooch.HTTPDownloader(progressbar=progress, timeout=_TIMEOUT_S)
    )
    try:
        # pooch writes beside the file and renames what has the right checksum.
        found = pooch.retrieve(url, checksum, fname=path.name, path=path.parent, downloader=downloader)
    except OSError as error:
        raise DownloadError(
            f"{url} cannot be fetched ({error}): check the network, name a mirror with base_url, or put the file "
            f"at {path} by hand."
        ) from error
    except ValueError as error:
        raise DownloadError(
            f"{url} does not have the checksum {checksum}: it was changed or cut on the way, and is not kept. Try "
            "again; for another version that you trust, give its checksum in registry."
        ) from error
    return Path(found)


def _copy(url: str, output_file: str, pooch: Any, check_only: bool = False) -> bool | None:
    """Copy a file:// URL, with the signature that pooch asks of a downloader."""
    path = urllib.request.url2pathname(urlsplit(url).path)
    if check_only:
        return Path(path).is_file()
    shutil.copyfile(path, output_file)
    return None
