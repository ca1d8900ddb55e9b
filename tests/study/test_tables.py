"""The tables of a study: each figure again by other means, from the rows of the lake."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sklearn.neighbors import NearestCentroid

from lightning_lde import Lake
from lightning_lde.errors import DataError
from lightning_lde.study import (
    CellState,
    StudyTables,
    accuracy_lines,
    cell_states,
    nearest_centroid_accuracy,
    pixel_baseline,
    plan_cells,
    study_datasets,
    study_tables,
)
from lightning_lde.study._train import evaluation_episodes

from .conftest import NAMES, SMALL, SmallStudy


@pytest.fixture(scope="module")
def states(small_study: SmallStudy) -> list[CellState]:
    datasets, settings = study_datasets(None, SMALL, names=NAMES)
    return cell_states(small_study.lake, plan_cells(datasets, settings), project="small")


@pytest.fixture(scope="module")
def pixels() -> dict[str, dict[str, float]]:
    datasets, settings = study_datasets(None, SMALL, names=NAMES)
    return {dataset.name: pixel_baseline(dataset, settings) for dataset in datasets}


@pytest.fixture(scope="module")
def tables(small_study: SmallStudy, states: list[CellState], pixels: dict[str, dict[str, float]]) -> StudyTables:
    return study_tables(small_study.lake, states, pixels)


def test_each_training_and_each_task_has_its_row(tables: StudyTables, small_study: SmallStudy) -> None:
    assert tables.runs.num_rows == small_study.n_cells
    assert tables.cells.num_rows == len(NAMES) * 5
    assert tables.accuracies.num_rows == len(NAMES) * 6
    assert tables.pixels.num_rows == len(NAMES) * SMALL.test_episodes
    whole = small_study.lake.sql("select run_id, episode_id, inner_steps, accuracy, loss from episodes order by all")
    assert tables.episodes.select(whole.column_names).sort_by([(n, "ascending") for n in whole.column_names]).equals(
        whole.sort_by([(n, "ascending") for n in whole.column_names])
    )  # fmt: skip


def test_intervals_over_tasks_are_those_of_scipy(tables: StudyTables) -> None:
    frame = tables.episodes.to_pandas()
    frame["inner_steps"] = frame["inner_steps"].fillna(0)
    for row in tables.cells.to_pylist():
        of_it = (frame["run_id"] == row["run_id"]) & (frame["inner_steps"] == (row["inner_steps"] or 0))
        values = frame[of_it]["accuracy"].to_numpy()
        assert row["n_tasks"] == len(values) == SMALL.test_episodes
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, values.mean(), scipy.stats.sem(values))
        assert (row["accuracy"], row["accuracy_low"], row["accuracy_high"]) == pytest.approx((values.mean(), low, high))


def test_a_mean_over_seeds_has_an_interval_over_tasks_and_one_over_seeds(
    tables: StudyTables, states: list[CellState], pixels: dict[str, dict[str, float]]
) -> None:
    generator = np.random.default_rng(0)
    rows = tables.episodes.filter((tables.episodes["dataset"].to_numpy(zero_copy_only=False) == "greek").tolist())
    several = []
    for seed in range(3):
        accuracies = generator.uniform(0.4, 0.9, rows.num_rows)
        several += [
            {**row, "seed": seed, "run_id": f"{row['run_id']}-{seed}", "accuracy": float(accuracy)}
            for row, accuracy in zip(rows.to_pylist(), accuracies, strict=True)
        ]
    found = {row["configuration"]: row for row in _accuracies(several)}
    frame = _pandas(several)
    for (method, steps), group in frame.groupby(["method", "inner_steps"]):
        row = next(one for one in found.values() if (one["method"], one["inner_steps"] or 0) == (method, steps))
        grid = group.pivot_table(index="episode_id", columns="seed", values="accuracy")
        assert (row["n_tasks"], row["n_seeds"]) == grid.shape == (SMALL.test_episodes, 3)
        for axis, over in ((1, "tasks"), (0, "seeds")):
            means = grid.mean(axis=axis)
            low, high = scipy.stats.t.interval(0.95, len(means) - 1, means.mean(), scipy.stats.sem(means))
            assert (row[f"low_over_{over}"], row[f"high_over_{over}"]) == pytest.approx((low, high))


def _accuracies(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    from lightning_lde.study import _tables

    return _tables._accuracies(rows)


def _pandas(rows: list[dict[str, object]]):
    import pandas as pd

    frame = pd.DataFrame(rows)
    frame["inner_steps"] = frame["inner_steps"].fillna(0)
    return frame


def test_the_nearest_centroid_is_that_of_scikit_learn() -> None:
    (digits,), settings = study_datasets(None, SMALL.changed(["shots=3", "queries=20"]), names=["digits"])
    for episode in evaluation_episodes(digits, settings):
        support, query = (images.flatten(1).numpy() for images in (episode.support_images, episode.query_images))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pixels that are the same in all images of a class
            reference = NearestCentroid().fit(support, episode.support_labels.numpy())
        right = reference.score(query, episode.query_labels.numpy())
        assert nearest_centroid_accuracy(episode) == pytest.approx(right)


def test_the_lines_show_the_figures(tables: StudyTables) -> None:
    lines = accuracy_lines(tables)
    assert [line.split()[0] for line in lines[1:]] == sorted(NAMES)
    means = {(row["dataset"], row["configuration"]): row["accuracy"] for row in tables.accuracies.to_pylist()}
    for line in lines[1:]:
        shown = [float(number) for number in re.findall(r"(?<![±\d.])\d+\.\d", line)]
        dataset = line.split()[0]
        assert sorted(shown) == pytest.approx(
            sorted(100 * v for (name, _), v in means.items() if name == dataset), abs=0.051
        )


def test_what_cannot_be_is_said(
    tmp_path: Path, small_study: SmallStudy, states: list[CellState], pixels: dict[str, dict[str, float]]
) -> None:
    with pytest.raises(DataError, match="no training of this study is finished"):
        study_tables(Lake(tmp_path / "lake").create(), [replace(one, state="to do") for one in states], pixels)
    with pytest.raises(DataError, match="other tasks of data set 'greek'"):
        study_tables(small_study.lake, states, {**pixels, "greek": {"another": 1.0}})
