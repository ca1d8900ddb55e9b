"""The cold root of a lake: a second store with the same paths, of which objects may be archived."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from lightning_lde.errors import ArchivedError, ConfigurationError, StoreError
from lightning_lde.lake.stores import FsspecStore, Store, StoredFile, open_store
from lightning_lde.lake.tiers._apart import require_apart
from lightning_lde.lake.tiers._archive import ARCHIVE_CLASSES, ObjectState, State, state_of
from lightning_lde.tiering import TierPolicy

MARKER = "lde-cold.json"
"""In a cold root, it says to which lake the root belongs."""

_FORMAT = "lightning-lde-cold"
_MULTIPART_BYTES = 50 << 20
"""s3fs uploads larger objects in parts of so many bytes."""


class ColdRoot:
    """Where files of a lake lie that are not needed at once.

    Args:
        url: Its absolute address.
        storage_class: What files are stored as, where it is on S3.
        options: fsspec's options for the protocol.
        is_used: Whether the lake has written to it before.
    """

    def __init__(
        self,
        url: str,
        storage_class: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        is_used: bool = False,
    ) -> None:
        self.url = url
        self.is_used = is_used
        self.storage_class = storage_class if _is_s3(url) else None
        self._options = dict(options or {})
        self.store = self._opened()

    def _opened(self) -> Store:
        if self.storage_class is None:
            return open_store(self.url, self._options)
        extra = {**(self._options.get("s3_additional_kwargs") or {}), "StorageClass": self.storage_class}
        return FsspecStore(self.url, {**self._options, "s3_additional_kwargs": extra})

    @property
    def is_archive(self) -> bool:
        """Whether what is written there cannot be read at once."""
        return self.storage_class in ARCHIVE_CLASSES

    def claim(self, tier_id: str) -> None:
        """Make it this lake's cold root.

        Args:
            tier_id: The id of the lake's tiers.

        Raises:
            ConfigurationError: If it is another lake's.
            StoreError: If it cannot be written.
        """
        content = json.dumps({"format": _FORMAT, "id": tier_id}).encode()
        # The marker has to be readable, whatever the class of the other files.
        store = open_store(self.url, self._options)
        if not store.exists(MARKER) and store.create(MARKER, content):
            return
        try:
            owner = json.loads(store.get(MARKER))["id"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{MARKER} at {self.url} is not a cold root's: {error}") from error
        if owner != tier_id:
            raise ConfigurationError(
                f"the cold root {self.url} belongs to another lake: give this one a place of its own, since what one "
                "of them deletes the other one may need"
            )

    def put(self, path: str, data: bytes, *, may_be_there: bool = True) -> bool:
        """Make sure that a file is there with these bytes.

        Args:
            path: The file.
            data: Its bytes.
            may_be_there: Whether to look first.

        Returns:
            Whether it had to be written.

        Raises:
            StoreError: If it did not arrive.
        """
        if may_be_there and self._has(path, data):
            return False
        self.store.put(path, data)
        if not self._has(path, data):
            raise StoreError(f"{path} did not arrive at the cold root {self.url} as it was sent; try again")
        return True

    def _has(self, path: str, data: bytes) -> bool:
        """Whether a file holds these bytes: by S3's hash where it says one, else by reading them."""
        if not _is_s3(self.url):
            return self.store.size(path) == len(data) and self._reads(path, data)
        head = self._head(path)
        if head is None or head.get("ContentLength") != len(data):
            return False
        if str(head.get("ETag", "")).strip('"') in _etags(data):
            return True
        # Encrypted by a key of the server's: the hash says nothing, and reading from an archive would cost hours. The
        # client sent a checksum, which the server has compared.
        return not state_of(head).is_readable or self._reads(path, data)

    def _reads(self, path: str, data: bytes) -> bool:
        try:
            return self.store.get(path) == data
        except FileNotFoundError:
            return False

    def get(self, path: str) -> bytes:
        """Read a file.

        Raises:
            FileNotFoundError: If it is not there.
            ArchivedError: If it has to be asked for first.
            StoreError: If it cannot be read.
        """
        try:
            return self.store.get(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            if _is_s3(self.url) and not (found := self.state(path)).is_readable:
                raise _archived(f"{path} in {self.url} is {found}: `lde restore` brings it back", found) from error
            raise

    def remove(self, path: str) -> None:
        """Delete a file; one that is not there is no error.

        Raises:
            StoreError: If the root itself is not there.
        """
        self.require_there()
        self.store.delete(path)

    def require_there(self) -> None:
        """Make sure that a root that was written to is there; one that is not would look like an empty one.

        Raises:
            StoreError: If it is not.
        """
        if self.is_used and not self._is_there:
            raise StoreError(
                f"the cold root {self.url} is not there, or is not this lake's: bring it back, then try again"
            )

    @cached_property
    def _is_there(self) -> bool:
        return open_store(self.url, self._options).exists(MARKER)

    def size(self, path: str) -> int | None:
        """The size of a file in bytes, None if there is none of that name.

        Raises:
            StoreError: If the root itself is not there.
        """
        self.require_there()
        return self.store.size(path)

    def state(self, path: str) -> ObjectState:
        """Whether a file can be read now."""
        if not _is_s3(self.url):
            size_bytes = self.store.size(path)
            return ObjectState(State.MISSING if size_bytes is None else State.READY, size_bytes=size_bytes)
        head = self._head(path)
        return ObjectState(State.MISSING) if head is None else state_of(head)

    def ask_for(self, path: str, *, days: int, retrieval: str) -> None:
        """Ask for an archived file; asking twice does no harm.

        Args:
            path: The file.
            days: For how many days it shall be readable.
            retrieval: How fast, a word of `RETRIEVALS`.

        Raises:
            StoreError: If the server refuses.
        """
        try:
            self._filesystem.call_s3(
                "restore_object",
                **self._place(path),
                RestoreRequest={"Days": days, "GlacierJobParameters": {"Tier": retrieval}},
            )
        except Exception as error:
            if "RestoreAlreadyInProgress" not in f"{error!r} {error.__cause__!r}":
                raise StoreError(f"cannot ask for {path} in {self.url}: {error}") from error

    def files(self, *prefixes: str) -> Iterator[StoredFile]:
        """All files below some prefixes."""
        for prefix in prefixes:
            yield from self.store.list(prefix)

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._filesystem.call_s3("head_object", **self._place(path))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StoreError(f"cannot look for {path} at {self.url}: {error}") from error
        return found

    def _place(self, path: str) -> dict[str, str]:
        bucket, _, prefix = self.url.split("://", 1)[1].partition("/")
        return {"Bucket": bucket, "Key": f"{prefix.strip('/')}/{path}".lstrip("/")}

    @cached_property
    def _filesystem(self) -> Any:
        import fsspec

        filesystem, _ = fsspec.core.url_to_fs(self.url, **self._options)
        return filesystem


def cold_roots(tiers: TierPolicy, hot: Store, options: Mapping[str, Any]) -> list[ColdRoot]:
    """The roots in which cold files may lie, the present one first.

    Args:
        tiers: What the lake says.
        hot: The lake's own store.
        options: The lake's storage options: they count where the protocol is the same, else the environment does.

    Raises:
        LakeURLError: If an address cannot be understood.
        ConfigurationError: If a root lies in the lake.
    """
    for url in tiers.roots:
        require_apart(hot.absolute_url, url)
    mine = _protocol(hot.absolute_url)
    return [
        ColdRoot(
            url,
            tiers.storage_class,
            options if _protocol(url) == mine else {},
            is_used=url in tiers.used_roots,
        )
        for url in tiers.roots
    ]


def _archived(message: str, found: ObjectState) -> ArchivedError:
    error = ArchivedError(message)
    error.state = str(found)
    return error


def _protocol(url: str) -> str:
    scheme = url.split("://", 1)[0] if "://" in url else "file"
    return {"s3a": "s3", "gcs": "gs"}.get(scheme, scheme)


def _is_s3(url: str) -> bool:
    return _protocol(url) == "s3"


def _etags(data: bytes) -> set[str]:
    """What S3 calls bytes that were sent at once, and such that s3fs sent in parts."""
    whole = hashlib.md5(data, usedforsecurity=False)
    starts = range(0, len(data), _MULTIPART_BYTES)
    parts = [hashlib.md5(data[start : start + _MULTIPART_BYTES], usedforsecurity=False) for start in starts]
    joined = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
    return {whole.hexdigest(), f"{joined.hexdigest()}-{len(parts)}"}
