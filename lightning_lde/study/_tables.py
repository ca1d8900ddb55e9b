"""A study's results as flat tables, made from the lake: runs, accuracies with intervals, evaluated tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import DataError
from lightning_lde.query import Lake
from lightning_lde.schema import RunStatus
from lightning_lde.statistics import mean_interval
from lightning_lde.study._labels import configuration_label
from lightning_lde.study._queries import quoted
from lightning_lde.study._states import CellState

if TYPE_CHECKING:
    import pyarrow as pa

PIXELS = "nearest centroid of pixels"

Baseline = Mapping[str, Mapping[str, float]]
"""Accuracy on each task by its content id, by data set: what ``pixel_baseline`` gives."""


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study; every accuracy follows from the rows of ``episodes``.

    Attributes:
        runs: One row per finished training: what it was, how long it took, what it used.
        cells: One row per training and evaluation setting: accuracy with its 95 % interval over tasks.
        accuracies: One row per data set and configuration: mean over seeds, with a 95 % interval over tasks (of the
            mean over seeds) and one over seeds (of the mean over tasks; none for a single seed).
        episodes: One row per evaluated task, training and evaluation setting.
        pixels: One row per task: accuracy of the nearest centroid of pixels.
    """

    runs: pa.Table
    cells: pa.Table
    accuracies: pa.Table
    episodes: pa.Table
    pixels: pa.Table

    def named(self) -> dict[str, pa.Table]:
        """The tables by name."""
        return {name: getattr(self, name) for name in ("runs", "cells", "accuracies", "episodes", "pixels")}


def study_tables(lake: Lake, states: Sequence[CellState], pixels: Baseline) -> StudyTables:
    """Read the tables of the cells that are finished.

    Args:
        lake: The lake.
        states: The cells and their runs, as ``cell_states`` gives them.
        pixels: For each data set, the accuracy of the nearest centroid of pixels on each task.

    Raises:
        DataError: If no cell is finished, or a task of the lake has no pixels: the data set is another.
    """
    import pyarrow as pa

    cells = {one.run_id: one.cell for one in states if one.state == RunStatus.FINISHED and one.run_id is not None}
    if not cells:
        raise DataError("no training of this study is finished: run `python tasks/study.py` with the same settings")
    runs = _runs(lake, list(cells))
    episodes = _episodes(lake, list(cells))
    rows = episodes.to_pylist()
    known = {(dataset, task): accuracy for dataset, tasks in pixels.items() for task, accuracy in tasks.items()}
    used = sorted({(row["dataset"], row["episode_id"]) for row in rows})
    if missing := [dataset for dataset, task in used if (dataset, task) not in known]:
        raise DataError(
            f"the lake has other tasks of data set {missing[0]!r} than this data gives: give the same --data"
        )
    baseline = [{"dataset": one[0], "episode_id": one[1], "accuracy": known[one]} for one in used]
    return StudyTables(
        runs=runs,
        cells=pa.Table.from_pylist(_cells(rows)),
        accuracies=pa.Table.from_pylist([*_accuracies(rows), *_pixel_accuracies(baseline)]),
        episodes=episodes,
        pixels=pa.Table.from_pylist(baseline),
    )


def _runs(lake: Lake, run_ids: Sequence[str]) -> pa.Table:
    return lake.sql(
        f"""select run_id, tags->>'dataset' as dataset, tags->>'algorithm' as algorithm, seed, started_at, duration_s,
                   tags->>'cell' as cell_id, tags->>'settings' as settings_id, dataset_config_id, pipeline_config_id,
                   environment_id, code_id, weights_end_id
            from runs where {_among(run_ids)} order by dataset, algorithm, seed""",
        of_runs=run_ids,
    )


def _episodes(lake: Lake, run_ids: Sequence[str]) -> pa.Table:
    return lake.sql(
        f"""select tags->>'dataset' as dataset, method, inner_steps, seed, episode_index, episode_id, classes, ways,
                   shots, queries, loss, accuracy, run_id
            from episodes join runs using (run_id) where {_among(run_ids)}
            order by dataset, method, inner_steps, seed, episode_index""",
        of_runs=run_ids,
    )


