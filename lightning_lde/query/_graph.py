"""The edges of a lake's lineage graph, read from its tables, and which edge may follow which."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from lightning_lde.query._lake import Lake
from lightning_lde.schema import Relation

Key = tuple[str, str]
"""A kind and an id: what a node is known by."""

Row = dict[str, Any]

EVALUATION_STAGES = frozenset({"validate", "test", "predict"})

USE_OF = "use_of"
CONFIGURES = "configures"
HOLDS = "holds"
RESULT_OF = "result_of"
EMBEDDED_FROM = "embedded_from"
EMBEDDED_BY = "embedded_by"
PARENT = "parent"

# Of a run that was only evaluated on something, nothing but the results of that evaluation depends on it.
_EVALUATING = frozenset({Relation.EVALUATED_ON, Relation.EVALUATED})
# Worth knowing, but nothing flows from one to the other.
_NO_CAUSE = frozenset({Relation.REPRODUCES, PARENT})


class Edge(NamedTuple):
    """One thing that came from another.

    Attributes:
        source: What was first.
        relation: A word of ``Relation``, or one of this module's.
        target: What came from it.
        segment: The run's segment in which it happened, None where that is not known.
        at: When it was first recorded.
    """

    source: Key
    relation: str
    target: Key
    segment: int | None = None
    at: datetime | None = None


@dataclass
class Segments:
    """When the segments of runs ended, what they did, and which of them others go on from.

    A run that goes on from a checkpoint has attempts (docs/format.md): what an attempt produced depends on what
    happened in it and in those that it goes on from, not on what was given up.
    """

    stages: dict[str, dict[int, str | None]] = field(default_factory=dict)
    ends: dict[str, list[tuple[datetime, int]]] = field(default_factory=dict)
    resumes: dict[str, dict[int, int]] = field(default_factory=dict)

    def stage(self, run_id: str, segment: int | None) -> str | None:
        """The stage of a segment; of the run's first one where the segment is not known."""
        stages = self.stages.get(run_id, {})
        return stages.get(min(stages, default=0) if segment is None else segment)

    def at(self, run_id: str, moment: datetime | None) -> int | None:
        """The segment that a moment belongs to: the first one that ended at it or later."""
        ends = self.ends.get(run_id, [])
        if moment is None or not ends:
            return None
        place = bisect_left(ends, (moment, -1))
        return ends[min(place, len(ends) - 1)][1]

    def leads_to(self, run_id: str, first: int | None, second: int | None) -> bool:
        """Whether what happened in one segment could have an effect in another one."""
        if first is None or second is None:
            return True
        resumes = self.resumes.get(run_id, {})
        while True:
            begin = max((segment for segment in resumes if segment <= second), default=None)
            if first <= second and (begin is None or first >= begin):
                return True
            if begin is None or resumes[begin] >= begin:
                return False
            second = resumes[begin]


class Graph:
    """All edges of a lake.

    Args:
        edges: In any order; edges that differ only in their time are one.
        segments: What is known of the runs' segments.
        lonely: Things without an edge.
    """

    def __init__(self, edges: Iterable[Edge], segments: Segments, lonely: Iterable[Key] = ()) -> None:
        self.segments = segments
        self.into: dict[Key, list[Edge]] = defaultdict(list)
        self.out_of: dict[Key, list[Edge]] = defaultdict(list)
        self.keys: dict[Key, None] = dict.fromkeys(lonely)
        for edge in sorted(_earliest(edges), key=_order):
            self.into[edge.target].append(edge)
            self.out_of[edge.source].append(edge)
            self.keys[edge.source] = self.keys[edge.target] = None

    def may_follow(self, first: Edge, second: Edge) -> bool:
        """Whether the second edge carries on what came by the first one, which ends where it begins."""
        kind, name = first.target
        if first.relation in _NO_CAUSE or second.relation in _NO_CAUSE:
            return False
        if kind == "weights":
            return self._could_be_loaded(first, second)
        if kind != "run":
            return True
        if first.relation in _EVALUATING:
            return second.relation == RESULT_OF and second.segment == first.segment
        return self.segments.leads_to(name, first.segment, second.segment)

    def _could_be_loaded(self, made: Edge, used: Edge) -> bool:
        """Whether a use of weights can be a use of those that one run made: several may make the same ones.

        A run that repeats another one makes its weights again, after others have used them. Where all that made them
        seem later, the clocks of two machines differ.
        """
        if made.at is None or used.at is None or made.at <= used.at:
            return True
        return not any(other.at is None or other.at <= used.at for other in self.into[used.source])


