"""The cold root: what is put there arrived, belongs to one lake, and says when it has to be asked for."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from lightning_lde.errors import ArchivedError, ConfigurationError, StoreError
from lightning_lde.lake.stores import open_store
from lightning_lde.lake.tiers._archive import State
from lightning_lde.lake.tiers._root import ColdRoot, _etags, cold_roots
from lightning_lde.tiering import TierPolicy
from tests.conftest import S3Server


@pytest.fixture(params=["folder", pytest.param("bucket", marks=[pytest.mark.s3, pytest.mark.slow])])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> ColdRoot:
    if request.param == "folder":
        return ColdRoot(str(tmp_path / "cold"), "STANDARD_IA")
    server: S3Server = request.getfixturevalue("s3_server")
    return ColdRoot(f"s3://{server.new_bucket()}/team/cold", "STANDARD_IA", server.options)


def test_what_is_put_is_there(root: ColdRoot) -> None:
    assert root.state("objects/ab/x").state is State.MISSING
    with pytest.raises(FileNotFoundError):
        root.get("objects/ab/x")
    root.put("objects/ab/x", b"one")
    root.put("objects/ab/x", b"one")
    assert (root.get("objects/ab/x"), root.size("objects/ab/x")) == (b"one", 3)
    assert root.state("objects/ab/x").is_readable
    root.store.put("objects/ab/x", b"two")
    root.put("objects/ab/x", b"one")
    assert root.get("objects/ab/x") == b"one", "a damaged copy of the same size is written again"
    assert [(one.path, one.size_bytes) for one in root.files("objects/", "chunks/")] == [("objects/ab/x", 3)]


def test_a_root_belongs_to_one_lake(root: ColdRoot) -> None:
    root.claim("one")
    root.claim("one")
    with pytest.raises(ConfigurationError, match="another lake"):
        root.claim("two")
    root.store.put("lde-cold.json", b"[]")
    with pytest.raises(ConfigurationError, match="is not a cold root's"):
        root.claim("one")


@pytest.mark.s3
def test_an_archive_is_asked_before_it_is_read(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    root = ColdRoot(f"s3://{bucket}/cold", "GLACIER", s3_server.options)
    root.claim("one")
    root.claim("one")
    root.put("chunks/ab/x", b"content")
    root.put("chunks/ab/x", b"content")
    client = boto3.client(
        "s3", endpoint_url=s3_server.endpoint, aws_access_key_id=s3_server.key,
        aws_secret_access_key=s3_server.secret, region_name="us-east-1",
    )  # fmt: skip
    assert client.head_object(Bucket=bucket, Key="cold/chunks/ab/x")["StorageClass"] == "GLACIER"
    assert root.is_archive
    assert root.state("chunks/ab/x").state is State.ARCHIVED
    with pytest.raises(ArchivedError, match=r"chunks/ab/x in s3://.* is archived since 20.*`lde restore`"):
        root.get("chunks/ab/x")
    root.ask_for("chunks/ab/x", days=2, retrieval="Bulk")
    assert str(root.state("chunks/ab/x")).startswith("restored until 20")
    assert root.get("chunks/ab/x") == b"content"
    with pytest.raises(StoreError, match="cannot ask for chunks/ab/y"):
        root.ask_for("chunks/ab/y", days=2, retrieval="Bulk")


@pytest.mark.s3
@pytest.mark.slow
def test_what_goes_in_parts_is_known_by_its_hash(s3_server: S3Server) -> None:
    root = ColdRoot(f"s3://{s3_server.new_bucket()}/cold", "GLACIER", s3_server.options)
    data = bytes(range(256)) * (420 << 10)
    root.put("objects/ab/x", data)
    assert str(root._head("objects/ab/x")["ETag"]).strip('"') in _etags(data)  # type: ignore[index]


def test_options_are_those_of_the_lake_for_the_same_protocol_only(tmp_path: Path) -> None:
    hot = open_store("s3://b/lake", {"key": "k", "secret": "s"})
    tiers = TierPolicy("s3://b/cold", "GLACIER", former_roots=(str(tmp_path),))
    assert [root._options for root in cold_roots(tiers, hot, {"key": "k"})] == [{"key": "k"}, {}]
    with pytest.raises(ConfigurationError):
        cold_roots(TierPolicy("s3://b/lake/cold"), hot, {})
