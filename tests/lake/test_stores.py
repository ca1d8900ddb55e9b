"""One set of promises for every store: local folder, S3 server, fsspec."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import uuid
from pathlib import Path

import pytest

from lightning_lde.errors import LakeNotFoundError, LakeURLError, StoreError
from lightning_lde.lake.stores import ArrowS3Store, FsspecStore, LocalStore, Store, open_store


@pytest.fixture(
    params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3), pytest.param("s3fs", marks=pytest.mark.s3)]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return open_store(tmp_path / "root")
    if request.param == "memory":
        return open_store(f"memory://{uuid.uuid4().hex}/root")
    server = request.getfixturevalue("s3_server")
    url = f"s3://{server.new_bucket()}/a/root"
    # s3fs is taken where an option has no counterpart in the native client.
    extra = {"use_listings_cache": False} if request.param == "s3fs" else {}
    opened = open_store(url, {**server.options, **extra})
    assert isinstance(opened, FsspecStore if extra else ArrowS3Store)
    return opened


def test_what_was_put_comes_back(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(os.urandom(3_000_000))
    store.put("a/b/one", b"1")
    store.put("a/b/empty", b"")
    store.put_file("a/c/two", source)
    assert store.get("a/b/one") == b"1"
    assert store.get("a/b/empty") == b""
    assert store.get("a/c/two") == source.read_bytes()
    found = {(file.path, file.size_bytes) for file in store.list("a/")}
    assert found == {("a/b/one", 1), ("a/b/empty", 0), ("a/c/two", 3_000_000)}


def test_a_put_replaces(store: Store) -> None:
    store.put("x", b"long content")
    store.put("x", b"new")
    assert store.get("x") == b"new"


def test_existence_and_deletion(store: Store) -> None:
    assert not store.exists("a/x")
    store.put("a/x", b"1")
    assert store.exists("a/x")
    assert not store.exists("a")
    store.delete("a/x")
    store.delete("a/x")
    assert not store.exists("a/x")


def test_sizes(store: Store) -> None:
    assert store.size("a/x") is None
    store.put("a/x", b"123")
    assert store.size("a/x") == 3
    assert store.size("a") is None
    store.delete("a/x")
    assert store.size("a/x") is None


def test_a_file_goes_in_only_with_its_hash(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    store.put_file("a/x", source, sha256=hashlib.sha256(b"content").hexdigest())
    assert store.get("a/x") == b"content"
    with pytest.raises(StoreError, match="source changed"):
        store.put_file("a/y", source, sha256="0" * 64)
    assert [file.path for file in store.list("a/")] == ["a/x"]


def test_a_missing_source_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.ckpt"):
        store.put_file("a/x", tmp_path / "nothing.ckpt")
    assert list(store.list("a/")) == []


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
    with pytest.raises(error):
        store.put_file("a/x", FailingSource(error))  # type: ignore[arg-type]
    assert list(store.list("a/")) == []
    assert kind == "s3" or not any((tmp_path / "a").iterdir())


@pytest.mark.s3
def test_a_put_that_breaks_leaves_nothing(s3_server) -> None:
    store = open_store(f"s3://{s3_server.new_bucket()}/root", s3_server.options)
    with pytest.raises(TypeError):
        store.put("a/x", "text")  # type: ignore[arg-type]
    assert list(store.list("a/")) == []


def test_only_a_local_store_has_paths(store: Store, tmp_path: Path) -> None:
    expected = str(tmp_path / "root" / "a" / "x") if isinstance(store, LocalStore) else None
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


def test_a_missing_file_says_so(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.get("nothing/here")


def test_listing_of_nothing_is_empty(store: Store) -> None:
    assert list(store.list("nothing/")) == []


def test_a_listing_does_not_reach_beside_its_prefix(store: Store) -> None:
    store.put("hot/x", b"1")
    store.put("hotter/y", b"1")
    assert [file.path for file in store.list("hot/")] == ["hot/x"]


@pytest.mark.parametrize("name", ["a b", "ä%20=ü", "project=a%2Fb/x", "quote'\"", "🙂"])
def test_odd_names(store: Store, name: str) -> None:
    store.put(f"d/{name}", b"1")
    assert [file.path for file in store.list("d/")] == [f"d/{name}"]
    assert store.get(f"d/{name}") == b"1"


def test_a_store_survives_pickling(store: Store) -> None:
    store.put("x", b"1")
    assert pickle.loads(pickle.dumps(store)).get("x") == b"1"


def test_arrow_reads_the_same_files(store: Store) -> None:
    store.put("d/x", b"123")
    filesystem, root = store.arrow_filesystem()
    with filesystem.open_input_stream(f"{root}/d/x") as stream:
        assert stream.read() == b"123"


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
