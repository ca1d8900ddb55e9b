"""The diversity of each data set and the distances between tasks, from nothing but stored embeddings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lightning_lde.diversity import (
    Coefficient,
    CrossDiversity,
    CrossValidatedCoefficient,
    EffectiveNumber,
    TaskEstimate,
    cross_diversity,
    crossvalidated_coefficient,
    crossvalidated_distances,
    diversity_coefficient,
    effective_number,
    feature_deviation,
    log_profiles,
    mean_complexity,
    pairwise_distances,
    standardised_coefficient,
    vendi_score,
)
from lightning_lde.query import Lake
from lightning_lde.study._vectors import Measurement, StoredTasks, chosen_measurement, stored_tasks

DIVERSITY_METHOD = "mean cross-validated log-ratio distance of Task2Vec over halves, jackknife over tasks"
LEAST_TASKS = 3
"""With fewer tasks there is no interval."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DatasetDiversity:
    """The diversity of one data set as one probe sees it, with the figures that belong beside it.

    Attributes:
        dataset: The data set's name.
        dataset_id: Its id.
        dataset_config_id: The use of it that the tasks are.
        probe_id: The probe; figures of two probes do not compare.
        probe: What the probe is called, None if nobody said.
        embedding: How tasks were embedded.
        method: What the coefficient is, as ``datasets.diversity_method`` says it.
        ways: Classes of a task.
        images_per_class: Images of each class of a task, those of both halves together.
        n_tasks: Tasks.
        n_images: Images of a task.
        coefficient: The main figure: without noise bias, with a jackknife interval over tasks; beside it the
            coefficient with its noise (``plain``) and the noise floor (``noise``), in the same units.
        cosine: Mean pairwise cosine distance, as it is published; it holds noise. Of the mean of both halves.
        standardised: The share of the variance of single images that lies between tasks; the size of a task and the
            range of the probe drop out.
        complexity: Mean L1 norm of the embeddings.
        effective: Effective number of tasks, at the mean distance between tasks of two data sets; None where that is
            not above 0.
        vendi: Vendi score of the log profiles of the first tasks, as many for each data set as the smallest has; nan
            where one of them is flat.
        mean_features: The coefficient of mean features, the cheap baseline, in units of their variance over tasks of
            all data sets; None where they are not stored.
    """

    dataset: str
    dataset_id: str
    dataset_config_id: str
    probe_id: str
    probe: str | None
    embedding: str
    method: str
    ways: int
    images_per_class: int
    n_tasks: int
    n_images: int
    coefficient: CrossValidatedCoefficient
    cosine: Coefficient
    standardised: TaskEstimate
    complexity: TaskEstimate
    effective: EffectiveNumber | None
    vendi: float
    mean_features: CrossValidatedCoefficient | None


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskDistances:
    """Distances between all tasks of all data sets, for a heat map, and between the data sets.

    Attributes:
        probe_id: The probe.
        probe: What it is called, None if nobody said.
        datasets: Names of the data sets, in the order of their tasks.
        labels: For each task the name of its data set and its number.
        distances: Cross-validated distances, 0 on the diagonal; noise may make one negative, (tasks, tasks).
        starts: Where each data set's tasks begin, and after the last the number of tasks, (datasets + 1,).
        between: For each pair of data sets, by their places in ``datasets``, the first below the second, the mean
            distance between their tasks and their separation, with intervals.
    """

    probe_id: str
    probe: str | None
    datasets: tuple[str, ...]
    labels: tuple[tuple[str, int], ...]
    distances: FloatArray
    starts: tuple[int, ...]
    between: dict[tuple[int, int], CrossDiversity]


def dataset_diversities(
    lake: Lake, *, project: str | None = None, probe_id: str | None = None
) -> list[DatasetDiversity]:
    """The diversity of each data set of which the lake holds embedded tasks; nothing is embedded or trained.

    Args:
        lake: The lake.
        project: Only data sets that a run of this project used; None for all.
        probe_id: The probe, the beginning of its id is enough; None for the one whose coefficients most data sets
            bear, or that measured most of them.

    Returns:
        One for each data set with at least three tasks of which both halves are stored, by name.

    Raises:
        DataError: If the id is of no probe, or of several.
    """
    measurement = chosen_measurement(lake, project=project, probe_id=probe_id)
    return [] if measurement is None else diversities_of(measurement, stored_tasks(lake, measurement))


