"""The contents that a data set of one name had over time, and all that depends on one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lightning_lde.errors import NodeNotFoundError
from lightning_lde.query._graph import USE_OF, Graph, Key, load_graph
from lightning_lde.query._lake import Lake
from lightning_lde.query._lineage import Step, find, walk
from lightning_lde.query._manifests import Manifests, SampleChanges
from lightning_lde.query._nodes import Node, describe_nodes
from lightning_lde.schema import Relation

_ROLES = {
    Relation.TRAINED_ON: "training",
    Relation.VALIDATED_ON: "validation",
    Relation.EVALUATED_ON: "evaluation",
}
_COMPARED = (
    "version", "uri", "kind", "n_samples", "n_classes", "size_bytes", "sample_shape", "sample_dtype", "licence",
    "fingerprint_method",
)  # fmt: skip
_AFFECTED = ("run", "weights", "artifact", "evaluation", "embeddings", "diversity", "dataset")
# The nearest way is not the strongest: a run that was tested on a data set may also go on from weights trained on it.
_STRENGTH = (Relation.TRAINED_ON, Relation.VALIDATED_ON)
_MANY_NAMES = 8


@dataclass(frozen=True)
class DataUse:
    """A run that used a data set.

    Attributes:
        run_id: The run.
        name: Its name.
        used_as: ``training``, ``validation``, ``evaluation``.
        first_used: When it first did.
        last_used: When a segment of it last began to.
    """

    run_id: str
    name: str | None
    used_as: tuple[str, ...]
    first_used: datetime | None
    last_used: datetime | None


@dataclass(frozen=True)
class DataVersion:
    """One content that a data set of some name had.

    Attributes:
        dataset_id: The id of the content.
        number: Its place in the order of first use, from one.
        facts: The columns of the table ``datasets``.
        used_as: What runs used it for.
        uses: Each run that used it.
        first_used: When a run first used it; when it was first recorded where none did.
        last_used: When a segment of a run last began to use it.
        before: The version before it that was used for the same, None for the first.
        changes: What differs from that one: ``[before, after]`` by column, and ``classes`` with ``added``, ``removed``
            and ``changed`` counts.
        samples: Which samples were added, removed or changed since that one, None where it is not known.
        samples_unknown: Why it is not known.
    """

    dataset_id: str
    number: int
    facts: dict[str, Any]
    used_as: tuple[str, ...]
    uses: tuple[DataUse, ...]
    first_used: datetime | None
    last_used: datetime | None
    before: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    samples: SampleChanges | None = None
    samples_unknown: str | None = None


@dataclass(frozen=True)
class Affected:
    """One thing that depends on a data set.

    Attributes:
        node: The thing.
        run_id: The run that it is, or belongs to.
        how: The relation by which it was reached.
        generation: 1 for runs on the data itself and what they made, 2 for runs that went on from these, and so on.
        path: The things on the way to it.
    """

    node: Node
    run_id: str | None
    how: str
    generation: int
    path: tuple[Node, ...]


def data_history(lake: Lake, name: str, *, by_sample: bool = True) -> list[DataVersion]:
    """The contents that a data set of a name had, by their first use.

    A name can stand for several data sets at once, the part for training and the part for tests: a version is compared
    with the latest one before it that was used for the same part and purpose, but never with one that the same segment
    of a run used beside it. Which samples were added, removed or changed is known where both were recorded with
    ``data_fingerprint="exact"``: their manifests are read then.

    Args:
        lake: The lake.
        name: The data set's name.
        by_sample: Whether to compare the samples; the manifests of large data sets take their time over a network.

    Raises:
        NodeNotFoundError: If no data set was ever recorded by this name.
    """
    seen = lake.sql(
        "select dataset_id, min(recorded_at) as at from stored.datasets where name = ? group by dataset_id", [name]
    ).to_pylist()
    if not seen:
        raise NodeNotFoundError(f"no data set {name!r} in {lake.url}: {_names(lake)}")
    graph = load_graph(lake)
    ids = [row["dataset_id"] for row in seen]
    rows = lake.sql("select * from datasets where list_contains($1, dataset_id)", [ids]).to_pylist()
    facts = {row["dataset_id"]: {**row, "class_counts": json.loads(row["class_counts"] or "{}")} for row in rows}
    names = {row["run_id"]: row["name"] for row in lake.sql("select run_id, name from runs").to_pylist()}
    splits = lake.sql("select dataset_config_id, split from dataset_configs").to_pylist()
    split_of = {row["dataset_config_id"]: row["split"] for row in splits}
    places = {dataset_id: _places(graph, dataset_id, split_of) for dataset_id in ids}
    first = {row["dataset_id"]: row["at"] for row in seen}
    for dataset_id, found in places.items():
        first[dataset_id] = min((place.at for place in found if place.at is not None), default=first[dataset_id])
    order = sorted(ids, key=lambda dataset_id: (first[dataset_id], dataset_id))
    versions: list[DataVersion] = []
    manifests = Manifests(lake)
    for number, dataset_id in enumerate(order, 1):
        mine = places[dataset_id]
        before = _before(mine, [(one, places[one]) for one in reversed(order[: number - 1])])
        samples = None if before is None or not by_sample else manifests.compare(facts[before], facts[dataset_id])
        versions.append(
            DataVersion(
                dataset_id=dataset_id,
                number=number,
                facts=facts[dataset_id],
                used_as=_used_as(mine),
                uses=_uses(mine, names),
                first_used=first[dataset_id],
                last_used=max((place.at for place in mine if place.at is not None), default=first[dataset_id]),
                before=before,
                changes={} if before is None else changes_between(facts[before], facts[dataset_id]),
                samples=samples if isinstance(samples, SampleChanges) else None,
                samples_unknown=samples if isinstance(samples, str) else None,
            )
        )
    return versions


def changes_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What differs between two contents, as far as the lake knows.

    Args:
        before: The columns of a data set, ``class_counts`` as a dict.
        after: Those of another one.

    Returns:
        ``[before, after]`` by column that differs; under ``classes`` the counts of classes that were added and removed,
        and ``[before, after]`` of those whose count changed.

    Example:
        >>> changes_between({"n_samples": 3, "class_counts": {"a": 3}}, {"n_samples": 4, "class_counts": {"b": 4}})
        {'n_samples': [3, 4], 'classes': {'added': {'b': 4}, 'removed': {'a': 3}, 'changed': {}}}
    """
    changes: dict[str, Any] = {
        name: [before.get(name), after.get(name)] for name in _COMPARED if before.get(name) != after.get(name)
    }
    old, new = before.get("class_counts") or {}, after.get("class_counts") or {}
    if old and new and old != new:
        changes["classes"] = {
            "added": {name: count for name, count in new.items() if name not in old},
            "removed": {name: count for name, count in old.items() if name not in new},
            "changed": {name: [old[name], new[name]] for name in old if name in new and old[name] != new[name]},
        }
    return changes


