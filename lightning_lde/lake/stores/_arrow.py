"""A store in an S3 bucket through pyarrow's native client, 5 to 12 times s3fs on small writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lightning_lde.errors import LakeNotFoundError, LakeURLError, StoreError
from lightning_lde.lake.stores._base import StoredFile, checked_chunks
from lightning_lde.lake.stores._fsspec import FsspecStore

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs as pa_fs

CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 20.0
ATTEMPTS_TO_READ = 3
ATTEMPTS_TO_WRITE = 1
"""Who records tries again himself; and the end of a process waits, deaf to Ctrl-C, until a request is given up."""

_PLAIN_OPTIONS = {"key": "access_key", "secret": "secret_key", "token": "session_token", "anon": "anonymous"}
_CLIENT_OPTIONS = {"endpoint_url", "region_name"}


def native_s3_options(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Translate s3fs' storage options for pyarrow.

    Args:
        options: ``key``, ``secret``, ``token``, ``anon``, ``endpoint_url``, ``region`` and
            ``client_kwargs`` with ``endpoint_url`` and ``region_name``, as s3fs spells them.

    Returns:
        Arguments of ``pyarrow.fs.S3FileSystem``, or None where an option has no counterpart there.

    Raises:
        LakeURLError: If the options do not fit together.
    """
    client = options.get("client_kwargs") or {}
    if not isinstance(client, Mapping):
        raise LakeURLError(f"client_kwargs is {client!r}: give a mapping, or use endpoint_url and region")
    if bool(options.get("key")) != bool(options.get("secret")):
        raise LakeURLError("only one of key and secret is given: give both, or none for the usual AWS places")
    known = {*_PLAIN_OPTIONS, "endpoint_url", "region", "client_kwargs"}
    if set(options) - known or set(client) - _CLIENT_OPTIONS:
        return None
    native = {_PLAIN_OPTIONS[name]: value for name, value in options.items() if name in _PLAIN_OPTIONS}
    endpoint = options.get("endpoint_url") or client.get("endpoint_url") or endpoint_of_environment()
    region = options.get("region") or client.get("region_name")
    return native | _endpoint_arguments(endpoint) | ({"region": region} if region else {})


def endpoint_of_environment() -> str | None:
    """Where S3 is, as the usual variables say it; None for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _endpoint_arguments(endpoint: str | None) -> dict[str, str]:
    if not endpoint:
        return {}
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise LakeURLError(f"endpoint_url {endpoint!r} must look like https://host:port")
    # Without a region pyarrow asks Amazon for the bucket's, which no other server answers.
    return {"endpoint_override": parts.netloc, "scheme": parts.scheme, "region": "us-east-1"}


class ArrowS3Store:
    """Objects of one bucket below one prefix.

    Args:
        url: ``s3://bucket/prefix``.
        options: What :func:`native_s3_options` returned.
        given: The options as s3fs spells them, for the one request that pyarrow's client cannot make.
    """

    def __init__(self, url: str, options: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> None:
        self._url = url.rstrip("/")
        self._root = self._url.split("://", 1)[1]
        self._options = dict(options)
        self._given = dict(given or {})
        self._filesystems: dict[int, pa_fs.S3FileSystem] = {}

    @property
    def url(self) -> str:
        """The address, ``s3://bucket/prefix``."""
        return self._url

    @property
    def absolute_url(self) -> str:
        """The same address."""
        return self._url

    def put(self, path: str, data: bytes) -> None:
        """Write a whole object."""
        with self._translated(f"write {path}"), self._writing(path) as stream:
            stream.write(data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a whole object unless there is one: a conditional PUT, which pyarrow does not have and s3fs has."""
        return FsspecStore(self._url, self._given).create(path, data)

    def put_file(self, path: str, source: Path, *, sha256: str | None = None) -> None:
        """Upload a local file in pieces."""
        with self._translated(f"write {path}"), source.open("rb") as original, self._writing(path) as stream:
            for chunk in checked_chunks(original, source, sha256):
                stream.write(chunk)

    @contextlib.contextmanager
    def _writing(self, path: str) -> Iterator[pa.NativeFile]:
        client = self._client(ATTEMPTS_TO_WRITE)
        stream = client.open_output_stream(self._key(path))
        try:
            yield stream
        except BaseException:
            # pyarrow's streams cannot be aborted: closing completes a part of the file, which then has to go.
            # Where closing fails nothing was completed, and what stood there before stays.
            with contextlib.suppress(Exception):
                stream.close()
                client.delete_file(self._key(path))
            raise
        stream.close()

    def get(self, path: str) -> bytes:
        """Read a whole object."""
        # One request: a stream asks piece by piece, and the object may be replaced in between.
        with self._translated(f"read {path}"), self._s3.open_input_file(self._key(path)) as file:
            data: bytes = file.read()
            return data

    def exists(self, path: str) -> bool:
        """Whether there is an object of that name."""
        import pyarrow.fs as pa_fs

        with self._translated(f"look for {path}"):
            return bool(self._s3.get_file_info(self._key(path)).type == pa_fs.FileType.File)

    def size(self, path: str) -> int | None:
        """The size of an object in bytes, None if there is none of that name."""
        import pyarrow.fs as pa_fs

        with self._translated(f"look for {path}"):
            info = self._s3.get_file_info(self._key(path))
        return int(info.size) if info.type == pa_fs.FileType.File else None

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """All objects below a prefix."""
        import pyarrow.fs as pa_fs

        selector = pa_fs.FileSelector(self._key(prefix.rstrip("/")), recursive=True, allow_not_found=True)
        with self._translated(f"list {prefix}"):
            found = self._s3.get_file_info(selector)
        for info in found:
            if info.type == pa_fs.FileType.File:
                yield StoredFile(info.path[len(self._root) + 1 :], info.size, info.mtime)

    def delete(self, path: str) -> None:
        """Remove an object if it is there."""
        with self._translated(f"delete {path}"), contextlib.suppress(FileNotFoundError):
            self._s3.delete_file(self._key(path))

    def check_root(self) -> None:
        """Raise if there is no such bucket."""
        import pyarrow.fs as pa_fs

        bucket = self._root.split("/", 1)[0]
        with self._translated(f"reach bucket {bucket}"):
            found = self._s3.get_file_info(bucket).type
        if found == pa_fs.FileType.NotFound:
            raise LakeNotFoundError(f"no bucket {bucket!r} at {self._url}: create it or correct the address")

    def local_path(self, path: str) -> None:
        """None: objects lie on no disk of this machine."""

    def arrow_filesystem(self) -> tuple[pa_fs.FileSystem, str]:
        """The S3 file system and ``bucket/prefix``."""
        return self._s3, self._root

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_filesystems": {}}

    @property
    def _s3(self) -> pa_fs.S3FileSystem:
        return self._client(ATTEMPTS_TO_READ)

    def _client(self, attempts: int) -> pa_fs.S3FileSystem:
        if attempts not in self._filesystems:
            import pyarrow.fs as pa_fs

            self._filesystems[attempts] = pa_fs.S3FileSystem(
                connect_timeout=CONNECT_TIMEOUT_S,
                request_timeout=REQUEST_TIMEOUT_S,
                retry_strategy=pa_fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
                **self._options,
            )
        return self._filesystems[attempts]

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextlib.contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except Exception as error:
            # After its own end, and where an option is wrong, pyarrow raises other kinds.
            raise StoreError(f"cannot {action} at {self._url}: {error}") from error
