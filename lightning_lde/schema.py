"""The tables of a lake: one frozen dataclass per table, its Arrow schema, and the ids that link them.

The dataclasses are the single source; Arrow types follow from the annotations. The format is
specified in docs/format.md, which a test compares with this module.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from lightning_lde.columns import column_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CONTENT_TABLES",
    "FORMAT_VERSION",
    "HEARTBEATS_UNTIL_LOST",
    "MOST_SAMPLES",
    "TABLES",
    "Artifact",
    "Code",
    "Dataset",
    "DatasetConfig",
    "Embedding",
    "Environment",
    "Episode",
    "Event",
    "Json",
    "Link",
    "Metric",
    "Param",
    "Pipeline",
    "PipelineConfig",
    "Placement",
    "Record",
    "Relation",
    "Result",
    "Resume",
    "Run",
    "RunStatus",
    "Tier",
    "Vector",
    "arrow_schema",
    "canonical_json",
    "content_id",
    "json_columns",
    "new_run_id",
    "odd_fields",
    "records_to_arrow",
    "storable_text",
    "utc_now",
]

FORMAT_VERSION = 2

MOST_SAMPLES = 20_000_000
"""Of a data set with more samples no manifest is kept: 8 bytes for each are held until it is stored."""

Json = Annotated[Any, "json"]
"""A column that holds canonical JSON text."""

Vector = Annotated[list[float], "float32"]
"""A column that holds a list of 32-bit floats."""


HEARTBEATS_UNTIL_LOST = 3
"""A run that says it is running and was not heard of for so many of its heartbeats is lost."""


class RunStatus:
    """Words of the column ``runs.status``; ``LOST`` is never written, readers derive it."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    REQUEUED = "requeued"
    LOST = "lost"


class Tier:
    """Words of the column ``placements.tier``."""

    HOT = "hot"
    COLD = "cold"
    DELETED = "deleted"


