"""What cold tables consist of, kept in one manifest for all or in a Delta table each: commits, opening, requests."""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import _bench as bench
import pyarrow as pa
import pyarrow.parquet as pq

from lightning_lde.lake.cold import ColdFile, Manifest, newest_manifest
from lightning_lde.lake.cold._delta import _address, client_options
from lightning_lde.lake.stores import Store, open_store
from lightning_lde.schema import new_run_id, utc_now

TABLES = ("runs", "metrics", "params", "datasets", "links", "artifacts")
BUCKET = "bench"
SECRETS = {"key": "testing", "secret": "testing"}


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "manifests")
    parser.add_argument("--commits", type=int, nargs="+", default=[1, 30], help="commits before it is opened")
    parser.add_argument("--rounds", type=int, default=3, help="openings of each")
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work, _server(work) as (url, requests):
        places: dict[str, tuple[str, dict[str, str]]] = {
            "local": (str(work / "lake"), {}),
            "S3": (f"s3://{BUCKET}/lake", {**SECRETS, "endpoint_url": url}),
        }
        found = [
            {"way": way, "place": place, "commits": commits, **measured}
            for commits in options.commits
            for place, (address, words) in places.items()
            for way, class_ in WAYS.items()
            for measured in [_measured(class_(f"{address}-{way}-{commits}", words), commits, options.rounds, requests)]
        ]
        result = {"benchmark": "manifests", **bench.setting(work), "tables": len(TABLES), "found": found}
    bench.show(
        f"{len(TABLES)} tables; medians",
        ("way", "place", "commits", "ms a commit", "ms to open", "requests to open"),
        [tuple(one[name] for name in ("way", "place", "commits", "commit_ms", "open_ms", "requests")) for one in found],
    )
    bench.write(options.output, result)


class Manifests:
    """One manifest for all tables."""

    def __init__(self, address: str, options: dict[str, str]) -> None:
        self.store = open_store(address, options)
        self.manifest = Manifest()

    def commit(self, files: dict[str, ColdFile]) -> None:
        tables = {table: (*self.manifest.tables.get(table, ())[-20:], file) for table, file in files.items()}
        number = self.manifest.number + 1
        self.manifest = replace(self.manifest, number=number, created_at=utc_now(), tables=tables, writer="w")
        if not self.store.create(self.manifest.path, self.manifest.to_bytes()):
            raise RuntimeError("there was one")

    def open(self) -> int:
        return sum(len(files) for files in newest_manifest(self.store).tables.values())


class DeltaTables:
    """A Delta table each."""

    def __init__(self, address: str, options: dict[str, str]) -> None:
        self.store = open_store(address, options)
        self.words = client_options(self.store, options)
        self.schema = pa.schema([("run_id", pa.string())])
        self.last: dict[str, list[str]] = {table: [] for table in TABLES}

    def _place(self, table: str) -> str:
        return f"{_address(self.store)}/cold/{table}"

    def commit(self, files: dict[str, ColdFile]) -> None:
        from deltalake import DeltaTable, Schema
        from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

        now = int(time.time() * 1000)
        for table, file in files.items():
            name = file.path.rpartition("/")[2]
            actions: list[Any] = [AddAction(name, file.size_bytes, {}, now, True, '{"numRecords": 1}')]
            if not self.last[table]:
                schema = Schema.from_arrow(self.schema)
                create_table_with_add_actions(self._place(table), schema, actions, storage_options=self.words)
            else:
                delta = DeltaTable(self._place(table), storage_options=self.words)
                if len(self.last[table]) > 20:
                    actions.append(RemoveAction(self.last[table].pop(0), True, now))
                delta.create_write_transaction(actions, "append", delta.schema())
            self.last[table].append(name)

    def open(self) -> int:
        from deltalake import DeltaTable

        return sum(len(DeltaTable(self._place(one), storage_options=self.words).file_uris()) for one in TABLES)


WAYS: dict[str, type[Manifests] | type[DeltaTables]] = {"manifest": Manifests, "delta": DeltaTables}


def _measured(way: Manifests | DeltaTables, commits: int, rounds: int, requests: Callable[[], int]) -> dict[str, float]:
    took = []
    for _ in range(commits):
        files = {table: _new_file(way.store, table) for table in TABLES}
        began = time.perf_counter()
        way.commit(files)
        took.append(time.perf_counter() - began)
    way.open()
    opened, before = [], requests()
    for _ in range(rounds):
        began = time.perf_counter()
        way.open()
        opened.append(time.perf_counter() - began)
    return {
        "commit_ms": statistics.median(took) * 1e3,
        "open_ms": statistics.median(opened) * 1e3,
        "requests": (requests() - before) / rounds,
    }


def _new_file(store: Store, table: str) -> ColdFile:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"run_id": [new_run_id()]}), sink)
    data = sink.getvalue().to_pybytes()
    path = f"cold/{table}/{new_run_id()}.parquet"
    store.put(path, data)
    return ColdFile(path, table, 1, len(data))


@contextlib.contextmanager
def _server(work: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """moto's S3 server on loopback, and how many requests it had."""
    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = work / "requests.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=file, stderr=file)
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(url, timeout=1).close()
                    break
                time.sleep(0.1)
            client = boto3.client(
                "s3",
                endpoint_url=url,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
                region_name="us-east-1",
            )
            client.create_bucket(Bucket=BUCKET)
            yield url, lambda: log.read_bytes().count(b"HTTP/1.1")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
