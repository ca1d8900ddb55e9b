"""Runs with words and bytes of their own in every table and object, and a walk over every byte of a lake."""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lightning_lde.lake import LakeStorage
from lightning_lde.lake.objects._codec import decode
from lightning_lde.lake.stores import Store
from lightning_lde.schema import (
    TABLES,
    Artifact,
    Code,
    Dataset,
    DatasetConfig,
    Embedding,
    Environment,
    Episode,
    Event,
    Link,
    Metric,
    Param,
    Pipeline,
    PipelineConfig,
    Placement,
    Record,
    Resume,
    Run,
    new_run_id,
    records_to_arrow,
)

DAY = date(2026, 1, 1)
LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)

SHARED = random.Random(0).randbytes(300_000)
"""Bytes that a file of each run has: chunks that runs share."""


@dataclass
class Planted:
    """A run that has ended, with rows in every table.

    Attributes:
        storage: The lake.
        name: A word that stands in its texts.
        dataset: The data set that it was trained on, by its id.
        names_run: A run that it says it reproduces.
        run_id: The run.
        project: The project.
        status: How it ended.
    """

    storage: LakeStorage
    name: str
    dataset: str = ""
    names_run: str | None = None
    run_id: str = field(default_factory=new_run_id)
    project: str = "p"
    status: str = "finished"
    text: str = ""

    def __post_init__(self) -> None:
        self.tensor = random.Random(self.name).randbytes(300_000)
        self.dataset = self.dataset or f"dataset of {self.name}"
        self.own = {kind: f"{kind} of {self.name}" for kind in ("use", "pipeline", "config", "environment", "code")}

    def write(self, scratch: Path, *, heard_at: object = LONG_AGO) -> Planted:
        """Write everything."""
        self.objects = self._store_objects(scratch)
        for number, (table, records) in enumerate(self.rows(heard_at).items()):
            self.append(table, records_to_arrow(table, records), number)
        return self

    def append(self, table: str, rows: pa.Table, number: int, writer: str | None = None) -> None:
        """Append rows as the recorder does."""
        self.storage.append(
            table, rows, project=self.project, day=DAY, writer=writer or self.run_id, first=number, last=None
        )

    def _store_objects(self, scratch: Path) -> dict[str, object]:
        source = scratch / "file"
        source.write_bytes(SHARED + self.tensor + b"tail" + self.text.encode())
        small = gzip.compress(f"secret text of {self.name}".encode())
        manifest = io.BytesIO()
        pq.write_table(pa.table({"path": [f"/data/{self.name}.png"]}), manifest)
        return {
            "file": self.storage.put_artifact(source),
            "snapshot": self.storage.put_object_bytes(small),
            "manifest": self.storage.put_object_bytes(manifest.getvalue()),
            "state": self.storage.put_object_bytes(f'{{"state of": "{self.name}"}}'.encode()),
        }

    def rows(self, heard_at: object = LONG_AGO) -> dict[str, list[Record]]:
        """Rows of each table."""
        own, run, at = self.own, {"run_id": self.run_id, "segment": 0}, LONG_AGO
        file = self.objects["file"]
        says = f"{self.name} says {self.text}"
        states = [
            Run(
                **run, revision=revision, project=self.project, name=self.name, status=status, started_at=at,
                heartbeat_at=heard_at, heartbeat_every_s=5.0, dataset_config_id=own["use"],
                pipeline_config_id=own["config"], environment_id=own["environment"], code_id=own["code"],
                seeds={"random_state": self.objects["state"]}, argv=[says], reproduces=self.names_run,
            )
            for revision, status in enumerate(("running", self.status))
        ]  # fmt: skip
        link = {"source_kind": "run", "source_id": self.run_id, "run_id": self.run_id, "recorded_at": at}
        links = [Link(**link, relation="trained_on", target_kind="dataset_config", target_id=own["use"])]
        events = [Event(**run, time=at, level="info", kind="k", message=says)]
        if self.names_run:
            links.append(Link(**link, relation="reproduces", target_kind="run", target_id=self.names_run))
            events.append(Event(**run, time=at, level="info", kind="k", message=f"as {self.names_run} did"))
        return {
            "datasets": [
                Dataset(
                    dataset_id=self.dataset, recorded_at=at, name=self.dataset,
                    manifest_object=self.objects["manifest"],
                )
            ],
            "dataset_configs": [
                DatasetConfig(dataset_config_id=own["use"], recorded_at=at, dataset_id=self.dataset, settings={})
            ],
            "pipelines": [Pipeline(pipeline_id=own["pipeline"], recorded_at=at, module_class=f"m.{self.name}")],
            "pipeline_configs": [
                PipelineConfig(
                    pipeline_config_id=own["config"], recorded_at=at, pipeline_id=own["pipeline"],
                    hparams={"note": self.name},
                )
            ],
            "params": [Param(config_id=own["config"], key="note", value_text=self.name, type="str")],
            "environments": [
                Environment(
                    environment_id=own["environment"], recorded_at=at, python="3", platform="l",
                    variables={"NOTE": self.name},
                )
            ],
            "code": [
                Code(
                    code_id=own["code"], recorded_at=at, diff=f"+{self.name}", snapshot_object=self.objects["snapshot"]
                )
            ],
            "metrics": [
                Metric(**run, name=f"loss of {self.name}", step=step, time=at, value=step / 7) for step in range(3)
            ],
            "episodes": [
                Episode(
                    **run, episode_id="e", method=self.name, dataset_id=self.dataset, dataset_config_id=own["use"],
                    episode_seed=0, episode_index=0, classes=[0, 1], ways=2, shots=1, queries=1, loss=1.0, accuracy=0.5,
                )
            ],
            "artifacts": [
                Artifact(
                    **run, path=f"{self.name}.ckpt", kind="checkpoint", size_bytes=file.size_bytes,
                    object_id=file.object_id, recipe=file.recipe, recorded_at=at,
                )
            ],
            "placements": [
                Placement(
                    run_id=self.run_id, path=f"{self.name}.ckpt", object_id=file.object_id, recipe=file.recipe,
                    tier="hot", recorded_at=at,
                )
            ],
            "events": events,
            "links": links,
            "resumes": [Resume(**run, from_segment=0, until=at, recorded_at=at)],
            "runs": states,
        }  # fmt: skip

    def traces(self) -> list[bytes]:
        """Bytes by which anything of the run can be found."""
        file = self.objects["file"]
        ids = [self.run_id, file.object_id, *(self.objects[kind] for kind in ("snapshot", "manifest", "state"))]
        middle = self.tensor[1000:1032], self.tensor[200_000:200_032]
        return [self.name.encode(), *(one.encode() for one in ids), *middle]