class Relation:
    """Words of the column ``links.relation``."""

    TRAINED_ON = "trained_on"
    VALIDATED_ON = "validated_on"
    EVALUATED_ON = "evaluated_on"
    USED_PIPELINE = "used_pipeline"
    RAN_IN = "ran_in"
    RAN_CODE = "ran_code"
    STARTED_WITH = "started_with"
    EVALUATED = "evaluated"
    PRODUCED = "produced"
    RESUMED_FROM = "resumed_from"
    REPRODUCES = "reproduces"
    DERIVED_FROM = "derived_from"
    IMPORTED_FROM = "imported_from"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A row of a table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Record):
    """A state of a run; the row with the highest (segment, revision) is the run's present state."""

    run_id: str
    segment: int
    revision: int
    project: str
    experiment: str | None = None
    name: str | None = None
    tags: Json = dataclasses.field(default_factory=dict)
    status: str
    stage: str | None = None
    stop_reason: str | None = None
    exception: str | None = None
    started_at: datetime
    ended_at: datetime | None = None
    heartbeat_at: datetime
    heartbeat_every_s: float
    duration_s: float | None = None
    dataset_config_id: str | None = None
    pipeline_config_id: str | None = None
    environment_id: str | None = None
    code_id: str | None = None
    weights_start_id: str | None = None
    weights_end_id: str | None = None
    seed: int | None = None
    seeds: Json = dataclasses.field(default_factory=dict)
    world_size: int | None = None
    argv: Json = dataclasses.field(default_factory=list)
    parent_run_id: str | None = None
    resumed_from: str | None = None
    reproduces: str | None = None
    summary: Json = dataclasses.field(default_factory=dict)
    number_in_process: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(Record):
    """The content of a data set, whoever uses it."""

    dataset_id: str
    recorded_at: datetime
    name: str | None = None
    uri: str | None = None
    version: str | None = None
    kind: str | None = None
    n_samples: int | None = None
    n_classes: int | None = None
    class_counts: Json = dataclasses.field(default_factory=dict)
    sample_shape: list[int] | None = None
    sample_dtype: str | None = None
    size_bytes: int | None = None
    fingerprint: str | None = None
    fingerprint_method: str | None = None
    licence: str | None = None
    modified_at: datetime | None = None
    diversity: float | None = None
    diversity_low: float | None = None
    diversity_high: float | None = None
    diversity_method: str | None = None
    diversity_probe_id: str | None = None
    diversity_n_tasks: int | None = None
    manifest_object: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig(Record):
    """A use of a data set: which part, how it is transformed, sampled and batched."""

    dataset_config_id: str
    recorded_at: datetime
    dataset_id: str
    split: str | None = None
    n_samples: int | None = None
    indices_hash: str | None = None
    transforms: str | None = None
    sampler: str | None = None
    batch_size: int | None = None
    drop_last: bool | None = None
    num_workers: int | None = None
    collate_fn: str | None = None
    settings: Json = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline(Record):
    """A model and its procedure, without settings."""

    pipeline_id: str
    recorded_at: datetime
    module_class: str
    source_hash: str | None = None
    n_parameters: int | None = None
    n_trainable: int | None = None
    layers: Json = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PipelineConfig(Record):
    """The settings of a pipeline: hyper-parameters, optimizers, schedulers, trainer flags."""

    pipeline_config_id: str
    recorded_at: datetime
    pipeline_id: str
    hparams: Json = dataclasses.field(default_factory=dict)
    hparams_source: str | None = None
    optimizers: Json = dataclasses.field(default_factory=list)
    schedulers: Json = dataclasses.field(default_factory=list)
    trainer: Json = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Param(Record):
    """One setting of a configuration under its dotted key."""

    config_id: str
    key: str
    value_num: float | None = None
    value_text: str | None = None
    type: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Environment(Record):
    """Where a run happened."""

    environment_id: str
    recorded_at: datetime
    python: str
    platform: str
    machine: str | None = None
    cpu: str | None = None
    cpu_count: int | None = None
    memory_bytes: int | None = None
    gpus: Json = dataclasses.field(default_factory=list)
    cuda: str | None = None
    packages: Json = dataclasses.field(default_factory=dict)
    determinism: Json = dataclasses.field(default_factory=dict)
    variables: Json = dataclasses.field(default_factory=dict)
    gpu_driver: str | None = None
    cuda_driver: str | None = None
    cudnn: str | None = None
    package_origins: Json = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Code(Record):
    """The code a run was started from."""

    code_id: str
    recorded_at: datetime
    commit: str | None = None
    branch: str | None = None
    remote: str | None = None
    dirty: bool | None = None
    diff: str | None = None
    entry_point: str | None = None
    entry_point_hash: str | None = None
    snapshot_object: str | None = None
    working_directory: str | None = None
    launch: Json = dataclasses.field(default_factory=dict)
    untracked: Json = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric(Record):
    """One value of one metric."""

    run_id: str
    segment: int
    name: str
    context: str | None = None
    dataloader_idx: int | None = None
    step: int | None = None
    global_step: int | None = None
    epoch: int | None = None
    time: datetime
    value: float
    rank: int = 0
    source: str = "logged"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episode(Record):
    """One evaluated few-shot task."""

    run_id: str
    segment: int
    episode_id: str
    method: str
    weights_id: str | None = None
    dataset_config_id: str | None = None
    dataset_id: str | None = None
    episode_seed: int
    episode_index: int
    classes: list[int]
    ways: int
    shots: int
    queries: int
    inner_steps: int | None = None
    loss: float
    accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embedding(Record):
    """One embedded task, or one half of its images."""

    dataset_id: str
    dataset_config_id: str
    recorded_at: datetime
    task_seed: int
    task_index: int
    probe_id: str
    method: str
    vector: Vector
    complexity: float | None = None
    n_images: int | None = None
    half: int | None = None
    probe_name: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Artifact(Record):
    """A file of a run; its bytes lie in ``objects/`` or ``chunks/``."""

    run_id: str
    segment: int
    path: str
    kind: str
    size_bytes: int
    object_id: str
    recipe: str = "whole"
    tier: str = "hot"
    media_type: str | None = None
    score: float | None = None
    weights_id: str | None = None
    recorded_at: datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Link(Record):
    """An edge of the lineage graph."""

    source_kind: str
    source_id: str
    relation: str
    target_kind: str
    target_id: str
    run_id: str | None = None
    recorded_at: datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event(Record):
    """A noteworthy moment of a run."""

    run_id: str
    segment: int
    time: datetime
    level: str
    kind: str
    message: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resume(Record):
    """A segment that goes on from a checkpoint: what the earlier one recorded after it is another attempt's."""

    run_id: str
    segment: int
    from_segment: int
    until: datetime
    step: int | None = None
    global_step: int | None = None
    epoch: int | None = None
    recorded_at: datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement(Record):
    """Where a file of a run was brought; the newest row of a file counts, none means that it is where it was stored."""

    run_id: str
    path: str
    object_id: str
    recipe: str = "whole"
    size_bytes: int | None = None
    tier: str
    root: str | None = None
    storage_class: str | None = None
    reason: str | None = None
    recorded_at: datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result(Record):
    """Figures that an analysis computed from other things of the lake; ``links`` says from which."""

    result_id: str
    recorded_at: datetime
    kind: str
    project: str | None = None
    settings: Json = dataclasses.field(default_factory=dict)
    inputs: Json = dataclasses.field(default_factory=dict)
    figures: Json = dataclasses.field(default_factory=dict)