def load_graph(lake: Lake) -> Graph:
    """Read the edges of all of a lake's runs, as they were at one moment."""
    tables: dict[str, list[Row]] = defaultdict(list)
    for row in lake.sql(_EVERYTHING).to_pylist():
        tables[row["what"]].append(row)
    segments = _segments(tables["segment"], tables["resume"])
    recorded = [
        *_links(tables["link"], segments),
        *_artifacts(tables["artifact"]),
        *_episodes(tables["episode"], segments),
    ]
    edges = [*recorded, *_columns_of_runs(tables["run"], recorded, segments), *_content(tables)]
    edges = list(_without_own_weights(_earliest(edges)))
    edges += _results(edges, segments)
    lonely: list[Key] = [("run", row["run_id"]) for row in tables["run"]]
    lonely += [("dataset", row["dataset_id"]) for row in tables["dataset"]]
    return Graph(edges, segments, lonely)


# One query, so that all of it is of one moment, and the lake is listed once.
_EVERYTHING = """
    select 'segment' as what, run_id, segment, arg_max(stage, revision) as stage, max(heartbeat_at) as at
    from stored.runs group by run_id, segment
    union all by name
    select distinct 'resume' as what, run_id, segment, from_segment from stored.resumes
    union all by name
    select distinct 'link' as what, source_kind, source_id, relation, target_kind, target_id, run_id, recorded_at as at
    from stored.links
    union all by name
    select 'artifact' as what, run_id, object_id, weights_id, arg_min(segment, recorded_at) as segment,
           min(recorded_at) as at
    from stored.artifacts where object_id is not null group by run_id, object_id, weights_id
    union all by name
    select distinct 'episode' as what, run_id, segment, weights_id, dataset_config_id from stored.episodes
    union all by name
    select 'run' as what, run_id, started_at, coalesce(ended_at, heartbeat_at) as at, dataset_config_id,
           pipeline_config_id, environment_id, code_id, weights_start_id, weights_end_id, parent_run_id, resumed_from,
           reproduces
    from runs
    union all by name
    select distinct 'dataset' as what, dataset_id from stored.datasets
    union all by name
    select distinct 'dataset_config' as what, dataset_id, dataset_config_id from stored.dataset_configs
    union all by name
    select distinct 'pipeline_config' as what, pipeline_id, pipeline_config_id from stored.pipeline_configs
    union all by name
    select distinct 'embedding' as what, dataset_id, dataset_config_id, probe_id from stored.embeddings"""


def _segments(states: list[Row], resumes: list[Row]) -> Segments:
    found = Segments()
    for row in sorted(states, key=lambda row: (row["at"], row["segment"])):
        found.stages.setdefault(row["run_id"], {})[row["segment"]] = row["stage"]
        found.ends.setdefault(row["run_id"], []).append((row["at"], row["segment"]))
    for row in resumes:
        found.resumes.setdefault(row["run_id"], {})[row["segment"]] = row["from_segment"]
    return found


