"""What a lake of 10 million runs asks of manifests, listings and lists, tried with as many files and few rows."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import _bench as bench

from lightning_lde import Lake
from lightning_lde.lake import HotFile, LakeStorage
from lightning_lde.lake._layout import hot_path
from lightning_lde.lake._parquet import write_parquet
from lightning_lde.lake.cold import AbsorbedNumbers, ColdFile, Manifest
from lightning_lde.lake.cold._absorbed import list_absorbed, listed
from lightning_lde.schema import Metric, new_run_id, records_to_arrow, utc_now

TABLES = ("runs", "metrics", "params", "links", "artifacts", "events")
SEGMENTS = 2


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "scale")
    parser.add_argument("--files", type=int, default=24_000, help="cold files of the table metrics")
    parser.add_argument("--absorbed", type=int, default=1_000_000, help="hot files in one list of absorbed ones")
    parser.add_argument("--hot", type=int, default=12_000, help="hot files, as 1,000 runs leave them")
    parser.add_argument("--rounds", type=int, default=3, help="how often each thing is asked for")
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work:
        result: dict[str, Any] = {"benchmark": "scale", **bench.setting(work)}
        result["cold"] = _many_cold_files(work / "cold", options.files, options.rounds)
        result["absorbed"] = _many_absorbed_files(work / "absorbed", options.absorbed, options.rounds)
        result["hot"] = _many_hot_files(work / "hot", options.hot, options.rounds)
    for title in ("cold", "absorbed", "hot"):
        bench.show(title, ("what", "value"), result[title].items())
    bench.write(options.output, result)


def _many_cold_files(folder: Path, n: int, rounds: int) -> dict[str, float]:
    storage = LakeStorage(folder)
    storage.initialise()
    ids = [str(uuid.UUID(int=(0x0190_0000_0000 + number) << 80 | 0x7 << 76)) for number in range(n)]
    (folder / "cold" / "metrics").mkdir(parents=True)
    data = [_rows_of(ids[0]), _rows_of(ids[n // 2])]
    files = []
    for number, run_id in enumerate(ids):
        path = f"cold/metrics/{new_run_id()}.parquet"
        content = data[number == n // 2]
        (folder / path).write_bytes(content)
        files.append(ColdFile(path, "metrics", 5, len(content), run_id, run_id, sha256="0" * 64))
    manifest = Manifest(1, utc_now(), new_run_id(), {"metrics": tuple(files)})
    began = time.perf_counter()
    encoded = manifest.to_bytes()
    encoded_ms = (time.perf_counter() - began) * 1e3
    storage.store.create(manifest.path, encoded)
    storage.snapshot()
    run_id = ids[n // 2]
    return {
        "files": n,
        "manifest_bytes": len(encoded),
        "encode_ms": encoded_ms,
        "snapshot_first_ms": _median_ms(lambda: LakeStorage(folder).snapshot(), rounds),
        "snapshot_again_ms": _median_ms(storage.snapshot, rounds),
        "addresses_ms": _median_ms(lambda: Lake(folder).files("metrics"), rounds),
        "one_run_ms": _median_ms(lambda: Lake(folder).sql(ONE_RUN, [run_id], of_runs=[run_id]), rounds),
        "where_run_ms": _median_ms(lambda: Lake(folder).sql(ONE_RUN, [run_id]), rounds),
        "all_rows_ms": _median_ms(lambda: Lake(folder).sql("select avg(value) from metrics"), rounds),
    }


ONE_RUN = "select step, value from metrics where run_id = ?"


def _rows_of(run_id: str) -> bytes:
    points = [Metric(run_id=run_id, segment=0, name="m", step=step, time=utc_now(), value=0.5) for step in range(5)]
    buffer = io.BytesIO()
    write_parquet(buffer, "metrics", [records_to_arrow("metrics", points)])
    return buffer.getvalue()


def _many_absorbed_files(folder: Path, n: int, rounds: int) -> dict[str, float]:
    storage = LakeStorage(folder)
    storage.initialise()
    began = time.perf_counter()
    absorbed = list_absorbed(storage.store, _hot_files(n), utc_now())
    written_s = time.perf_counter() - began
    manifest = Manifest(1, utc_now(), new_run_id(), {}, (replace(absorbed, is_deleted=True),))
    return {
        "files": n,
        "bytes_per_file": (storage.store.size(absorbed.path) or 0) / n,
        "write_s": written_s,
        "read_ms": _median_ms(lambda: listed(storage.store, absorbed), rounds),
        "one_writer_ms": _median_ms(lambda: AbsorbedNumbers(storage.store, manifest, absorbed.last), rounds),
    }


def _many_hot_files(folder: Path, n: int, rounds: int) -> dict[str, float]:
    storage = LakeStorage(folder)
    storage.initialise()
    for file in _hot_files(n):
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return {"files": n, "snapshot_ms": _median_ms(storage.snapshot, rounds)}


def _hot_files(n: int) -> list[HotFile]:
    found = []
    while len(found) < n:
        writer = new_run_id()
        for table in TABLES:
            for number in range(SEGMENTS):
                path = hot_path(table, project="large", day=date(2026, 1, 1), writer=writer, first=number)
                found.append(HotFile(path, table, writer, number, number))
    return found[:n]


def _median_ms(work: Callable[[], object], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1e3)
    return bench.median(took) or 0.0


if __name__ == "__main__":
    main()
