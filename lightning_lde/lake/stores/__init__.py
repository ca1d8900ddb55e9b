"""Where the bytes of a lake lie: one small interface, a native client where one is faster, fsspec elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lightning_lde.errors import LakeURLError
from lightning_lde.lake.stores._arrow import ArrowS3Store, endpoint_of_environment, native_s3_options
from lightning_lde.lake.stores._base import Store, StoredFile
from lightning_lde.lake.stores._fsspec import FsspecStore
from lightning_lde.lake.stores._local import LocalStore

__all__ = ["ArrowS3Store", "FsspecStore", "LocalStore", "Store", "StoredFile", "endpoint_of_environment", "open_store"]

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_BROKEN_SCHEME = re.compile(r"^(s3a?|gs|gcs|az|abfs|https?):(?!//)", re.IGNORECASE)


def open_store(url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Store:
    """The store at an address. Nothing is read or written yet.

    Args:
        url: A folder, ``file://…``, ``s3://bucket/prefix``, or any URL that fsspec knows.
        storage_options: fsspec's options for the protocol; for S3 as s3fs spells them.

    Raises:
        LakeURLError: If the address or the options cannot be understood.
    """
    address = os.fspath(url).strip()
    options = dict(storage_options or {})
    if not address:
        raise LakeURLError("the lake's address is empty: give a folder or a URL such as s3://bucket/prefix")
    if _BROKEN_SCHEME.match(address):
        scheme, _, rest = address.partition(":")
        raise LakeURLError(f"{address!r} is not a URL: write it as '{scheme}://{rest.lstrip('/')}'")
    if not _SCHEME.match(address):
        return LocalStore(Path(address).expanduser())
    parts = urlsplit(address)
    if parts.scheme == "file":
        return LocalStore(_file_url_path(address))
    if parts.scheme in {"s3", "s3a"}:
        return _open_s3(address, options)
    return FsspecStore(address, options)


def _file_url_path(address: str) -> Path:
    host, slash, path = address.split("://", 1)[1].partition("/")
    if host not in {"", "localhost"} or not slash:
        raise LakeURLError(
            f"{address!r} names no absolute path: write file:///absolute/path, or the folder without file://"
        )
    return Path(unquote(f"/{path}"))


def _open_s3(address: str, options: dict[str, Any]) -> Store:
    bucket = address.split("://", 1)[1].split("/", 1)[0]
    if not bucket:
        raise LakeURLError(f"{address!r} names no bucket: write s3://bucket/prefix")
    if "@" in bucket:
        raise LakeURLError("the lake's URL holds credentials: write s3://bucket/prefix, give them as storage options")
    native = native_s3_options(options)
    if native is None:
        return FsspecStore(address, options)
    return ArrowS3Store("s3://" + address.split("://", 1)[1], native, options)