def _links(rows: list[Row], segments: Segments) -> Iterator[Edge]:
    for row in rows:
        said_of, what = (row["source_kind"], row["source_id"]), (row["target_kind"], row["target_id"])
        run_id, relation = row["run_id"] or (said_of[1] if said_of[0] == "run" else ""), row["relation"]
        segment = segments.at(run_id, row["at"])
        if relation == Relation.VALIDATED_ON and segments.stage(run_id, segment) in EVALUATION_STAGES:
            relation = Relation.EVALUATED_ON
        # A run says what it was made of; only of products the run is the source.
        source, target = (said_of, what) if relation == Relation.PRODUCED else (what, said_of)
        yield Edge(source, relation, target, segment, row["at"])


def _artifacts(rows: list[Row]) -> Iterator[Edge]:
    # A later fit of a run stores again what lies in its folder: the first one made it.
    for row in rows:
        artifact = ("artifact", row["object_id"])
        yield Edge(("run", row["run_id"]), Relation.PRODUCED, artifact, row["segment"], row["at"])
        if row["weights_id"] is not None:
            yield Edge(artifact, HOLDS, ("weights", row["weights_id"]), None, row["at"])


def _episodes(rows: list[Row], segments: Segments) -> Iterator[Edge]:
    for row in rows:
        run, segment = ("run", row["run_id"]), row["segment"]
        if segments.stage(row["run_id"], segment) == "fit":
            continue
        if row["weights_id"] is not None:
            yield Edge(("weights", row["weights_id"]), Relation.EVALUATED, run, segment)
        if row["dataset_config_id"] is not None:
            yield Edge(("dataset_config", row["dataset_config_id"]), Relation.EVALUATED_ON, run, segment)


def _columns_of_runs(rows: list[Row], recorded: list[Edge], segments: Segments) -> Iterator[Edge]:
    """What stands in the rows of runs and in no edge, for example because another program wrote them."""
    pairs = {(edge.source, edge.target) for edge in recorded}
    for row in rows:
        run_id, run = row["run_id"], ("run", row["run_id"])
        first = min(segments.stages[run_id])
        evaluates = segments.stage(run_id, first) in EVALUATION_STAGES
        columns = [
            ("dataset_config_id", "dataset_config", Relation.EVALUATED_ON if evaluates else Relation.TRAINED_ON),
            ("pipeline_config_id", "pipeline_config", Relation.USED_PIPELINE),
            ("environment_id", "environment", Relation.RAN_IN),
            ("code_id", "code", Relation.RAN_CODE),
            ("weights_start_id", "weights", Relation.EVALUATED if evaluates else Relation.STARTED_WITH),
            ("resumed_from", "run", Relation.RESUMED_FROM),
            ("reproduces", "run", Relation.REPRODUCES),
            ("parent_run_id", "run", PARENT),
        ]
        for column, kind, relation in columns:
            if row[column] is not None and ((kind, row[column]), run) not in pairs:
                segment = first if relation in _EVALUATING else None
                yield Edge((kind, row[column]), relation, run, segment, row["started_at"])
        weights = ("weights", row["weights_end_id"])
        if row["weights_end_id"] is not None and (run, weights) not in pairs:
            yield Edge(run, Relation.PRODUCED, weights, segments.at(run_id, row["at"]), row["at"])


def _content(tables: dict[str, list[Row]]) -> Iterator[Edge]:
    for row in (*tables["dataset_config"], *tables["embedding"]):
        yield Edge(("dataset", row["dataset_id"]), USE_OF, ("dataset_config", row["dataset_config_id"]))
    for row in tables["pipeline_config"]:
        yield Edge(("pipeline", row["pipeline_id"]), CONFIGURES, ("pipeline_config", row["pipeline_config_id"]))
    for row in tables["embedding"]:
        config = row["dataset_config_id"]
        yield Edge(("dataset_config", config), EMBEDDED_FROM, ("embeddings", f"{config}/{row['probe_id']}"))
        yield Edge(("probe", row["probe_id"]), EMBEDDED_BY, ("embeddings", f"{config}/{row['probe_id']}"))


