"""Encryption by the server: what is asked for reaches each object of a lake, and the lake is read with it."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import StoreError
from lightning_lde.lake.stores import FsspecStore, open_store

from .customer_keys import strict_server
from .damage import compacted, values, whole

if TYPE_CHECKING:
    from tests.conftest import S3Server

pytestmark = pytest.mark.s3

KEY = bytes(range(32))
WAYS: dict[str, dict[str, Any]] = {
    "SSE-S3": {"ServerSideEncryption": "AES256"},
    "SSE-KMS": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/lake"},
}
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}


def heads(server: S3Server, url: str) -> dict[str, dict[str, Any]]:
    """What the server says of each object of a lake, asked by another client."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.key,
        aws_secret_access_key=server.secret,
        region_name="us-east-1",
    )
    bucket = url.split("/")[2]
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: client.head_object(Bucket=bucket, Key=key) for key in keys}


def as_asked(head: dict[str, Any], way: str) -> bool:
    """Whether an object is encrypted as it was asked for."""
    return {name: head.get(name) for name in WAYS[way]} == WAYS[way]


@pytest.mark.parametrize("way", sorted(WAYS))
def test_each_write_carries_it(s3_server: S3Server, bucket_url: str, tmp_path: Path, way: str) -> None:
    store = open_store(bucket_url, {**s3_server.options, "s3_additional_kwargs": WAYS[way]})
    # pyarrow's client has no such options; nobody may write without them because it is quicker.
    assert isinstance(store, FsspecStore)
    (tmp_path / "x").write_bytes(b"file")
    store.put("put", b"put")
    store.put_file("put_file", tmp_path / "x")
    assert store.create("create", b"create")
    assert not store.create("create", b"again")
    found = heads(s3_server, bucket_url)
    assert {key.rpartition("/")[2] for key in found} == {"put", "put_file", "create"}
    assert all(as_asked(head, way) for head in found.values())
    assert [store.get(name) for name in ("put", "put_file", "create")] == [b"put", b"file", b"create"]
    assert store.size("put") == 3
    assert {one.path for one in store.list("")} == {"put", "put_file", "create"}


@pytest.mark.slow
@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_large_file_carries_it_too(s3_server: S3Server, bucket_url: str, tmp_path: Path, way: str) -> None:
    store = open_store(bucket_url, {**s3_server.options, "s3_additional_kwargs": WAYS[way]})
    content = os.urandom(1 << 20) * 60
    (tmp_path / "x").write_bytes(content)
    store.put_file("large", tmp_path / "x")
    [head] = heads(s3_server, bucket_url).values()
    assert as_asked(head, way)
    assert store.get("large") == content


def fill_and_read(url: str, options: dict[str, Any], folder: Path) -> None:
    """All that writes and reads, at least once."""
    lake = Lake(url, options).create()
    whole(lake)
    with Recorder(url, project="p", system_metrics_every_s=None, storage_options=options) as run:
        run.log({"x": 1.0}, step=0)
    (folder / "x.bin").write_bytes(os.urandom(1 << 20))
    lake.storage.put_artifact(folder / "x.bin")
    expected = values(lake)
    assert len(expected) == 13
    compacted(lake)
    assert values(Lake(url, options)) == expected
    assert lake.storage.check(deep=True).findings == []


@pytest.mark.slow
@pytest.mark.parametrize("way", sorted(WAYS))
def test_a_whole_lake(s3_server: S3Server, bucket_url: str, tmp_path: Path, way: str) -> None:
    options = {**s3_server.options, "s3_additional_kwargs": WAYS[way]}
    fill_and_read(bucket_url, options, tmp_path)
    found = heads(s3_server, bucket_url)
    assert any("/_delta_log/" in key for key in found)
    assert {key for key, head in found.items() if not as_asked(head, way)} == set()


def test_a_key_of_the_customer_goes_with_each_request(s3_server: S3Server, bucket_url: str, tmp_path: Path) -> None:
    with strict_server(s3_server.endpoint) as strict:
        options = {**s3_server.options, "endpoint_url": strict.endpoint, "s3_additional_kwargs": CUSTOMER}
        store = open_store(bucket_url, options)
        (tmp_path / "x").write_bytes(b"file")
        store.put("put", b"put")
        store.put_file("put_file", tmp_path / "x")
        assert store.create("create", b"create")
        assert [store.get(name) for name in ("put", "put_file", "create")] == [b"put", b"file", b"create"]
        assert (store.size("put_file"), store.exists("create")) == (4, True)
        filesystem, root = store.arrow_filesystem()
        with filesystem.open_input_file(f"{root}/put_file") as file:
            assert file.read() == b"file"
        assert strict.refused == []
        assert len(strict.keys) == 3
        [digest] = set(strict.keys.values())
        assert digest == base64.b64encode(hashlib.md5(KEY, usedforsecurity=False).digest()).decode()
        with pytest.raises(StoreError):
            open_store(bucket_url, {**s3_server.options, "endpoint_url": strict.endpoint}).get("put")


def test_the_command_line_takes_it(s3_server: S3Server, bucket_url: str) -> None:
    words = [f"--storage-option={name}={value}" for name, value in s3_server.options.items()]
    extra = '--storage-option=s3_additional_kwargs={"ServerSideEncryption": "AES256"}'
    result = CliRunner().invoke(app, ["init", bucket_url, *words, extra])
    assert result.exit_code == 0, result.output
    [head] = heads(s3_server, bucket_url).values()
    assert head["ServerSideEncryption"] == "AES256"
    result = CliRunner().invoke(app, ["init", bucket_url, "--storage-option=s3_additional_kwargs={no json"])
    assert result.exit_code == 2
    assert "is not JSON" in result.output


def test_a_key_that_is_none_is_said(s3_server: S3Server, bucket_url: str) -> None:
    extra = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": 7}
    store = open_store(bucket_url, {**s3_server.options, "s3_additional_kwargs": extra})
    with pytest.raises(StoreError, match="cannot write x"):
        store.put("x", b"1")
