"""What a lake knows of a run that matters for running it again and for comparing it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

from lightning_lde.query import Lake, decoded_row, numbered, read_facts

Row = dict[str, Any]

_SEGMENTS = """
    select segment, arg_max(seeds, revision) as seeds, arg_max(stage, revision) as stage,
           arg_max(number_in_process, revision) as number
    from stored.runs where run_id = $1 group by segment order by segment"""

_POINTS = """
    select segment, name, context, dataloader_idx, step, coalesce(value, 'nan'::double) as value from metrics
    where run_id = $1 and segment >= $2 and context is distinct from 'system'
    order by segment, time, step"""

_PLACES = "select dataset_id, uri, manifest_object from datasets where list_contains($1, dataset_id)"

_EPISODES = """
    select segment, method, inner_steps, episode_index, coalesce(loss, 'nan'::double) as loss,
           coalesce(accuracy, 'nan'::double) as accuracy
    from episodes where run_id = $1 and segment >= $2
    order by segment, method, inner_steps, episode_index, dataset_config_id, ways, shots, episode_seed, episode_id"""


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
        facts: The columns of the data set and of its configuration; those of the data set that are named as some of
            the configuration's are as `RunFacts.data` has them.
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

    [facts] = read_facts(lake, [run_id])

    def ask(sql: str, *parameters: object) -> list[Row]:
        return [decoded_row(row) for row in lake.sql(sql, parameters).to_pylist()]

    every = ask(_SEGMENTS, run_id)
    segments = _last_process(every)
    first = segments[0]["segment"]
    return Recorded(
        run=decoded_row(facts.run),
        environment=decoded_row(facts.environment),
        code=decoded_row(facts.code),
        pipeline=decoded_row(facts.pipeline),
        uses=_uses(facts.data, ask(_PLACES, [row["dataset_id"] for row in facts.data]) if facts.data else []),
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


def _uses(data: list[Row], places: list[Row]) -> list[Use]:
    """The data sets, those with one purpose in the order in which the run met them."""
    rows = sorted(data, key=lambda row: (row["relation"], row["first_met"]))
    of_data_set = {row["dataset_id"]: row for row in places}
    return [
        Use(
            row["relation"],
            {k: v for k, v in {**row, **of_data_set.get(row["dataset_id"], {})}.items() if k != "relation"},
        )
        for row in map(decoded_row, rows)
    ]


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
    points = numbered((*_of_metrics(metrics, places), *_of_episodes(episodes, places)))
    return {Point._make((*place, number)): value for (place, number), value in points.items()}


def _of_metrics(metrics: list[Row], places: dict[int, int]) -> Iterator[tuple[tuple[Any, ...], float]]:
    for row in metrics:
        place = places[row["segment"]], row["name"], row["context"], row["dataloader_idx"], row["step"]
        yield place, row["value"]


def _of_episodes(episodes: list[Row], places: dict[int, int]) -> Iterator[tuple[tuple[Any, ...], float]]:
    for row in episodes:
        steps = "" if row["inner_steps"] is None else f", {row['inner_steps']} inner steps"
        for name in ("loss", "accuracy"):
            title = f"{row['method']}{steps}: {name}"
            yield (places[row["segment"]], title, "episodes", None, row["episode_index"]), row[name]
