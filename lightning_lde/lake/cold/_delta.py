"""Shows the cold tables to other engines: each is a Delta Lake table too, brought up to date after a compaction.

What counts for this package is the manifest. The log of a Delta table is made from it, so that it can be late, and can
be made again, but never says anything else. Spark, Trino, Polars, Daft and others read such tables as they are.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import StoreError
from lightning_lde.lake.cold._manifest import COLD, ColdFile, Manifest
from lightning_lde.lake.cold._rows import SORTED_BY
from lightning_lde.lake.stores import Store, endpoint_of_environment

if TYPE_CHECKING:
    import deltalake
    import pyarrow as pa

APPLICATION = "lightning-lde"
"""Under this name each Delta table keeps the number of the manifest that it shows."""

_ATTEMPTS = 3
_OF_S3FS = ("key", "secret", "token", "endpoint_url", "region")
_OF_DELTA = ("access_key_id", "secret_access_key", "session_token", "endpoint_url", "region")
_SCHEMES = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://")


def can_publish(store: Store) -> bool:
    """Whether Delta tables can be written there: the library is installed and knows the protocol."""
    try:
        import deltalake  # noqa: F401
    except ImportError:
        return False
    return _address(store) is not None


def has_logs(store: Store, manifest: Manifest) -> bool:
    """Whether tables were published before."""
    return any(True for table in manifest.tables for _ in store.list(f"{COLD}{table}/_delta_log/"))


def publish(store: Store, manifest: Manifest, options: Mapping[str, Any]) -> list[str]:
    """Let the Delta tables have the files of a manifest.

    Args:
        store: Where the lake is.
        manifest: The newest.
        options: The storage options as s3fs spells them.

    Returns:
        The tables that were behind.

    Raises:
        StoreError: If a table cannot be written.
    """
    from deltalake.exceptions import DeltaError

    behind = []
    for table, files in manifest.tables.items():
        for attempt in range(_ATTEMPTS):
            try:
                if _publish(store, table, files, manifest.number, options):
                    behind.append(table)
                break
            except (DeltaError, OSError) as error:
                # Another one may have published the same manifest, or the next.
                if attempt == _ATTEMPTS - 1:
                    raise StoreError(f"the Delta table {table} of {store.url} cannot be written: {error}") from error
    return behind


def shown_files(store: Store, table: str, options: Mapping[str, Any]) -> set[str]:
    """Names of the files that a Delta table consists of.

    Args:
        store: Where the lake is.
        table: The table.
        options: The storage options as s3fs spells them.

    Raises:
        deltalake.exceptions.DeltaError: If there is no log, or it cannot be understood.
    """
    from deltalake import DeltaTable

    return _shown(DeltaTable(f"{_address(store)}/{COLD}{table}", storage_options=client_options(store, options)))


def _publish(store: Store, table: str, files: Iterable[ColdFile], number: int, options: Mapping[str, Any]) -> bool:
    from deltalake import CommitProperties, DeltaTable, Schema, Transaction
    from deltalake.transaction import create_table_with_add_actions

    address, words = f"{_address(store)}/{COLD}{table}", client_options(store, options)
    wanted = {file.path.rpartition("/")[2]: file for file in files}
    properties = CommitProperties(app_transactions=[Transaction(APPLICATION, number)])
    if not DeltaTable.is_deltatable(address, words):
        schema = Schema.from_arrow(_schema(store, wanted.values()))
        added = [_add_action(name, file) for name, file in wanted.items()]
        create_table_with_add_actions(
            address, schema, added, storage_options=words, name=f"lde_{table}", commit_properties=properties
        )
        return True
    delta = DeltaTable(address, storage_options=words)
    shown = _shown(delta)
    if (delta.transaction_version(APPLICATION) or 0) >= number or shown == set(wanted):
        return False
    schema = _widened(delta, _schema(store, (wanted[name] for name in set(wanted) - shown)))
    actions = [_remove_action(name) for name in sorted(shown - set(wanted))]
    actions += [_add_action(name, wanted[name]) for name in sorted(set(wanted) - shown)]
    delta.create_write_transaction(actions, "append", schema, commit_properties=properties)
    return True


def _shown(delta: deltalake.DeltaTable) -> set[str]:
    return {address.rpartition("/")[2] for address in delta.file_uris()}


def _widened(delta: deltalake.DeltaTable, found: pa.Schema) -> deltalake.Schema:
    """The table's schema, with columns that newer writers have added."""
    from deltalake import Schema

    known = {field.name for field in delta.schema().fields}
    more = [field for field in Schema.from_arrow(found).fields if field.name not in known]
    if more:
        delta.alter.add_columns(more)
    return delta.schema()


def _schema(store: Store, files: Iterable[ColdFile]) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    filesystem, root = store.arrow_filesystem()
    schemas = [pq.read_schema(f"{root}/{file.path}", filesystem=filesystem).remove_metadata() for file in files]
    return pa.unify_schemas(schemas)


def _add_action(name: str, file: ColdFile) -> Any:
    from deltalake.transaction import AddAction

    statistics: dict[str, Any] = {"numRecords": file.rows}
    if file.first is not None:
        column = SORTED_BY[file.table][0]
        statistics |= {"minValues": {column: file.first}, "maxValues": {column: file.last}, "nullCount": {column: 0}}
    return AddAction(name, file.size_bytes, {}, int(time.time() * 1000), True, json.dumps(statistics))


def _remove_action(name: str) -> Any:
    from deltalake.transaction import RemoveAction

    return RemoveAction(name, True, int(time.time() * 1000))


def _address(store: Store) -> str | None:
    here = store.absolute_url
    if store.local_path("") is not None or here.startswith(_SCHEMES):
        return here
    return None


def client_options(store: Store, options: Mapping[str, Any]) -> dict[str, str]:
    """Storage options as clients spell them that are built on Rust's object_store, as Delta's and Polars' are.

    Args:
        store: Where the lake is.
        options: The storage options as s3fs spells them.
    """
    if not store.absolute_url.startswith(("s3://", "s3a://")):
        return {name: str(value) for name, value in options.items()}
    client = options.get("client_kwargs") or {}
    given = {**options, "region": options.get("region") or client.get("region_name")}
    given["endpoint_url"] = options.get("endpoint_url") or client.get("endpoint_url") or endpoint_of_environment()
    pairs = zip(_OF_S3FS, _OF_DELTA, strict=True)
    words = {f"aws_{theirs}": str(given[ours]) for ours, theirs in pairs if given.get(ours)}
    words |= _encryption(given.get("s3_additional_kwargs") or {})
    if given.get("anon"):
        words["aws_skip_signature"] = "true"
    if given["endpoint_url"]:
        words.setdefault("aws_region", "us-east-1")
        words["aws_allow_http"] = str(given["endpoint_url"].startswith("http://")).lower()
    return words


def _encryption(extra: Mapping[str, Any]) -> dict[str, str]:
    """What S3 is asked to encrypt with, as Delta's client spells it: logs are to be encrypted as the files are."""
    if key := extra.get("SSECustomerKey"):
        raw = key.encode() if isinstance(key, str) else bytes(key)
        return {
            "aws_server_side_encryption": "sse-c",
            "aws_sse_customer_key_base64": base64.b64encode(raw).decode(),
        }
    pairs = {
        "ServerSideEncryption": "aws_server_side_encryption",
        "SSEKMSKeyId": "aws_sse_kms_key_id",
        "BucketKeyEnabled": "aws_sse_bucket_key_enabled",
    }
    return {theirs: str(extra[ours]) for ours, theirs in pairs.items() if extra.get(ours)}