def _without_own_weights(edges: list[Edge]) -> Iterator[Edge]:
    """Edges without those that say twice, and in a circle, that a run had weights.

    A run that ends with the weights that it started with did not make them, and one that goes on with its own did not
    get them from elsewhere.
    """
    started: dict[tuple[Key, Key], Edge] = {}
    made: dict[tuple[Key, Key], Edge] = {}
    makers: dict[Key, list[Key]] = defaultdict(list)
    for edge in edges:
        if edge.relation == Relation.STARTED_WITH:
            _keep_earliest(started, (edge.target, edge.source), edge)
        if edge.relation == Relation.PRODUCED:
            _keep_earliest(made, (edge.source, edge.target), edge)
            makers[edge.target].append(edge.source)
    for edge in edges:
        if edge.relation == HOLDS:
            for run in makers[edge.source]:
                _keep_earliest(made, (run, edge.target), edge)
    own = {pair for pair, edge in made.items() if pair not in started or _is_before(edge, started[pair])}
    for edge in edges:
        if edge.relation == Relation.STARTED_WITH and (edge.target, edge.source) in own:
            continue
        is_product = edge.relation == Relation.PRODUCED and edge.target[0] == "weights"
        if is_product and (edge.source, edge.target) not in own:
            continue
        if edge.relation == HOLDS and not any((run, edge.target) in own for run in makers[edge.source]):
            continue
        if edge.relation == Relation.EVALUATED and (edge.target, edge.source) in own and edge.segment is not None:
            # The way through the run would lead in a circle.
            yield edge._replace(relation=RESULT_OF, target=evaluation_of(edge.target[1], edge.segment))
            continue
        yield edge


def _results(edges: list[Edge], segments: Segments) -> list[Edge]:
    """An edge from each run to each of its evaluations."""
    places = {
        (edge.target[1], edge.segment): edge.at
        for edge in edges
        if edge.relation in _EVALUATING and edge.target[0] == "run" and edge.segment is not None
    }
    for run_id, stages in segments.stages.items():
        for segment, stage in stages.items():
            if stage in EVALUATION_STAGES:
                places.setdefault((run_id, segment), None)
    return [
        Edge(("run", run_id), RESULT_OF, evaluation_of(run_id, segment), segment, at)
        for (run_id, segment), at in places.items()
    ]


def evaluation_of(run_id: str, segment: int | None) -> Key:
    """The node of what a segment of a run measured."""
    return ("evaluation", f"{run_id}/{segment}")


def _earliest(edges: Iterable[Edge]) -> list[Edge]:
    """Edges that differ only in their time as one."""
    found: dict[Any, Edge] = {}
    for edge in edges:
        _keep_earliest(found, edge[:4], edge)
    return list(found.values())


def _order(edge: Edge) -> tuple[object, ...]:
    """What people look for first: data, then weights, then settings; of equals the earliest."""
    rank = _ORDER.index(edge.relation) if edge.relation in _ORDER else len(_ORDER)
    kinds = (edge.source[0], edge.target[0] != "weights")
    return rank, kinds, edge.at is None, edge.at or 0, edge.source[1], edge.target[1], edge.segment or 0


_ORDER = (
    USE_OF, Relation.TRAINED_ON, Relation.VALIDATED_ON, Relation.EVALUATED_ON, Relation.RESUMED_FROM,
    Relation.STARTED_WITH, Relation.EVALUATED, Relation.DERIVED_FROM, Relation.IMPORTED_FROM, Relation.PRODUCED, HOLDS,
    RESULT_OF, EMBEDDED_FROM, Relation.REPRODUCES, PARENT, Relation.USED_PIPELINE, CONFIGURES, Relation.RAN_CODE,
    Relation.RAN_IN,
)  # fmt: skip


def _keep_earliest(found: dict[Any, Edge], key: Any, edge: Edge) -> None:
    known = found.get(key)
    if known is None or known.at is None or (edge.at is not None and edge.at < known.at):
        found[key] = edge


def _is_before(first: Edge, second: Edge) -> bool:
    return first.at is None or second.at is None or first.at < second.at
