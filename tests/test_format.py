"""docs/format.md is true: its tables are the schema, and pyarrow alone reads a lake by it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lightning_lde import Lake, capture
from lightning_lde.recording import Moment, Recorder
from lightning_lde.schema import (
    CONTENT_TABLES,
    TABLES,
    Result,
    arrow_schema,
    canonical_json,
    content_id,
    json_columns,
    new_run_id,
    utc_now,
)

FORMAT = Path(__file__).parent.parent / "docs" / "format.md"


def type_name(table: str, field: pa.Field) -> str:
    if field.name in json_columns(table):
        return "json"
    return str(field.type).replace("list<item: ", "list<").replace("list<element: ", "list<")


def specified_tables() -> str:
    """The section of docs/format.md that follows from the schema."""
    parts = []
    for table, record in TABLES.items():
        summary = (record.__doc__ or "").split("\n")[0]
        rows = "\n".join(f"| {field.name} | {type_name(table, field)} |" for field in arrow_schema(table))
        parts.append(f"### {table}\n\n{summary}\n\n| column | type |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def test_the_document_has_the_tables_of_the_schema() -> None:
    text = FORMAT.read_text(encoding="utf-8")
    found = re.search(r"<!-- tables: begin -->\n(.*)<!-- tables: end -->", text, re.DOTALL)
    assert found is not None
    assert found[1] == specified_tables()


def read_by_the_document(root: Path, table: str) -> list[dict[str, object]]:
    """Rows of a table, by docs/format.md, without any code of the package."""
    name = re.compile(r"^([0-9a-f-]{36})-(\d{6,})(?:-(\d{6,}))?\.parquet$")
    files = [(path, name.match(path.name)) for path in root.glob(f"hot/{table}/project=*/day=*/*")]
    spans = [(path, m[1], int(m[2]), int(m[3] or m[2])) for path, m in files if m]
    current = [
        path
        for path, writer, first, last in spans
        if not any(w == writer and f <= first and last <= n and n - f > last - first for _, w, f, n in spans)
    ]
    return [row for path in current for row in pq.ParquetFile(path).read().to_pylist()]


@pytest.fixture
def recorded(lake_path: Path) -> tuple[Path, str]:
    recorder = Recorder(Lake(lake_path).create().storage, project="a/b", flush_every_s=0.02)
    for segment in range(2):
        recorder.start_segment("fit")
        for step in range(50):
            recorder.log({"loss": 1 / (1 + step), "segment": float(segment)}, step=step)
        recorder.finish_segment("finished")
    return lake_path, recorder.run_id


def test_pyarrow_alone_reads_a_lake(recorded: tuple[Path, str]) -> None:
    root, run_id = recorded
    metrics = read_by_the_document(root, "metrics")
    assert sorted((row["segment"], row["name"], row["step"]) for row in metrics) == sorted(
        (segment, name, step) for segment in range(2) for name in ("loss", "segment") for step in range(50)
    )
    states = read_by_the_document(root, "runs")
    present = max(states, key=lambda row: (row["segment"], row["revision"]))
    assert (present["run_id"], present["status"], present["project"]) == (run_id, "finished", "a/b")


def test_leftovers_of_an_interrupted_merge_are_not_read_twice(recorded: tuple[Path, str]) -> None:
    root, _ = recorded
    storage, writer = Lake(root).storage, new_run_id()
    before = len(read_by_the_document(root, "metrics"))
    rows = pq.ParquetFile(next(root.glob("hot/metrics/*/*/*.parquet"))).read()
    place = {"project": "a/b", "day": date(2026, 11, 21), "writer": writer}
    # As after a kill between writing the merged file and deleting its parts; number 4 carried other tables only.
    for number in (3, 5, 6):
        storage.append("metrics", rows.slice(number, 1), first=number, **place)
    storage.append("metrics", rows.slice(0, 3), first=3, last=6, **place)
    assert len(read_by_the_document(root, "metrics")) == before + 3
    assert Lake(root).sql("select count(*) as n from metrics").to_pylist() == [{"n": before + 3}]


def points_by_the_document(root: Path, run_id: str) -> list[dict[str, Any]]:
    """Points of a run that count, by docs/format.md, without any code of the package."""
    resumes, states, metrics = (
        [row for row in read_by_the_document(root, table) if row["run_id"] == run_id]
        for table in ("resumes", "runs", "metrics")
    )
    rows: dict[int, dict[str, Any]] = {row["segment"]: row for row in resumes}
    stages = {row["segment"]: row["stage"] for row in states}

    def attempt_of(segment: int) -> int:
        return max((first for first in rows if first <= segment), default=-1)

    def place(point: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(point[name] for name in ("name", "context", "dataloader_idx", "step"))

    always, of_attempts = list[dict[str, Any]](), dict[int, list[dict[str, Any]]]()
    for point in metrics:
        evaluated = stages[point["segment"]] in {"validate", "test", "predict"}
        apart = evaluated or point["context"] == "system"
        (always if apart else of_attempts.setdefault(attempt_of(point["segment"]), [])).append(point)
    child = attempt_of(max(stages))
    counting = always + of_attempts.get(child, [])
    while child in rows:
        row, again = rows[child], {place(point) for point in of_attempts.get(child, [])}
        child = attempt_of(row["from_segment"])
        for point in of_attempts.get(child, []):
            own = None not in (point["step"], row["step"]) and point["step"] < row["step"]
            if point["time"] <= row["until"] or (own and place(point) not in again):
                counting.append(point)
    return counting


def test_points_of_a_run_that_went_on_are_those_of_the_document(lake_path: Path) -> None:
    storage = Lake(lake_path).create().storage

    def attempt(value: int, steps: range, *, resume: dict[str, Any] | None = None, save_at: int = 0) -> dict[str, Any]:
        run = Recorder(storage, project="p", resume=resume, system_metrics_every_s=None)
        run.start_segment("fit")
        if resume is not None:
            run.goes_on_at(Moment(step=steps[0]))
        state: dict[str, Any] = {}
        for step in steps:
            run.log({"early": float(value)}, step=step, context="train")
            if step == save_at:
                state = run.checkpoint_state()
            run.log({"late": float(value), "late/dataloader_idx_1": 1.0}, step=step, context="train")
            run.log({"cpu": float(value)}, step=step, context="system")
        run.log({"without a step": float(value)})
        run.finish_segment("finished")
        run.start_segment("test")
        run.log({"test": float(value)}, step=steps[-1], context="test")
        run.finish_segment("interrupted")
        return state

    a = attempt(1, range(1, 16), save_at=10)
    b = attempt(2, range(10, 30), resume=a, save_at=25)
    attempt(3, range(11, 15), resume=a)
    attempt(4, range(26, 41), resume=b)
    columns = ("name", "context", "dataloader_idx", "step", "value")
    found = Lake(lake_path).sql(f"select {', '.join(columns)} from metrics").to_pylist()
    counting = points_by_the_document(lake_path, a["run_id"])
    assert Counter(tuple(row.values()) for row in found) == Counter(
        tuple(point[name] for name in columns) for point in counting
    )
    late = sorted(
        (point["step"], point["value"])
        for point in counting
        if point["name"] == "late" and point["dataloader_idx"] is None
    )
    assert late == [(step, 1.0 if step < 10 else 2.0 if step < 26 else 4.0) for step in range(1, 41)]
    assert {name: sum(point["name"] == name for point in counting) for name in ("cpu", "test", "without a step")} == {
        "cpu": 15 + 20 + 4 + 15, "test": 4, "without a step": 1,
    }  # fmt: skip


def id_by_the_document(table: str, facts: object) -> str:
    """The id of content by docs/format.md, without any code of the package."""
    text = json.dumps([table, facts], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def documented_facts(table: str, columns: set[str]) -> set[str]:
    key = CONTENT_TABLES[table]
    row = re.search(rf"^\| `{key}` \| (.*) \|$", FORMAT.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    named = re.findall(r"`([a-z_]+)`", row[1])
    return columns - set(named) if row[1].startswith("all columns") else columns & set(named)


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rate, self.layer = 1e-05, torch.nn.Linear(2, 2)


def result_of(words: dict[str, Any]) -> Result:
    facts: dict[str, Any] = {"kind": "correlation", "project": "p", **words}
    return Result(result_id=content_id("results", facts), recorded_at=utc_now(), figures={"r": 0.5}, **facts)


@pytest.fixture
def described(lake_path: Path, tmp_path: Path) -> tuple[Path, torch.nn.Module, list[torch.Tensor]]:
    """A lake with one row in each table of content, as the package describes this process."""
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import LearningRateMonitor, Timer
    from pytorch_lightning.loggers import CSVLogger

    watchers = [LearningRateMonitor(), Timer()]
    trainer = Trainer(accelerator="cpu", callbacks=watchers, logger=CSVLogger(tmp_path / "logs"))
    net, tensors = Net(), [torch.arange(12.0).reshape(4, 3), torch.tensor([0, 1, 1, 1])]
    subset = torch.utils.data.Subset(torch.utils.data.TensorDataset(*tensors), [3, 1])
    dataset, config = capture.describe_loader(torch.utils.data.DataLoader(subset, batch_size=2))
    rows = {
        "datasets": dataset,
        "dataset_configs": config,
        "pipelines": capture.describe_pipeline(net),
        "pipeline_configs": capture.describe_pipeline_config(net, trainer),
        "environments": capture.capture_environment(),
        "code": capture.capture_code(),
        "results": result_of({"settings": {"metric": "accuracy"}, "inputs": {"runs": ["a"], "diversity": 0.1}}),
    }
    storage = Lake(lake_path).create().storage
    for table, row in rows.items():
        storage.add_records(table, [row], project="p")
    return lake_path, net, tensors


@pytest.mark.parametrize("table", CONTENT_TABLES)
def test_ids_of_content_can_be_computed_from_the_document(
    described: tuple[Path, torch.nn.Module, list[torch.Tensor]], table: str
) -> None:
    [row] = read_by_the_document(described[0], table)
    facts = {
        name: json.loads(str(row[name])) if name in json_columns(table) else row[name]
        for name in documented_facts(table, set(row))
    }
    assert len(facts) >= 3
    if table == "pipeline_configs":
        assert facts["trainer"].pop("loggers") == ["CSVLogger"]
        assert facts["trainer"].pop("accelerator") == "CPUAccelerator"
        callbacks = [name for name in facts["trainer"]["callbacks"] if not re.search("Bar|Summary|Monitor", name)]
        assert len(callbacks) < len(facts["trainer"]["callbacks"])
        facts["trainer"]["callbacks"] = callbacks
    assert row[CONTENT_TABLES[table]] == id_by_the_document(table, facts)


def test_hashes_can_be_computed_from_the_document(
    described: tuple[Path, torch.nn.Module, list[torch.Tensor]],
) -> None:
    root, net, (data, labels) = described
    content = b'["float32",[4,3]]' + data.numpy().tobytes() + b'["int64",[4]]' + labels.numpy().tobytes()
    [dataset] = read_by_the_document(root, "datasets")
    assert dataset["fingerprint"] == hashlib.sha256(content).hexdigest()[:32]
    [config] = read_by_the_document(root, "dataset_configs")
    assert config["indices_hash"] == hashlib.sha256(struct.pack("<2q", 3, 1)).hexdigest()[:32]
    weights = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        weights.update(f'["{name}","float32",{json.dumps(list(tensor.shape), separators=(",", ":"))}]'.encode())
        weights.update(tensor.numpy().tobytes())
    assert capture.weights_fingerprint(net) == weights.hexdigest()[:32]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (float("nan"), '"NaN"'),
        (-float("inf"), '"-Infinity"'),
        ('ü/\t\x00\x7f"', '"ü/\\t\\u0000\x7f\\""'),
        ("\ud800", '"\ufffd"'),
    ],
)
def test_numbers_and_text_are_written_as_the_document_says(value: object, text: str) -> None:
    assert canonical_json(value) == text


def test_a_merge_keeps_of_runs_the_last_state_of_each_segment(recorded: tuple[Path, str]) -> None:
    root, run_id = recorded
    merged = [path for path in root.glob("hot/runs/*/*/*.parquet") if re.search(r"-\d{6,}-\d{6,}\.parquet$", path.name)]
    assert merged
    states = [row for row in read_by_the_document(root, "runs") if row["run_id"] == run_id]
    assert [row["status"] for row in states if row["segment"] == 1][-1] == "finished"
    newest = max(merged, key=lambda path: path.name)
    segments = [row["segment"] for row in pq.ParquetFile(newest).read().to_pylist()]
    assert len(segments) == len(set(segments))


def chunk_by_the_document(root: Path, name: str) -> bytes:
    """The content of a chunk, by docs/format.md."""
    file = (root / "chunks" / name[:2] / name).read_bytes()
    code, content = file[0], file[1:]
    if code:
        content = pa.Codec("zstd").decompress(file[9:], struct.unpack("<Q", file[1:9])[0], asbytes=True)
    if code > 1:
        n = len(content) // code
        content = b"".join(content[k : n * code : n] for k in range(n)) + content[n * code :]
    assert hashlib.sha256(content).hexdigest() == name[:64]
    return content


def test_a_file_in_chunks_is_put_together_by_the_document(lake_path: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {str(n): torch.randn(9000 + n, generator=generator, dtype=torch.float64) for n in range(9)}
    torch.save(tensors, tmp_path / "last.ckpt")
    recorder = Recorder(Lake(lake_path).create().storage, project="p", flush_every_s=0.02)
    recorder.start_segment("fit")
    recorder.save_file(tmp_path / "last.ckpt", path="last.ckpt", kind="checkpoint")
    recorder.finish_segment("finished")
    [row] = read_by_the_document(lake_path, "artifacts")
    recipe = json.loads(chunk_by_the_document(lake_path, str(row["recipe"])))
    pieces, rest = (
        iter([chunk_by_the_document(lake_path, name) for name, _ in recipe[key]]) for key in ("pieces", "rest")
    )
    stream, data = b"".join(rest), b""
    for n, k in recipe["order"]:
        data, stream = data + stream[:n], stream[n:]
        data += b"".join(next(pieces) for _ in range(k))
    assert data == (tmp_path / "last.ckpt").read_bytes()
    assert (row["size_bytes"], row["object_id"]) == (len(data), hashlib.sha256(data).hexdigest())
