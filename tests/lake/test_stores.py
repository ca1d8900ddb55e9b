"""One set of promises for every store: local folder, S3 server, fsspec."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_lde.errors import LakeNotFoundError, LakeURLError, StoreError
from lightning_lde.lake.stores import ArrowS3Store, FsspecStore, LocalStore, Store, open_store
from lightning_lde.testing import STORE_CHECKS, FaultyStore

SLOW_CHECKS = {"a_long_listing_is_whole"}
CHECKS = [
    pytest.param(check, id=check.__name__, marks=[pytest.mark.slow] if check.__name__ in SLOW_CHECKS else [])
    for check in STORE_CHECKS
]


@pytest.fixture(
    params=[
        "local",
        "memory",
        "wrapped",
        pytest.param("s3", marks=pytest.mark.s3),
        pytest.param("s3fs", marks=pytest.mark.s3),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(tmp_path / "root")
    if request.param == "memory":
        return open_store(f"memory://{uuid.uuid4().hex}/root")
    if request.param == "wrapped":
        return FaultyStore(open_store(tmp_path / "root"))
    server = request.getfixturevalue("s3_server")
    url = f"s3://{server.new_bucket()}/a/root"
    # s3fs is taken where an option has no counterpart in the native client.
    extra = {"use_listings_cache": False} if request.param == "s3fs" else {}
    opened = open_store(url, {**server.options, **extra})
    assert isinstance(opened, FsspecStore if extra else ArrowS3Store)
    return opened


@pytest.mark.parametrize("check", CHECKS)
def test_every_store_keeps_its_promises(check: Callable[[Store, Path], None], store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    check(store, folder)


class FailingSource:
    """A file whose third megabyte cannot be read."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def open(self, _mode: str) -> FailingSource:
        self.reads = 0
        return self

    def __enter__(self) -> FailingSource:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, size: int) -> bytes:
        self.reads += 1
        if self.reads > 2:
            raise self.error("the disk is broken")
        return b"x" * size


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("kind", ["local", pytest.param("s3", marks=pytest.mark.s3)])
def test_an_upload_that_breaks_leaves_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, error: type[BaseException]
) -> None:
    if kind == "local":
        store = open_store(tmp_path)
    else:
        server = request.getfixturevalue("s3_server")
        store = open_store(f"s3://{server.new_bucket()}/root", server.options)
    with pytest.raises((error, StoreError)):
        store.put_file("a/x", FailingSource(error))  # type: ignore[arg-type]
    assert list(store.list("a/")) == []
    assert kind == "s3" or not any((tmp_path / "a").iterdir())


@pytest.mark.s3
def test_a_put_that_breaks_leaves_nothing(s3_server) -> None:
    store = open_store(f"s3://{s3_server.new_bucket()}/root", s3_server.options)
    with pytest.raises(StoreError):
        store.put("a/x", "text")  # type: ignore[arg-type]
    assert list(store.list("a/")) == []


def test_only_a_local_store_has_paths(store: Store, tmp_path: Path) -> None:
    expected = str(tmp_path / "root" / "a" / "x") if isinstance(store, (LocalStore, FaultyStore)) else None
    assert store.local_path("a/x") == expected


def test_a_local_store_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("lake")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.put("x", b"1")
    assert (tmp_path / "lake" / "x").read_bytes() == b"1"
    assert (store.get("x"), store.exists("x"), store.url) == (b"1", True, "lake")
    assert store.size("x") == 1
    assert store.absolute_url == str(tmp_path / "lake")
    store.delete("x")
    assert not (tmp_path / "lake" / "x").exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put("d/x", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        store.put("d/x", b"new")
    assert [file.name for file in (tmp_path / "d").iterdir()] == ["x"]
    assert store.get("d/x") == b"old"


def test_no_write_permission_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        LocalStore(tmp_path / "file").put("x", b"1")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "empty"),
        ("s3:/bucket/x", "s3://bucket/x"),
        ("s3://", "names no bucket"),
        ("s3://key:hunter2@bucket/x", "holds credentials"),
        ("nosuch://x/y", "nosuch"),
        ("file://lake", "file:///absolute"),
        ("file://./lake", "file:///absolute"),
        ("file://../lake", "file:///absolute"),
        ("file://", "file:///absolute"),
    ],
)
def test_addresses_that_cannot_be_understood(url: str, message: str) -> None:
    with pytest.raises(LakeURLError, match=message):
        open_store(url)


def test_credentials_in_an_address_are_not_repeated() -> None:
    with pytest.raises(LakeURLError) as caught:
        open_store("s3://key:hunter2@bucket/x")
    assert "hunter2" not in str(caught.value)


def test_an_endpoint_without_scheme_is_refused() -> None:
    with pytest.raises(LakeURLError, match="https://host:port"):
        open_store("s3://bucket/x", {"endpoint_url": "localhost:9000"})


def test_file_urls_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store(f"file://{tmp_path}/a%20b").url == f"{tmp_path}/a b"
    assert open_store(f"file://localhost{tmp_path}/a").url == f"{tmp_path}/a"
    assert open_store(f"file://{tmp_path}/a#1").url == f"{tmp_path}/a#1"
    assert open_store("~/lake").url == f"{tmp_path}/lake"


@pytest.mark.s3
def test_missing_bucket_and_wrong_server(s3_server) -> None:
    with pytest.raises(LakeNotFoundError, match="no bucket"):
        open_store("s3://no-such-bucket/x", s3_server.options).check_root()
    with pytest.raises(StoreError, match="cannot"):
        open_store("s3://no-such-bucket/x", s3_server.options).put("x", b"1")
