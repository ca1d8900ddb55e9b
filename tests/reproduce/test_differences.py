"""What differs between two recorded runs, from rows by hand and from runs in a lake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lightning_lde import Lake, Recorder
from lightning_lde.query._manifests import compare_samples
from lightning_lde.reproduce import (
    Use,
    code_differences,
    data_differences,
    environment_differences,
    judge,
    read_recorded,
)
from lightning_lde.reproduce._differences import setting_differences
from lightning_lde.schema import Episode, Metric, Run, utc_now

NAN = float("nan")
ENVIRONMENT = {
    "python": "CPython 3.11", "platform": "Linux", "cpu": "c", "cuda": None, "gpus": [{"name": "H100"}],
    "packages": {"torch": "2.13", "pip": "25"}, "determinism": {"torch.num_threads": 2, "flag": NAN},
    "variables": {"OMP_NUM_THREADS": "2"},
}  # fmt: skip
PIPELINE = {
    "module_class": "m", "source_hash": "h", "layers": [{"name": "net"}], "optimizers": [{"lr": 0.1}],
    "hparams": {"depth": 3, "odd": NAN, "schedule": {"steps": [1, 2], "warmup": None}},
    "trainer": {"max_epochs": 2, "loggers": ["a"], "callbacks": ["a"]}, "schedulers": [],
}  # fmt: skip
USE = {"dataset_config_id": "c", "dataset_id": "d", "dataset": "digits", "fingerprint": "f", "batch_size": 8}


def told(differences: list[Any]) -> dict[str, tuple[str, Any, Any]]:
    return {one.name: (one.kind, one.before, one.now) for one in differences}


def test_environments() -> None:
    assert environment_differences(ENVIRONMENT, {**ENVIRONMENT, "packages": dict(ENVIRONMENT["packages"])}) == []
    now = {
        **ENVIRONMENT, "gpus": [{"name": "A100"}], "packages": {"torch": "2.12", "new": "1"}, "driver": "unknown",
        "determinism": {"torch.num_threads": 1, "flag": NAN}, "variables": {},
    }  # fmt: skip
    found = environment_differences(ENVIRONMENT, now)
    assert told(found) == {
        "torch": ("package", "2.13", "2.12"),
        "pip": ("package", "25", None),
        "new": ("package", None, "1"),
        "torch.num_threads": ("threads", 2, 1),
        "OMP_NUM_THREADS": ("threads", "2", None),
        "gpus[0].name": ("hardware", "H100", "A100"),
    }
    assert found[0].name == "torch"
    assert environment_differences(ENVIRONMENT, {}) == []


def test_a_null_says_as_little_as_no_key() -> None:
    assert environment_differences(ENVIRONMENT, {k: v for k, v in ENVIRONMENT.items() if k != "cuda"}) == []
    hparams = {**PIPELINE["hparams"], "schedule": {"steps": [1, 2]}}
    assert setting_differences(PIPELINE, {**PIPELINE, "hparams": hparams}) == []


def test_settings_by_key_and_type() -> None:
    assert setting_differences(PIPELINE, {**PIPELINE, "hparams": {**PIPELINE["hparams"], "odd": float("nan")}}) == []
    now = {
        **PIPELINE, "layers": [], "optimizers": [{"lr": 0.2}],
        "hparams": {**PIPELINE["hparams"], "depth": 3.0, "schedule": {"steps": [1, 3]}},
        "trainer": {"max_epochs": 2, "loggers": [], "callbacks": ["b"]},
    }  # fmt: skip
    assert told(setting_differences(PIPELINE, now)) == {
        "layers": ("setting", [{"name": "net"}], []),
        "optimizers[0].lr": ("setting", 0.1, 0.2),
        "hparams.depth": ("setting", 3, 3.0),
        "hparams.schedule.steps": ("setting", [1, 2], [1, 3]),
    }


def test_data_in_another_order_are_the_same_data() -> None:
    uses = [Use("trained_on", USE), Use("trained_on", {**USE, "dataset_config_id": "e", "dataset_id": "x"})]
    assert data_differences(uses, uses[::-1]) == []
    now = [uses[1], Use("trained_on", {**USE, "dataset_config_id": "n", "batch_size": 4})]
    assert told(data_differences(uses, now)) == {"trained_on 1: digits batch_size": ("configuration", 8, 4)}
    assert told(data_differences(uses, uses[1:])) == {"trained_on 1: data set": ("content", "digits", None)}


METHODS = {"fingerprint_method": "sha256 of content", "fingerprint": "f", "size_bytes": 10, "dataset_samples": 4}


def test_fingerprints_of_two_methods_are_not_compared() -> None:
    def between(**changes: Any) -> dict[str, Any]:
        return told(
            data_differences(
                [Use("trained_on", {**USE, **METHODS})], [Use("trained_on", {**USE, **METHODS, **changes})]
            )
        )

    unknown = "trained_on: digits content, as it was looked at in other ways"
    other = {"fingerprint_method": "structure", "fingerprint": "g", "size_bytes": None}
    assert between(**other) == {unknown: ("unknown", "sha256 of content", "structure")}
    assert between(fingerprint="g") == {"trained_on: digits fingerprint": ("content", "f", "g")}
    # What both saw counts.
    assert between(**other, dataset_samples=5) == {"trained_on: digits dataset_samples": ("content", 4, 5)}
    assert between(**other, batch_size=4)["trained_on: digits batch_size"] == ("configuration", 8, 4)


def manifests(*hashes: list[int]) -> Any:
    """Compares two manifests whatever the data sets are."""
    old, new = (pa.table({"hash": pa.array(rows, pa.uint64())}) for rows in hashes)
    return lambda before, after: compare_samples(old, new)


def test_samples_say_what_fingerprints_cannot() -> None:
    before = [Use("trained_on", {**USE, **METHODS})]
    other_way = [Use("trained_on", {**USE, **METHODS, "fingerprint_method": "structure", "fingerprint": "g"})]
    assert data_differences(before, other_way, samples=manifests([1, 2, 3], [1, 2, 3])) == []
    changed = [Use("trained_on", {**USE, **METHODS, "fingerprint": "g"})]
    for now in (other_way, changed):
        found = told(data_differences(before, now, samples=manifests([1, 2, 3, 4], [1, 2, 9, 4, 8])))
        words = ("content", "1 gone (row 2), 3 kept", "2 new (rows 2, 4)")
        assert found["trained_on: digits samples"] == words
    found = told(data_differences(before, changed, samples=manifests([1, 2, 3], [3, 2, 1])))
    assert found["trained_on: digits samples"] == ("content", "none gone, 3 kept", "in another order")
    assert told(data_differences(before, other_way, samples=lambda *_: "not kept")) != {}


def test_changes_that_were_not_recorded_are_not_equal() -> None:
    code = {"commit": "a", "diff": None, "dirty": False, "entry_point": "run.py", "entry_point_hash": "h"}
    lost, changed = {**code, "dirty": True}, {**code, "dirty": True, "diff": "x\n"}
    assert code_differences(code, code) == code_differences(changed, changed) == []
    name = "uncommitted changes"
    assert told(code_differences(lost, code)) == {name: ("unknown", "not recorded", None)}
    assert told(code_differences(changed, lost)) == {name: ("unknown", "1 lines", "not recorded")}
    assert told(code_differences(lost, lost)) == {name: ("unknown", "not recorded", "not recorded, perhaps others")}


def test_code() -> None:
    code = {"commit": "a", "diff": None, "entry_point": "run.py", "entry_point_hash": "h", "untracked": []}
    assert code_differences(code, {**code, "diff": ""}) == []
    diffs = [{**code, "diff": f"one\n{word}\n"} for word in ("two", "three")]
    assert told(code_differences(*diffs)) == {"uncommitted changes": ("diff", "2 lines", "2 lines, others")}
    now = {**code, "entry_point_hash": "i", "untracked": [{"path": "b.py", "sha256": "j"}]}
    assert told(code_differences(code, now)) == {"run.py": ("file", "h", "i"), "b.py": ("file", None, "j")}


def record(lake: Path, name: str, points: list[tuple[int | None, float]]) -> None:
    with Recorder(lake, project="p", name=name, system_metrics_every_s=None) as run:
        for step, value in points:
            run.log({"x": value}, step=step)


def test_steps_that_occur_twice_and_values_that_are_no_numbers(lake_path: Path) -> None:
    points: list[tuple[int | None, float]] = [(0, 1.0), (0, NAN), (None, 3.0), (1, float("inf")), (None, 4.0)]
    record(lake_path, "one", points)
    record(lake_path, "again", points)
    record(lake_path, "shorter", points[:-1])
    record(lake_path, "other", [(0, 1.0), (0, 2.0), *points[2:]])
    one, *others = (read_recorded(Lake(lake_path), name) for name in ("one", "again", "shorter", "other"))
    verdicts = [judge(one, other)[0] for other in others]
    assert [(verdict.word, verdict.step, verdict.n_points) for verdict in verdicts] == [
        ("identical", None, 5),
        ("incomplete", None, 4),
        ("diverged", 0, 5),
    ]


@pytest.mark.parametrize("turn", [1, -1])
def test_nulls_of_other_programs_and_tasks_in_any_order(lake_path: Path, turn: int) -> None:
    now = utc_now()
    lake = Lake(lake_path).create()
    for name, step in (("one", 1), ("two", turn)):
        run = Run(
            run_id=name, name=name, segment=0, revision=1, project="p", status="finished", started_at=now,
            heartbeat_at=now, heartbeat_every_s=5.0,
        )  # fmt: skip
        task = Episode(
            run_id=name, segment=0, episode_id="e", method="maml", dataset_config_id="a", dataset_id="a",
            episode_seed=0, episode_index=0, classes=[0], ways=2, shots=1, queries=1, loss=1.0, accuracy=0.5,
        )  # fmt: skip
        tasks = [task, replace(task, dataset_config_id="b", dataset_id="b", accuracy=0.75)]
        metric = Metric(run_id=name, segment=0, name="x", step=0, time=now, value=None)  # type: ignore[arg-type]
        lake.storage.add_records("runs", [run], project="p")
        lake.storage.add_records("metrics", [metric], project="p")
        lake.storage.add_records("episodes", tasks[::step], project="p")
    verdict, _ = judge(read_recorded(lake, "one"), read_recorded(lake, "two"))
    # Their final weights are not known: that the points are the same is all that can be said.
    assert (verdict.word, verdict.n_points) == ("identical", 5)