def _among(run_ids: Iterable[str]) -> str:
    return f"run_id in ({', '.join(map(quoted, run_ids))})"


def _cells(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("dataset", "method", "inner_steps", "seed", "ways", "shots", "run_id")
    found = []
    for key, group in _grouped(rows, names).items():
        interval = mean_interval([row["accuracy"] for row in group])
        loss = sum(row["loss"] for row in group) / len(group)
        found.append({
            **dict(zip(names, key, strict=True)), "n_tasks": interval.n, "accuracy": interval.mean,
            "accuracy_low": interval.low, "accuracy_high": interval.high, "accuracy_sd": interval.sd, "loss": loss,
        })  # fmt: skip
    return found


def _accuracies(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("dataset", "method", "inner_steps", "ways", "shots")
    found = []
    for key, group in _grouped(rows, names).items():
        facts = dict(zip(names, key, strict=True))
        label = configuration_label(facts["method"], facts["inner_steps"])
        by_task = _means(group, "episode_id")
        by_seed = _means(group, "seed")
        found.append({**facts, "configuration": label, **_intervals(by_task, by_seed)})
    return found


def _pixel_accuracies(baseline: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"dataset": dataset, "configuration": PIXELS, **_intervals(_means(group, "episode_id"), [])}
        for (dataset,), group in _grouped(baseline, ("dataset",)).items()
    ]


def _intervals(by_task: Sequence[float], by_seed: Sequence[float]) -> dict[str, Any]:
    tasks = mean_interval(by_task)
    seeds = mean_interval(by_seed) if len(by_seed) > 1 else None
    return {
        "accuracy": tasks.mean,
        "low_over_tasks": tasks.low,
        "high_over_tasks": tasks.high,
        "low_over_seeds": None if seeds is None else seeds.low,
        "high_over_seeds": None if seeds is None else seeds.high,
        "n_tasks": tasks.n,
        "n_seeds": len(by_seed),
    }


def _means(rows: Iterable[dict[str, Any]], by: str) -> list[float]:
    groups = _grouped(rows, (by,)).values()
    return [sum(row["accuracy"] for row in group) / len(group) for group in groups]


def _grouped(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return groups


def accuracy_lines(tables: StudyTables) -> list[str]:
    """The accuracies as lines of text: a data set a row, a configuration a column, in percent.

    Behind each mean over seeds stand the halves of its 95 % intervals, over tasks and over seeds.

    Args:
        tables: What ``study_tables`` gave.
    """
    rows = tables.accuracies.to_pylist()
    order = {row["configuration"]: (row.get("method") or "", row.get("inner_steps") or 0) for row in rows}
    columns = sorted(order, key=lambda name: (name == PIXELS, *order[name]))
    cells = {(row["dataset"], row["configuration"]): _cell(row) for row in rows}
    datasets = sorted({row["dataset"] for row in rows})
    width = max(len("data set"), *map(len, datasets))
    texts = {name: "".join(f"  {cells.get((name, column), ''):>18}" for column in columns) for name in datasets}
    head = f"{'data set':<{width}}" + "".join(f"  {_SHORT.get(name, name):>18}" for name in columns)
    return [head, *(f"{name:<{width}}{text}" for name, text in texts.items())]


_SHORT = {
    "MAML first order, 5 steps": "MAML 1st, 5 steps",
    "MAML first order, 10 steps": "MAML 1st, 10",
    "MAML higher order, 5 steps": "MAML higher, 5",
    "MAML higher order, 10 steps": "MAML higher, 10",
    "Pretraining + logistic regression": "pretraining + LR",
    PIXELS: "pixels",
}


def _cell(row: Mapping[str, Any]) -> str:
    highs = [row["high_over_tasks"], row["high_over_seeds"]]
    halves = [f"±{100 * (high - row['accuracy']):.1f}" for high in highs if high is not None]
    return " ".join([f"{100 * row['accuracy']:.1f}", *halves])
