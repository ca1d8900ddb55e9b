"""A lake with everything in it that a reader has to get right."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pyarrow as pa

from lightning_lde import Lake
from lightning_lde.schema import (
    Artifact,
    Dataset,
    Embedding,
    Episode,
    Event,
    Link,
    Metric,
    Param,
    Record,
    Resume,
    Run,
    records_to_arrow,
    utc_now,
)

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
CURVES = (("a", "train", None), ("a", None, 0), ("b", "val", 1), ("cpu", "system", None))


def fill(lake: Lake, *, seed: int, runs: int = 4) -> None:
    """Runs of several segments, some of which went on from checkpoints of earlier ones, some twice from one.

    Half of them lie in the cold tables, two of them also in hot files that do not count any more.

    Args:
        lake: An empty lake.
        seed: Which runs.
        runs: How many.
    """
    chance = random.Random(seed)
    for number in range(runs):
        if number == runs // 2:
            lake.storage.compact(silent_for=timedelta(0), grace=timedelta(hours=1))
        project = ("p", "a/b ü")[number % 2]
        for table, rows in story(chance, f"run {number}", project).items():
            lake.storage.add_records(table, rows, project=project)
    points = [Metric(run_id="newer", segment=0, name="a", step=0, time=START, value=1.5)]
    newer = records_to_arrow("metrics", points).append_column('unit "of" {it}', pa.array(["kg"]))
    # Another order of columns too.
    lake.storage.add_rows("metrics", newer.select(newer.column_names[::-1]), project="p")


def fill_points(lake: Lake, *, seed: int, runs: int = 100) -> None:
    """Only what decides which points count, of many runs, in one file for each table.

    Args:
        lake: An empty lake.
        seed: Which runs.
        runs: How many.
    """
    chance = random.Random(seed)
    stories = [story(chance, f"run {number}", "p") for number in range(runs)]
    for table in ("runs", "metrics", "resumes"):
        lake.storage.add_records(table, [row for one in stories for row in one.get(table, ())], project="p")


def rows(found: pa.Table) -> list[str]:
    """Rows in a form and an order that do not depend on who read them."""
    return sorted(json.dumps(row, default=_text, sort_keys=True) for row in found.to_pylist())


def _text(value: object) -> str:
    return value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else repr(value)


def story(chance: random.Random, run_id: str, project: str) -> dict[str, list[Record]]:
    """The rows of one run."""
    found: dict[str, list[Record]] = {"runs": [], "metrics": [], "resumes": []}
    segments: list[int] = []
    now = 0
    for number in range(chance.randint(1, 6)):
        segment = number + chance.randint(0, 1)
        if segments and segment <= segments[-1]:
            continue
        found["runs"] += _states(chance, run_id, segment, project)
        if segments and chance.random() < 0.7:
            found["resumes"].append(_resume(chance, run_id, segment, segments, now))
        segments.append(segment)
        found["metrics"] += _points(chance, run_id, segment, now)
        now += 20
    return {name: rows for name, rows in {**found, **_others(run_id)}.items() if rows}


def _states(chance: random.Random, run_id: str, segment: int, project: str) -> list[Run]:
    state = Run(
        run_id=run_id, segment=segment, revision=0, project=project, status="running", started_at=START,
        stage=chance.choice(["fit", "fit", "fit", "validate", "test"]), heartbeat_every_s=5.0,
        heartbeat_at=START if chance.random() < 0.5 else utc_now() + timedelta(hours=1), tags={"é": [1]},
    )  # fmt: skip
    return [state, *([replace(state, revision=1, status="finished")] if chance.random() < 0.5 else [])]


def _resume(chance: random.Random, run_id: str, segment: int, earlier: Sequence[int], now: int) -> Resume:
    return Resume(
        run_id=run_id, segment=segment, from_segment=chance.choice(earlier), recorded_at=START,
        until=START + timedelta(seconds=chance.randint(0, now)), step=chance.choice([None, 3, 6, 9]),
    )  # fmt: skip


def _points(chance: random.Random, run_id: str, segment: int, now: int) -> list[Metric]:
    drawn = [(START + timedelta(seconds=now + second), chance.choice(CURVES)) for second in range(20)]
    return [
        Metric(
            run_id=run_id, segment=segment, name=name, context=context, dataloader_idx=index,
            step=chance.randint(0, 10), time=time, value=chance.choice([chance.random(), float("nan"), float("inf")]),
        )
        for time, (name, context, index) in drawn
    ]  # fmt: skip


def _others(run_id: str) -> dict[str, list[Record]]:
    later = START + timedelta(hours=1)
    file = Artifact(
        run_id=run_id, segment=0, path="a.ckpt", kind="checkpoint", size_bytes=1, object_id="0" * 64, recorded_at=later
    )
    edge = Link(
        source_kind="run", source_id=run_id, relation="trained_on", target_kind="dataset_config", target_id="use",
        run_id=run_id, recorded_at=later,
    )  # fmt: skip
    setting = Param(config_id="config", key="lr", value_num=0.1, value_text="0.1", type="float")
    return {
        "datasets": [
            Dataset(dataset_id="d", recorded_at=START, name="digits", sample_shape=[1, 8]),
            Dataset(dataset_id="d", recorded_at=later, diversity=0.5),
        ],
        "params": [setting, setting, replace(setting, key=run_id)],
        "links": [edge, replace(edge, recorded_at=START)],
        "artifacts": [file, replace(file, recorded_at=START)],
        "embeddings": [
            Embedding(
                dataset_id="d", dataset_config_id="use", recorded_at=when, task_seed=0, task_index=0, probe_id="p",
                method="m", vector=[0.5, 1.5], complexity=1.0, n_images=3, half=half,
            )
            for half in (None, 0, 1)
            for when in (later, START)
        ],
        "episodes": [
            Episode(
                run_id=run_id, segment=0, episode_id="e", method="maml", episode_seed=1, episode_index=0,
                classes=[3, 1], ways=2, shots=1, queries=1, inner_steps=1, loss=0.5, accuracy=0.75,
            )
        ],
        "events": [Event(run_id=run_id, segment=0, time=START, level="info", kind="note", message="it's {odd}")],
    }  # fmt: skip
