"""Where a thing in a lake came from, and what came from it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from lightning_lde.errors import ConfigurationError, NodeNotFoundError
from lightning_lde.query._graph import Edge, Graph, Key, load_graph
from lightning_lde.query._lake import Lake
from lightning_lde.query._nodes import Node, describe_nodes

DIRECTIONS = ("up", "down", "both")
_SHOWN_IF_SEVERAL = 5


@dataclass(frozen=True)
class Step:
    """One edge on the way away from where a lineage begins.

    Attributes:
        edge: The edge.
        node: Where it leads: its source on the way up, its target on the way down.
        before: The number of the step that led to where it begins, None where the lineage begins there.
        depth: Edges from the beginning, this one included.
    """

    edge: Edge
    node: Key
    before: int | None
    depth: int


@dataclass(frozen=True)
class Lineage:
    """What a thing came from, and what came from it.

    Attributes:
        root: The thing.
        nodes: All things that were met, the root first, by kind and id.
        upstream: The ways to what it came from, nearest first.
        downstream: The ways to what came from it, nearest first.
        cut_off: Things beyond the greatest depth that are not shown.
    """

    root: Node
    nodes: dict[Key, Node]
    upstream: tuple[Step, ...]
    downstream: tuple[Step, ...]
    cut_off: int

    def edges(self) -> list[Edge]:
        """All edges, each once."""
        return list(dict.fromkeys(step.edge for step in (*self.upstream, *self.downstream)))

    def as_dict(self) -> dict[str, Any]:
        """Nodes and edges as nested dicts and lists."""
        return {
            "root": {"kind": self.root.kind, "id": self.root.id},
            "nodes": [vars(node) for node in self.nodes.values()],
            "edges": [
                *(_edge_dict(step, "up") for step in self.upstream),
                *(_edge_dict(step, "down") for step in self.downstream),
            ],
            "cut_off": self.cut_off,
        }


def lineage(lake: Lake, name: str, *, direction: str = "both", depth: int | None = None) -> Lineage:
    """Follow what led to a thing, and what it led to.

    Data sets lead to the runs that were trained or validated on them, runs to their weights and files, and these to
    runs that went on from them: from a checkpoint, or with weights that were loaded by hand, which their fingerprint
    tells. What a run was only evaluated on leads to the results of the evaluation and no further.

    Args:
        lake: The lake.
        name: An id of any kind (run, data set, data set configuration, pipeline, pipeline configuration, weights,
            object of a file, environment, code), the beginning of one, or the name of a run.
        direction: ``"up"`` for where it came from, ``"down"`` for what came from it, or ``"both"``.
        depth: The greatest number of edges from it, None for no limit.

    Returns:
        What was met on the way. The graph may have circles; each edge is followed once.

    Raises:
        NodeNotFoundError: If none or several things answer to the name.
        ConfigurationError: If ``direction`` or ``depth`` is none of these.

    Example:
        >>> import tempfile
        >>> from lightning_lde import Recorder
        >>> folder = tempfile.mkdtemp()
        >>> with Recorder(folder, project="demo", name="sum") as run:
        ...     run.log({"total": 1.0}, step=0)
        >>> found = lineage(Lake(folder), "sum", direction="up")
        >>> sorted(step.edge.relation for step in found.upstream)
        ['ran_code', 'ran_in']
    """
    if direction not in DIRECTIONS:
        raise ConfigurationError(f"direction is {direction!r}: give one of {', '.join(DIRECTIONS)}")
    if depth is not None and depth < 1:
        raise ConfigurationError(f"depth is {depth}: give at least 1, or nothing for no limit")
    graph = load_graph(lake)
    root = find(lake, graph, name)
    up, up_cut = walk(graph, root, upwards=True, depth=depth) if direction != "down" else ([], 0)
    down, down_cut = walk(graph, root, upwards=False, depth=depth) if direction != "up" else ([], 0)
    keys = dict.fromkeys([root, *(step.node for step in (*up, *down))])
    nodes = describe_nodes(lake, graph, keys)
    return Lineage(nodes[root], nodes, tuple(up), tuple(down), up_cut + down_cut)


def find(lake: Lake, graph: Graph, name: str) -> Key:
    """The one thing that an id, the name of a run, or the beginning of an id means.

    Raises:
        NodeNotFoundError: If none or several answer to it.
    """
    exact = [key for key in graph.keys if key[1] == name]
    if len(exact) == 1:
        return exact[0]
    named = lake.sql("select run_id from runs where name = ?", [name]).column("run_id").to_pylist()
    begin = [key for key in graph.keys if name and key[1].startswith(name.lower())]
    # What a run measured has an id of its own that begins with the run's.
    begin = [key for key in begin if key[0] not in {"evaluation", "embeddings"}] or begin
    found = exact or [("run", run_id) for run_id in named] or begin
    if not found:
        raise NodeNotFoundError(
            f"nothing in {lake.url} has the id {name!r}, nor a run this name: "
            f"`lde runs {lake.url}` lists runs, and `lde show` the ids of what belongs to one"
        )
    if len(found) > 1:
        few = ", ".join(f"{kind} {one}" for kind, one in found[:_SHOWN_IF_SEVERAL])
        more = ", …" if len(found) > _SHOWN_IF_SEVERAL else ""
        raise NodeNotFoundError(f"{name!r} means {len(found)} things ({few}{more}): give one's id, or more of it")
    return found[0]


def walk(graph: Graph, root: Key, *, upwards: bool, depth: int | None) -> tuple[list[Step], int]:
    """Follow edges away from a thing, nearest first, each once.

    Args:
        graph: The graph.
        root: Where to begin.
        upwards: Against the edges instead of along them.
        depth: The greatest number of edges from the root, None for no limit.

    Returns:
        The steps, and the number of things beyond the depth that would come next.
    """
    edges_at = graph.into if upwards else graph.out_of
    steps: list[Step] = []
    seen: set[Edge] = set()
    # Edges that differ only in the run's segment are one step; each of them may be followed by others.
    places: dict[tuple[Key, str, Key], int] = {}
    waiting: deque[tuple[Key, Edge | None, int | None, int]] = deque([(root, None, None, 0)])
    beyond: set[Key] = set()
    while waiting:
        node, came, before, level = waiting.popleft()
        for edge in edges_at.get(node, ()):
            after = edge.source if upwards else edge.target
            if edge in seen or not _may_go(graph, came, edge, upwards=upwards):
                continue
            if depth is not None and level >= depth:
                beyond.add(after)
                continue
            seen.add(edge)
            place = places.setdefault((edge.source, edge.relation, edge.target), len(steps))
            if place == len(steps):
                steps.append(Step(edge, after, before, level + 1))
            waiting.append((after, edge, place, level + 1))
    return steps, len(beyond - {root, *(step.node for step in steps)})


def _may_go(graph: Graph, came: Edge | None, edge: Edge, *, upwards: bool) -> bool:
    if came is None:
        return True
    return graph.may_follow(edge, came) if upwards else graph.may_follow(came, edge)


def _edge_dict(step: Step, direction: str) -> dict[str, Any]:
    edge = step.edge
    return {
        "source_kind": edge.source[0],
        "source_id": edge.source[1],
        "relation": edge.relation,
        "target_kind": edge.target[0],
        "target_id": edge.target[1],
        "segment": edge.segment,
        "at": edge.at,
        "direction": direction,
        "depth": step.depth,
    }