def data_impact(lake: Lake, dataset: str) -> tuple[Node, list[Affected]]:
    """All that depends on a data set: runs, weights, files, evaluations, embeddings, diversities, derived data sets.

    Args:
        lake: The lake.
        dataset: The data set's id, the beginning of it, or a name that only one content ever had.

    Returns:
        The data set, and what depends on it, nearest first, each once.

    Raises:
        NodeNotFoundError: If none or several data sets answer to it.
    """
    graph = load_graph(lake)
    root = _dataset(lake, graph, dataset)
    steps, _ = walk(graph, root, upwards=False, depth=None)
    nodes = describe_nodes(lake, graph, dict.fromkeys([root, *(step.node for step in steps)]))
    strongest: dict[Key, int] = {}
    for number, step in enumerate(steps):
        known = strongest.get(step.node)
        if known is None or _strength(step) < _strength(steps[known]):
            strongest[step.node] = number
    return nodes[root], [
        _affected(nodes, steps, number) for key, number in strongest.items() if key[0] in _AFFECTED and key != root
    ]


@dataclass(frozen=True)
class _Place:
    """A use of a data set by a segment of a run."""

    run_id: str
    relation: str
    split: str | None
    segment: int | None
    at: datetime | None


def _places(graph: Graph, dataset_id: str, split_of: dict[str, str | None]) -> list[_Place]:
    return [
        _Place(edge.target[1], edge.relation, split_of.get(edge.source[1]), edge.segment, edge.at)
        for use in graph.out_of.get(("dataset", dataset_id), ())
        if use.relation == USE_OF
        for edge in graph.out_of.get(use.target, ())
        if edge.relation in _ROLES and edge.target[0] == "run"
    ]