def embed(storage: LakeStorage, dataset: str) -> None:
    """An analysis of a data set, which belongs to no run."""
    row = Embedding(
        dataset_id=dataset, dataset_config_id="other use", recorded_at=LONG_AGO, task_seed=0, task_index=0,
        probe_id="p", method="m", vector=[1.0], complexity=0.5, n_images=1,
    )  # fmt: skip
    storage.add_records("embeddings", [row], project="p")


def rows_of(storage: LakeStorage, run_id: str | None = None) -> dict[str, list[str]]:
    """The rows of all tables as text, or those of one run."""
    snapshot, found = storage.snapshot(), {}
    for table in TABLES:
        rows = [row for path in snapshot.paths(table) for row in read_rows(storage.store, path)]
        found[table] = sorted(str(row) for row in rows if run_id is None or row.get("run_id") == run_id)
    return found


def read_rows(store: Store, path: str) -> list[dict[str, object]]:
    """The rows of one file, without columns that are null."""
    rows = pq.read_table(io.BytesIO(store.get(path))).to_pylist()
    return [{name: value for name, value in sorted(row.items()) if value is not None} for row in rows]


def contents(store: Store) -> dict[str, bytes]:
    """All files of a lake."""
    return {stored.path: store.get(stored.path) for stored in store.list("")}


def every_byte(store: Store) -> Iterator[tuple[str, bytes]]:
    """Each file of a lake with its name, as it is stored and as it reads: Parquet, chunks and archives unpacked."""
    for stored in store.list(""):
        content = store.get(stored.path)
        yield stored.path, stored.path.encode() + b"\n" + content
        if content.startswith(b"PAR1"):
            rows = pq.read_table(io.BytesIO(content))
            yield stored.path, json.dumps(rows.to_pylist(), default=str, ensure_ascii=False).encode()
            yield stored.path, str(pq.read_metadata(io.BytesIO(content)).to_dict()).encode()
        if stored.path.startswith("chunks/"):
            yield stored.path, decode(content, stored.path.rpartition("/")[2])
        if content.startswith(b"\x1f\x8b"):
            yield stored.path, gzip.decompress(content)


def found_in(store: Store, traces: list[bytes]) -> list[tuple[str, bytes]]:
    """Where traces can be found: path and trace."""
    return [(path, trace) for path, content in every_byte(store) for trace in traces if trace in content]


def all_found_in(store: Store, traces: list[bytes]) -> bool:
    """Whether each of some traces can be found."""
    return {trace for _, trace in found_in(store, traces)} == set(traces)
