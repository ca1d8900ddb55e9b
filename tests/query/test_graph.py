"""Which way an effect takes through the graph: rules of time, attempts, evaluations; any graph by brute force."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_lde import Lake
from lightning_lde.query import lineage
from lightning_lde.query._graph import Edge, Graph, Key, Segments
from lightning_lde.query._lineage import walk
from lightning_lde.schema import (
    Artifact,
    Dataset,
    DatasetConfig,
    Embedding,
    Episode,
    Link,
    Resume,
    Run,
    new_run_id,
    utc_now,
)

NOW = utc_now().replace(microsecond=0)


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


class Past:
    """Writes what runs would have written at certain minutes."""

    def __init__(self, path: Path) -> None:
        self.lake = Lake(path).create()
        self.names: dict[str, str] = {}

    def run(self, name: str, begin: float, end: float, *, segment: int = 0, stage: str = "fit", **facts: object) -> str:
        run_id = self.names.setdefault(name, new_run_id())
        row = Run(
            run_id=run_id, segment=segment, revision=1, project="p", name=name, status="finished", stage=stage,
            started_at=at(begin), ended_at=at(end), heartbeat_at=at(end), heartbeat_every_s=5.0,
        )  # fmt: skip
        self.lake.storage.add_records("runs", [replace(row, **facts)], project="p")
        return run_id

    def link(self, name: str, relation: str, kind: str, target: str, minute: float) -> None:
        run_id = self.names[name]
        row = Link(
            source_kind="run", source_id=run_id, relation=relation, target_kind=kind, target_id=target, run_id=run_id,
            recorded_at=at(minute),
        )  # fmt: skip
        self.lake.storage.add_records("links", [row], project="p")

    def file(
        self, name: str, object_id: str, minute: float, *, segment: int = 0, weights_id: str | None = None
    ) -> None:
        row = Artifact(
            run_id=self.names[name], segment=segment, path=f"{name}.ckpt", kind="checkpoint", size_bytes=1,
            object_id=object_id, weights_id=weights_id, recorded_at=at(minute),
        )  # fmt: skip
        self.lake.storage.add_records("artifacts", [row], project="p")

    def down(self, name: str) -> set[str]:
        return self._names(name, "down")

    def up(self, name: str) -> set[str]:
        return self._names(name, "up")

    def _names(self, name: str, direction: str) -> set[str]:
        found = lineage(self.lake, name, direction=direction)
        return {node.label for node in found.nodes.values()} - {found.root.label}


@pytest.fixture
def past(lake_path: Path) -> Past:
    return Past(lake_path)


def test_weights_do_not_come_from_a_run_that_made_them_again_later(past: Past) -> None:
    past.run("original", 0, 1, weights_start_id="w0", weights_end_id="w1")
    past.run("user", 2, 3, weights_start_id="w1", weights_end_id="w2")
    past.run("again", 4, 5, weights_start_id="w0", weights_end_id="w1", reproduces=past.names["original"])
    past.run("late user", 6, 7, weights_start_id="w1", weights_end_id="w3")
    assert past.down("again") == {"w1", "late user", "w3"}
    assert past.down("original") == {"w1", "user", "w2", "late user", "w3", "again"}
    assert past.up("user") == {"w1", "original", "w0"}
    assert past.up("late user") == {"w1", "original", "again", "w0"}


def test_clocks_that_differ_do_not_hide_where_weights_came_from(past: Past) -> None:
    past.run("maker", 0, 10, weights_start_id="w0", weights_end_id="w1")
    past.run("user", 5, 8, weights_start_id="w1", weights_end_id="w2")
    assert past.up("user") == {"w1", "maker", "w0"}
    assert "user" in past.down("maker")


def test_equal_seeds_are_no_kinship(past: Past) -> None:
    past.run("one", 0, 1, weights_start_id="w0", weights_end_id="w1")
    past.run("two", 2, 3, weights_start_id="w0", weights_end_id="w2")
    # A training of no steps ends with what it began with, and its checkpoint holds nothing else.
    past.run("idle", 4, 5, weights_start_id="w0", weights_end_id="w0")
    past.file("idle", "object of idle", 5, weights_id="w0")
    past.run("three", 6, 7, weights_start_id="w0", weights_end_id="w3")
    assert past.down("one") == {"w1"}
    assert past.down("idle") == {"idle.ckpt"}
    assert past.up("three") == {"w0"}
    found = lineage(past.lake, "w0")
    assert not found.upstream
    assert not found.root.facts["is_produced_here"]


def test_a_run_that_trains_on_with_its_own_weights_is_no_circle(past: Past) -> None:
    past.run("one", 0, 1, weights_start_id="w0", weights_end_id="w1")
    past.link("one", "started_with", "weights", "w0", 0)
    past.link("one", "produced", "weights", "w1", 0.9)
    past.run("one", 0, 3, segment=1, weights_start_id="w0", weights_end_id="w2")
    past.link("one", "started_with", "weights", "w1", 2)
    past.link("one", "produced", "weights", "w2", 2.9)
    found = lineage(past.lake, "one")
    assert [(step.edge.relation, step.node[1]) for step in found.upstream] == [("started_with", "w0")]
    assert [step.node[1] for step in found.downstream] == ["w1", "w2"]
    # What was made in the first segment does not come from data of the second one.
    past.link("one", "trained_on", "dataset_config", "early data", 0.1)
    past.link("one", "trained_on", "dataset_config", "late data", 2.1)
    assert past.up("w1") == {"one", "w0", "early data"}
    assert past.up("w2") == {"one", "w0", "early data", "late data"}


def test_what_a_given_up_attempt_saw_is_in_no_weights_of_the_run(past: Past) -> None:
    past.run("one", 0, 2)
    past.link("one", "trained_on", "dataset_config", "shared", 0)
    past.file("one", "first", 1.9)
    past.run("one", 0, 4, segment=100)
    past.link("one", "trained_on", "dataset_config", "given up", 3)
    past.file("one", "second", 3.9, segment=100)
    past.run("one", 0, 6, segment=200)
    past.link("one", "trained_on", "dataset_config", "kept", 5)
    past.file("one", "third", 5.9, segment=200)
    past.run("one", 0, 8, segment=201, stage="test")
    past.link("one", "evaluated_on", "dataset_config", "test", 7)
    for segment in (100, 200):
        row = Resume(run_id=past.names["one"], segment=segment, from_segment=0, until=at(1), recorded_at=at(2))
        past.lake.storage.add_records("resumes", [row], project="p")

    def data(object_id: str) -> set[str]:
        return {step.node[1] for step in lineage(past.lake, object_id).upstream if step.node[0] == "dataset_config"}

    assert data("first") == {"shared"}
    assert data("second") == {"shared", "given up"}
    assert data("third") == {"shared", "kept"}
    evaluation = f"{past.names['one']}/201"
    assert data(evaluation) == {"shared", "kept", "test"}
    assert evaluation not in {node.id for node in lineage(past.lake, "given up").nodes.values()}


def test_a_validation_of_its_own_is_an_evaluation(past: Past) -> None:
    past.run("one", 0, 1, weights_start_id="w0", weights_end_id="w1")
    past.link("one", "validated_on", "dataset_config", "inside", 0.1)
    past.run("one", 0, 3, segment=1, stage="validate", weights_start_id="w0", weights_end_id="w1")
    past.link("one", "validated_on", "dataset_config", "afterwards", 2)
    assert "w1" in past.down("inside")
    assert past.down("afterwards") == {"one", "validate"}


def test_episodes_say_what_was_evaluated(past: Past) -> None:
    past.run("maker", 0, 1, weights_start_id="w0", weights_end_id="w1")
    past.run("judge", 2, 3, stage="test")
    episode = Episode(
        run_id=past.names["judge"], segment=0, episode_id="e", method="maml", weights_id="w1",
        dataset_config_id="tasks", dataset_id="d", episode_seed=0, episode_index=0, classes=[0], ways=2, shots=1,
        queries=1, inner_steps=5, loss=1.0, accuracy=0.25,
    )  # fmt: skip
    rows = [episode, replace(episode, episode_index=1, accuracy=0.75)]
    past.lake.storage.add_records("episodes", rows, project="p")
    found = lineage(past.lake, "maker", direction="down")
    [judged] = [node for node in found.nodes.values() if node.kind == "evaluation"]
    [row] = judged.facts["episodes"]
    assert (row["tasks"], row["accuracy"], row["inner_steps"]) == (2, 0.5, 5)
    assert past.down("tasks") == {"judge", "test"}


def test_embeddings_come_from_data(past: Past) -> None:
    base = Embedding(
        dataset_id="d", dataset_config_id="c", recorded_at=NOW, task_seed=0, task_index=0, probe_id="p",
        method="task2vec", vector=[1.0],
    )  # fmt: skip
    rows = [base, replace(base, task_index=1), replace(base, task_index=1)]
    past.lake.storage.add_records("embeddings", rows, project="p")
    past.lake.storage.add_records("datasets", [Dataset(dataset_id="d", recorded_at=NOW, name="birds")], project="p")
    found = lineage(past.lake, "d")
    assert [step.node for step in found.downstream] == [("dataset_config", "c"), ("embeddings", "c/p")]
    assert found.nodes["embeddings", "c/p"].facts["tasks"] == 2


def test_links_that_others_wrote_are_followed(past: Past) -> None:
    past.run("one", 0, 1)
    past.run("two", 2, 3, resumed_from=past.names["one"], parent_run_id="sweep")
    config = DatasetConfig(dataset_config_id="c", recorded_at=NOW, dataset_id="cleaned")
    past.lake.storage.add_records("dataset_configs", [config], project="p")
    past.link("one", "trained_on", "dataset_config", "c", 0)
    row = Link(
        source_kind="dataset", source_id="cleaned", relation="derived_from", target_kind="dataset", target_id="raw",
        run_id=None, recorded_at=NOW,
    )  # fmt: skip
    past.lake.storage.add_records("links", [row, replace(row, target_id="more", relation="mixed_with")], project="p")
    assert past.down("raw") == {"cleaned", "c", "one", "two"}
    assert past.up("two") == {"one", "c", "cleaned", "raw", "more", "sweep"}
    # A sweep is no cause.
    assert past.down("sweep") == {"two"}
    assert past.up("one") == {"c", "cleaned", "raw", "more"}
    assert not lineage(past.lake, "raw").nodes["dataset", "raw"].facts


def test_nothing_flows_into_a_reproduction(past: Past) -> None:
    past.run("original", 0, 1, weights_end_id="w1")
    past.link("original", "trained_on", "dataset_config", "data", 0)
    past.run("again", 2, 3, weights_end_id="w2", reproduces=past.names["original"])
    assert past.down("original") == {"w1", "again"}
    assert past.down("data") == {"original", "w1"}
    assert past.up("again") == {"original"}
    assert past.up("w2") == {"again"}


nodes = st.integers(0, 7)


@given(st.lists(st.tuples(nodes, nodes)), nodes, st.integers(1, 9))
def test_any_graph_with_circles_by_brute_force(pairs: list[tuple[int, int]], root: int, depth: int) -> None:
    def key(number: int) -> Key:
        return ("dataset", str(number))

    graph = Graph([Edge(key(a), "derived_from", key(b)) for a, b in pairs], Segments(), [key(root)])
    for upwards in (False, True):
        arrows = {(b, a) if upwards else (a, b) for a, b in pairs}
        levels = [{root}]
        for _ in range(depth):
            levels.append({b for a, b in arrows if a in levels[-1]})
        expected = set().union(*levels[1:])
        steps, cut_off = walk(graph, key(root), upwards=upwards, depth=depth)
        assert {int(step.node[1]) for step in steps} == expected
        assert len({step.edge for step in steps}) == len(steps)
        before = {(a, b) for a, b in arrows if any(a in level for level in levels[:-1])}
        assert {
            (int(s.edge.target[1]), int(s.edge.source[1]))
            if upwards
            else (int(s.edge.source[1]), int(s.edge.target[1]))
            for s in steps
        } == before
        nearest = {number: min(n for n, level in enumerate(levels) if number in level) for number in expected | {root}}
        assert cut_off == len({b for a, b in arrows if a in nearest} - set(nearest))
        for step in steps:
            start = step.edge.target if upwards else step.edge.source
            assert step.depth == nearest[int(start[1])] + 1
            if step.before is None:
                assert start == key(root)
            else:
                assert steps[step.before].node == start