def _before(mine: list[_Place], earlier: Iterable[tuple[str, list[_Place]]]) -> str | None:
    """The latest version used for the same: the first of those given."""
    purposes = {(place.relation, place.split) for place in mine}
    beside = {(place.run_id, place.relation, place.segment) for place in mine}
    for dataset_id, places in earlier:
        if not places and not mine:
            return dataset_id
        if any((place.run_id, place.relation, place.segment) in beside for place in places):
            continue
        if any((place.relation, place.split) in purposes for place in places):
            return dataset_id
    return None


def _used_as(places: Iterable[_Place]) -> tuple[str, ...]:
    found = {place.relation for place in places}
    return tuple(word for relation, word in _ROLES.items() if relation in found)


def _uses(places: list[_Place], names: dict[str, str | None]) -> tuple[DataUse, ...]:
    by_run: dict[str, list[_Place]] = {}
    for place in places:
        by_run.setdefault(place.run_id, []).append(place)
    uses = []
    for run_id, mine in by_run.items():
        times = [place.at for place in mine if place.at is not None]
        uses.append(
            DataUse(run_id, names.get(run_id), _used_as(mine), min(times, default=None), max(times, default=None))
        )
    return tuple(sorted(uses, key=lambda use: (use.first_used is None, use.first_used, use.run_id)))


def _names(lake: Lake) -> str:
    rows = lake.sql("select distinct name from datasets where name is not null order by name").column("name")
    names = rows.to_pylist()
    if not names:
        return "it has no data sets with a name"
    return f"it has {', '.join(names[:_MANY_NAMES])}" + (", …" if len(names) > _MANY_NAMES else "")


def _dataset(lake: Lake, graph: Graph, dataset: str) -> Key:
    rows = lake.sql("select distinct dataset_id from stored.datasets where name = ? order by all", [dataset])
    named = rows.column("dataset_id").to_pylist()
    if len(named) > 1:
        raise NodeNotFoundError(
            f"{dataset!r} is the name of {len(named)} contents: give the id of one, `lde data history` lists them"
        )
    if named:
        return "dataset", named[0]
    ids = [key for key in graph.keys if key[0] == "dataset" and key[1].startswith(dataset.lower())]
    if len(ids) == 1 and dataset:
        return ids[0]
    if len(ids) > 1:
        raise NodeNotFoundError(f"{dataset!r} means {len(ids)} data sets: give more of the id")
    kind, name = find(lake, graph, dataset)
    raise NodeNotFoundError(f"{dataset!r} is no data set but {kind} {name}: `lde lineage` follows any id")


def _strength(step: Step) -> int:
    relation = step.edge.relation
    if relation in _STRENGTH:
        return _STRENGTH.index(relation)
    return len(_STRENGTH) + (relation in {Relation.EVALUATED_ON, Relation.EVALUATED})


def _affected(nodes: dict[Key, Node], steps: list[Step], number: int) -> Affected:
    way = []
    here: int | None = number
    while here is not None:
        way.append(steps[here])
        here = steps[here].before
    way.reverse()
    path = tuple(nodes[step.node] for step in way)
    runs = [node.id for node in path if node.kind == "run"]
    return Affected(
        node=path[-1],
        run_id=runs[-1] if runs else None,
        how=way[-1].edge.relation,
        generation=max(1, len(runs)),
        path=path[:-1],
    )
