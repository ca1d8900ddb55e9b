"""docs/format.md is true: its tables are the schema, and pyarrow alone reads a lake by it."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lightning_lde import Lake
from lightning_lde.recording import Recorder
from lightning_lde.schema import TABLES, arrow_schema, json_columns

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
            recorder.log_metrics({"loss": 1 / (1 + step), "segment": float(segment)}, step=step)
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
    root, run_id = recorded
    before = len(read_by_the_document(root, "metrics"))
    merged = next(path for path in root.glob("hot/metrics/*/*/*.parquet"))
    # As after a kill between writing the merged file and deleting its parts.
    span = re.search(r"-(\d{6,})-(\d{6,})\.parquet$", merged.name)
    if span is None:
        merged = merged.rename(merged.with_name(f"{run_id}-000000-000007.parquet"))
    pq.write_table(pq.read_table(merged).slice(0, 3), merged.with_name(f"{run_id}-000000.parquet"))
    assert len(read_by_the_document(root, "metrics")) == before
    assert Lake(root).sql("select count(*) as n from metrics").to_pylist() == [{"n": before}]