TABLES: Mapping[str, type[Record]] = {
    "runs": Run,
    "datasets": Dataset,
    "dataset_configs": DatasetConfig,
    "pipelines": Pipeline,
    "pipeline_configs": PipelineConfig,
    "params": Param,
    "environments": Environment,
    "code": Code,
    "metrics": Metric,
    "episodes": Episode,
    "embeddings": Embedding,
    "artifacts": Artifact,
    "links": Link,
    "events": Event,
    "resumes": Resume,
    "placements": Placement,
    "results": Result,
}

CONTENT_TABLES: Mapping[str, str] = {
    "datasets": "dataset_id",
    "dataset_configs": "dataset_config_id",
    "pipelines": "pipeline_id",
    "pipeline_configs": "pipeline_config_id",
    "environments": "environment_id",
    "code": "code_id",
    "results": "result_id",
}
"""Tables whose rows are content-addressed, with the id column: many runs write the same row."""


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(timezone.utc)


def new_run_id() -> str:
    """A UUIDv7: 48 bits of Unix milliseconds, then random bits, so that ids sort by time.

    Source: RFC 9562, section 5.7.
    """
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | random_bits
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


def canonical_json(value: object) -> str:
    """JSON text that is equal for equal values: sorted keys, no white space, UTF-8 kept.

    Floats that JSON lacks become the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.

    Args:
        value: Anything made of mappings, sequences, strings, numbers, booleans and None.

    Raises:
        TypeError: If a value of another type is met.

    Example:
        >>> canonical_json({"b": 1, "a": [True, None, float("nan")]})
        '{"a":[true,null,"NaN"],"b":1}'
    """
    return json.dumps(_json_ready(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def storable_text(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become the replacement character."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _json_ready(value: object) -> object:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_text(str(key)): _json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def content_id(kind: str, facts: Mapping[str, object]) -> str:
    """The id of a thing that is described by its content: equal facts give equal ids.

    Args:
        kind: The table's name; it keeps the ids of different tables apart.
        facts: The facts that make the thing what it is.

    Returns:
        The first 32 hexadecimal digits of the SHA-256 of the canonical JSON of ``[kind, facts]``.

    Example:
        >>> content_id("pipelines", {"a": 1, "b": 2}) == content_id("pipelines", {"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(canonical_json([kind, facts]).encode()).hexdigest()[:32]


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of a table.

    Raises:
        KeyError: If there is no such table.
    """
    import pyarrow as pa

    hints = get_type_hints(TABLES[table], include_extras=True)
    fields = [pa.field(name, _arrow_type(hint)) for name, hint in hints.items()]
    return pa.schema(fields, metadata={"lde.table": table, "lde.format_version": str(FORMAT_VERSION)})


def _arrow_type(hint: Any) -> pa.DataType:
    import pyarrow as pa

    if get_origin(hint) is Annotated:
        return pa.string() if "json" in hint.__metadata__ else pa.list_(pa.float32())
    options = [option for option in get_args(hint) if option is not type(None)]
    if len(options) == 1 and get_origin(hint) is not list:
        return _arrow_type(options[0])
    return {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", tz="UTC"),
        list[int]: pa.list_(pa.int64()),
    }[hint]


def json_columns(table: str) -> frozenset[str]:
    """Names of the columns of a table that hold JSON text."""
    hints = get_type_hints(TABLES[table], include_extras=True)
    return frozenset(name for name, hint in hints.items() if hint is Json)


def records_to_arrow(table: str, records: Iterable[Record]) -> pa.Table:
    """Rows of one table as an Arrow table with exactly the columns of its schema.

    Args:
        table: The table's name.
        records: Instances of the table's dataclass.
    """
    import pyarrow as pa

    rows = list(records)
    as_json = json_columns(table)
    schema = arrow_schema(table)
    columns = []
    for field in schema:
        cells = [getattr(row, field.name) for row in rows]
        if field.name in as_json:
            cells = [canonical_json(cell) for cell in cells]
        elif pa.types.is_string(field.type):
            cells = [storable_text(cell) if isinstance(cell, str) else cell for cell in cells]
        columns.append(column_of(cells, field.type))
    return pa.table(columns, schema=schema)


def odd_fields(run: Run) -> dict[str, Any]:
    """Fields of a run whose values its table cannot hold, each with the value that stands for nothing."""
    now = utc_now()
    plain = Run(
        run_id="", segment=0, revision=0, project="", status="", started_at=now, heartbeat_at=now, heartbeat_every_s=1.0
    )
    odd: dict[str, Any] = {}
    for field in dataclasses.fields(Run):
        try:
            records_to_arrow("runs", [dataclasses.replace(plain, **{field.name: getattr(run, field.name)})])
        except Exception:
            odd[field.name] = getattr(plain, field.name)
    return odd