def task_distances(lake: Lake, *, project: str | None = None, probe_id: str | None = None) -> TaskDistances | None:
    """Distances between all embedded tasks of all data sets, from stored embeddings.

    Args:
        lake: The lake.
        project: Only data sets that a run of this project used; None for all.
        probe_id: The probe, as of `dataset_diversities`.

    Returns:
        The distances, None where no data set has three tasks of which both halves are stored.

    Raises:
        DataError: If the id is of no probe, or of several.
    """
    measurement = chosen_measurement(lake, project=project, probe_id=probe_id)
    parts = [] if measurement is None else _large_enough(stored_tasks(lake, measurement))
    if measurement is None or not parts:
        return None
    profiles = [half_profiles(part) for part in parts]
    return TaskDistances(
        probe_id=measurement.probe_id,
        probe=measurement.probe,
        datasets=tuple(part.dataset for part in parts),
        labels=tuple((part.dataset, int(index)) for part in parts for index in part.indices),
        distances=crossvalidated_distances(*(np.concatenate(half) for half in zip(*profiles, strict=True))),
        starts=tuple(int(n) for n in np.cumsum([0, *(len(part.indices) for part in parts)])),
        between={
            (one, other): cross_diversity(profiles[one], profiles[other])
            for one, other in itertools.combinations(range(len(parts)), 2)
        },
    )


def half_profiles(tasks: StoredTasks) -> tuple[FloatArray, FloatArray]:
    """Log profiles of both halves of each task, two matrices (n, filters)."""
    return log_profiles(tasks.first), log_profiles(tasks.second)


def diversities_of(measurement: Measurement, tasks: Sequence[StoredTasks]) -> list[DatasetDiversity]:
    """The diversity of each data set of a measurement; those with fewer than three tasks are left out."""
    parts = _large_enough(tasks)
    if not parts:
        return []
    profiles = [half_profiles(part) for part in parts]
    scale = _scale(profiles)
    fewest = min(len(part.indices) for part in parts)
    deviation = _deviation(parts)
    return [
        _diversity(measurement, part, halves, scale=scale, n_vendi=fewest, deviation=deviation)
        for part, halves in zip(parts, profiles, strict=True)
    ]


def _diversity(
    measurement: Measurement,
    tasks: StoredTasks,
    profiles: tuple[FloatArray, FloatArray],
    *,
    scale: float,
    n_vendi: int,
    deviation: FloatArray | None,
) -> DatasetDiversity:
    means = (tasks.first.astype(np.float64) + tasks.second) / 2.0
    features = None
    if tasks.features is not None and deviation is not None:
        features = crossvalidated_coefficient(*(half / deviation for half in tasks.features))
    return DatasetDiversity(
        dataset=tasks.dataset,
        dataset_id=tasks.dataset_id,
        dataset_config_id=tasks.dataset_config_id,
        probe_id=measurement.probe_id,
        probe=measurement.probe,
        embedding=measurement.method,
        method=DIVERSITY_METHOD,
        ways=measurement.ways,
        images_per_class=measurement.images_per_class,
        n_tasks=len(tasks.indices),
        n_images=int(tasks.n_images[0]),
        coefficient=crossvalidated_coefficient(*profiles),
        cosine=diversity_coefficient(pairwise_distances(means)),
        standardised=standardised_coefficient(*profiles, images=tasks.n_images),
        complexity=mean_complexity(means),
        effective=effective_number(crossvalidated_distances(*profiles), scale=scale) if scale > 0.0 else None,
        vendi=_vendi(log_profiles(means[:n_vendi])),
        mean_features=features,
    )


def _vendi(profiles: FloatArray) -> float:
    # A task whose filters all matter alike has no direction.
    return vendi_score(profiles) if profiles.any(axis=1).all() else math.nan


def _large_enough(tasks: Sequence[StoredTasks]) -> list[StoredTasks]:
    return [part for part in tasks if len(part.indices) >= LEAST_TASKS]


def _scale(profiles: Sequence[tuple[FloatArray, FloatArray]]) -> float:
    """The mean distance between tasks of two data sets; between those of the only one where there is one."""
    if len(profiles) == 1:
        return crossvalidated_coefficient(*profiles[0]).value
    pairs = itertools.combinations(profiles, 2)
    return float(np.mean([cross_diversity(one, other).value for one, other in pairs]))


def _deviation(parts: Sequence[StoredTasks]) -> FloatArray | None:
    """Standard deviation of each mean feature over the halves of all tasks, None where some have no features."""
    halves = [half for part in parts if part.features is not None for half in part.features]
    return feature_deviation(np.concatenate(halves)) if len(halves) == 2 * len(parts) else None
