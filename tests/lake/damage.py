"""A small lake in which everything is as it should be, and ways to damage it."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from lightning_lde import Lake
from lightning_lde.lake import CheckReport, LakeStorage
from lightning_lde.schema import Artifact, Code, Dataset, DatasetConfig, Environment, Pipeline, PipelineConfig, Record

from .writers import LONG_AGO, Writer, run_id_of

NONE = timedelta(0)


def whole(lake: Lake, runs: int = 2) -> list[Writer]:
    """Fill a lake: runs that ended long ago, what they name, and a file of one of them."""
    storage = lake.storage
    rows: dict[str, list[Record]] = {
        "pipelines": [Pipeline(pipeline_id="m", recorded_at=LONG_AGO, module_class="m.M")],
        "pipeline_configs": [PipelineConfig(pipeline_config_id="c", recorded_at=LONG_AGO, pipeline_id="m")],
        "datasets": [Dataset(dataset_id="d", recorded_at=LONG_AGO, name="digits")],
        "dataset_configs": [DatasetConfig(dataset_config_id="u", recorded_at=LONG_AGO, dataset_id="d")],
        "environments": [Environment(environment_id="e", recorded_at=LONG_AGO, python="3", platform="l")],
        "code": [Code(code_id="k", recorded_at=LONG_AGO, snapshot_object=storage.put_object_bytes(b"sources"))],
    }
    writers = [Writer(storage, run_id=run_id_of(LONG_AGO)) for _ in range(runs)]
    for writer in writers:
        writer.send()
        writer.send(status="finished")
    content = b"weights" * 100
    rows["artifacts"] = [
        Artifact(
            run_id=writers[0].run_id, segment=0, path="last.ckpt", kind="checkpoint", size_bytes=len(content),
            object_id=storage.put_object_bytes(content), recorded_at=LONG_AGO,
        )
    ]  # fmt: skip
    for table, records in rows.items():
        add(storage, table, records)
    return writers


def add(storage: LakeStorage, table: str, records: list[Record]) -> str:
    """Add rows by a writer of long ago; the file's path."""
    from lightning_lde.schema import records_to_arrow

    place = {"project": "p", "day": LONG_AGO.date(), "writer": run_id_of(LONG_AGO)}
    return storage.append(table, records_to_arrow(table, records), first=0, **place).path  # type: ignore[arg-type]


def compacted(lake: Lake, **changes: timedelta) -> None:
    """Bring all of it into the cold tables."""
    lake.storage.compact(**{"silent_for": NONE, "grace": NONE, **changes})


def values(lake: Lake) -> list[float]:
    """All values of all points."""
    return sorted(lake.sql("select value from stored.metrics").column("value").to_pylist())


def paths(lake: Lake, prefix: str) -> list[str]:
    """Files below a prefix."""
    return sorted(stored.path for stored in lake.storage.store.list(prefix))


def hot_files(lake: Lake) -> list[str]:
    """All files of the hot tier."""
    return paths(lake, "hot/")


def first(lake: Lake, prefix: str, part: str = "") -> str:
    """The first file below a prefix whose path has a part."""
    return next(path for path in paths(lake, prefix) if part in path)


def grow_old(lake: Lake, days: float = 3.0) -> None:
    """Let all files of a folder have been written some days ago."""
    then = time.time() - days * 86400
    for folder, _, names in os.walk(lake.storage.absolute_url):
        for name in names:
            os.utime(Path(folder) / name, (then, then))


def said(report: CheckReport) -> set[tuple[str, str]]:
    """Kind and path of each finding."""
    return {(finding.kind, finding.path) for finding in report.findings}
