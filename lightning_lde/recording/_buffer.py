"""Rows that wait for the next flush, and metrics in columns so that logging one costs an append."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lightning_lde.schema import Record, arrow_schema, records_to_arrow

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class MetricBatch:
    """The values of several metrics that were logged together."""

    segment: int
    time: datetime
    values: Mapping[str, float]
    context: str | None = None
    dataloader_idx: int | None = None
    step: int | None = None
    global_step: int | None = None
    epoch: int | None = None
    source: str = "logged"


class Buffer:
    """What a run has recorded and not yet flushed. Safe to fill from one thread and drain from another."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._lock = threading.Lock()
        self._records: dict[str, list[Record]] = defaultdict(list)
        self._metrics: list[MetricBatch] = []

    def add(self, table: str, *records: Record) -> None:
        """Add rows of a table."""
        with self._lock:
            self._records[table].extend(records)

    def add_metrics(self, batch: MetricBatch) -> None:
        """Add one batch of metric values."""
        self._metrics.append(batch)

    def drain(self) -> dict[str, pa.Table]:
        """Take everything out, as one Arrow table per table of the lake."""
        with self._lock:
            records, self._records = self._records, defaultdict(list)
            metrics, self._metrics = self._metrics, []
        tables = {table: records_to_arrow(table, rows) for table, rows in records.items() if rows}
        if metrics:
            tables["metrics"] = metrics_to_arrow(self._run_id, metrics)
        return tables


def metrics_to_arrow(run_id: str, batches: list[MetricBatch]) -> pa.Table:
    """Batches as rows of the table ``metrics``, one per value."""
    import pyarrow as pa

    rows = [(batch, name, value) for batch in batches for name, value in batch.values.items()]
    columns: dict[str, list[object]] = {
        "run_id": [run_id] * len(rows),
        "rank": [0] * len(rows),
        "name": [name for _, name, _ in rows],
        "value": [value for _, _, value in rows],
    }
    for field in ("segment", "time", "context", "dataloader_idx", "step", "global_step", "epoch", "source"):
        columns[field] = [getattr(batch, field) for batch, _, _ in rows]
    schema = arrow_schema("metrics")
    return pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)
