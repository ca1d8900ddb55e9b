"""What a lake knows of a run that matters for running it again and for comparing it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import Any, NamedTuple

from lightning_lde.query import Lake
from lightning_lde.schema import TABLES, json_columns

Row = dict[str, Any]

_USES = """
    select l.relation, l.recorded_at as first_met, c.*, d.name as dataset, d.n_samples as dataset_samples, d.n_classes,
           d.class_counts, d.sample_shape, d.sample_dtype, d.size_bytes, d.fingerprint, d.fingerprint_method
    from (select relation, target_id, min(recorded_at) as recorded_at from stored.links
          where run_id = $1 and target_kind = 'dataset_config' group by all) l
    join dataset_configs c on c.dataset_config_id = l.target_id
    left join datasets d using (dataset_id)
    order by l.relation, l.recorded_at"""

_PIPELINE = """
    select p.*, c.* exclude (pipeline_id, recorded_at)
    from pipeline_configs c join pipelines p using (pipeline_id) where c.pipeline_config_id = $1"""

_SEGMENTS = """
    select segment, arg_max(seeds, revision) as seeds, arg_max(stage, revision) as stage,
           arg_max(number_in_process, revision) as number
    from stored.runs where run_id = $1 group by segment order by segment"""

_POINTS = """
    select segment, name, context, dataloader_idx, step, value from metrics
    where run_id = $1 and segment >= $2 and context is distinct from 'system'
    order by segment, time, step"""

_EPISODES = """
    select segment, method, inner_steps, dataset_config_id, episode_index, loss, accuracy from episodes
    where run_id = $1 and segment >= $2 order by segment, method, inner_steps, episode_index"""


class Point(NamedTuple):
    """A place where a metric has a value.

    Attributes:
        segment: Which segment of the process, from zero.
        name: The metric.
        context: ``"train"``, ``"val"``, ``"test"``, ``"predict"``, ``"episodes"`` or None.
        dataloader_idx: The data loader.
        step: The logger's step.
        repetition: How many values the same place had before.
    """

    segment: int
    name: str
    context: str | None
    dataloader_idx: int | None
    step: int | None
    repetition: int


class Use(NamedTuple):
    """A data set as a run used it.

    Attributes:
        relation: ``"trained_on"``, ``"validated_on"`` or ``"evaluated_on"``.
        facts: The columns of the data set and of its configuration.
    """

    relation: str
    facts: Row


@dataclasses.dataclass(frozen=True)
class Recorded:
    """A run as a lake has it; of one that several processes went on with, the last process's part.

    Attributes:
        run: Its row, JSON decoded.
        environment: Its environment, empty if unknown.
        code: Its code, empty if unknown.
        pipeline: Its pipeline and configuration, empty if unknown.
        uses: The data sets it used.
        seeds: ``runs.seeds`` of each segment of its last process.
        stages: The stage of each of these segments.
        points: The values of its metrics and evaluated tasks, in the order in which they came.
        events: Its events.
        went_on: Whether an earlier process had begun the run.
    """

    run: Row
    environment: Row = dataclasses.field(default_factory=dict)
    code: Row = dataclasses.field(default_factory=dict)
    pipeline: Row = dataclasses.field(default_factory=dict)
    uses: list[Use] = dataclasses.field(default_factory=list)
    seeds: list[Row] = dataclasses.field(default_factory=list)
    stages: list[str | None] = dataclasses.field(default_factory=list)
    points: dict[Point, float] = dataclasses.field(default_factory=dict)
    events: list[Row] = dataclasses.field(default_factory=list)
    went_on: bool = False

    @property
    def identity(self) -> Row:
        """What the run is called."""
        return {name: self.run[name] for name in ("project", "experiment", "name", "tags")}


def read_recorded(lake: Lake, run: str) -> Recorded:
    """Read what a lake knows of a run.

    Args:
        lake: The lake.
        run: The run's id, the beginning of one, or a unique name.

    Raises:
        RunNotFoundError: If none or several runs answer to it.
    """
    run_id = lake.resolve_run(run)

    def ask(sql: str, *parameters: object) -> list[Row]:
        return [_decoded(row) for row in lake.sql(sql, parameters).to_pylist()]

    [row] = ask("select * from runs where run_id = $1", run_id)
    every = ask(_SEGMENTS, run_id)
    segments = _last_process(every)
    first = segments[0]["segment"]
    uses = ask(_USES, run_id)
    return Recorded(
        run=row,
        environment=_one(ask("select * from environments where environment_id = $1", row["environment_id"])),
        code=_one(ask("select * from code where code_id = $1", row["code_id"])),
        pipeline=_one(ask(_PIPELINE, row["pipeline_config_id"])),
        uses=[Use(use.pop("relation"), use) for use in uses],
        seeds=[segment["seeds"] or {} for segment in segments],
        stages=[segment["stage"] for segment in segments],
        points=_points(
            ask(_POINTS, run_id, first),
            ask(_EPISODES, run_id, first),
            {segment["segment"]: place for place, segment in enumerate(segments)},
        ),
        events=ask("select kind, level, message from events where run_id = $1 order by time", run_id),
        went_on=len(segments) < len(every),
    )


def _last_process(segments: list[Row]) -> list[Row]:
    """Segments of the process that recorded the run last.

    After a gap in their numbers a run goes on from a checkpoint: in the same process where it has a number there.
    """
    first = len(segments) - 1
    while first > 0:
        follows = segments[first - 1]["segment"] == segments[first]["segment"] - 1
        if not follows and segments[first]["number"] is None:
            break
        first -= 1
    return segments[first:]


def _points(metrics: list[Row], episodes: list[Row], places: dict[int, int]) -> dict[Point, float]:
    met: Counter[tuple[Any, ...]] = Counter()
    points: dict[Point, float] = {}

    def add(place: tuple[Any, ...], value: float) -> None:
        points[Point._make((*place, met[place]))] = value
        met[place] += 1

    for row in metrics:
        place = places[row["segment"]], row["name"], row["context"], row["dataloader_idx"], row["step"]
        add(place, row["value"])
    for row in episodes:
        steps = "" if row["inner_steps"] is None else f", {row['inner_steps']} inner steps"
        for name in ("loss", "accuracy"):
            title = f"{row['method']}{steps}: {name}"
            add((places[row["segment"]], title, "episodes", None, row["episode_index"]), row[name])
    return points


def _one(rows: list[Row]) -> Row:
    return rows[0] if rows else {}


def _decoded(row: Row) -> Row:
    return {
        name: json.loads(value) if name in _JSON_COLUMNS and isinstance(value, str) else value
        for name, value in row.items()
    }


_JSON_COLUMNS = frozenset().union(*(json_columns(table) for table in TABLES))
