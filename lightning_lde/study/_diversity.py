"""Measures the diversity of data sets: tasks are embedded, and the coefficients written beside the data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from lightning_lde.diversity import Probe, fisher_method
from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import FewShotDataset
from lightning_lde.query import Lake
from lightning_lde.recording import add_results
from lightning_lde.schema import Dataset, utc_now
from lightning_lde.study._diversities import LEAST_TASKS, DatasetDiversity, diversities_of
from lightning_lde.study._embedding import embed_missing
from lightning_lde.study._links import add_links
from lightning_lde.study._probes import fitted_to
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._tasks import HalvedTasks
from lightning_lde.study._vectors import Measurement, stored_tasks


def measure_diversity(
    lake: Lake,
    datasets: Sequence[FewShotDataset],
    settings: StudySettings,
    probe: Probe,
    *,
    project: str,
    jobs: int = 1,
    probe_run_id: str | None = None,
    is_main: bool = True,
    progress: Callable[[int], object] | None = None,
) -> list[DatasetDiversity]:
    """Embed tasks of each data set, and store embeddings and coefficients; what is stored is not done again.

    Tasks are stored a few at a time, each as two halves of its images, so a stop at any moment loses a few. They are
    found again whatever project they were stored for; a longer list of tasks keeps the vectors of the shorter one.

    Args:
        lake: The lake.
        datasets: Data sets prepared to the settings' size and channels.
        settings: The study's numbers.
        probe: The probe; on a GPU it takes one job.
        project: The project in the lake.
        jobs: Processes.
        probe_run_id: The run that trained the probe, so that the lineage says so.
        is_main: Whether the data sets bear the coefficients; one of several probes measures the main figures.
        progress: Called with a number of tasks as they are stored, first with those that were.

    Returns:
        The diversity of each data set, by name.

    Raises:
        ConfigurationError: If the settings have fewer than three tasks, or an odd number of images.
        DataError: If a data set has too few classes or images.
    """
    if settings.diversity_tasks < LEAST_TASKS:
        raise ConfigurationError(
            f"diversity_tasks is {settings.diversity_tasks}: a diversity needs {LEAST_TASKS} tasks, 30 for its interval"
        )
    tasks = [_tasks_of(fitted_to(one, probe), settings) for one in datasets]
    described = {one.name: one.described() for one in tasks}
    for count in embed_missing(
        lake, tasks, probe, n_tasks=settings.diversity_tasks, project=project, jobs=jobs
    ):  # fmt: skip
        if progress is not None:
            progress(count)
    facts = {facts.dataset_id: facts for facts, _ in described.values()}
    measurement = Measurement(
        probe_id=probe.probe_id,
        probe=probe.name,
        method=fisher_method(),
        ways=settings.ways,
        images_per_class=settings.diversity_images,
        task_seed=settings.test_seed,
        dataset_ids=tuple(facts),
        is_main=is_main,
        recorded_at=utc_now(),
    )
    configs = [config.dataset_config_id for _, config in described.values()]
    found = diversities_of(measurement, stored_tasks(lake, measurement, dataset_config_ids=configs))
    if is_main:
        for one in found:
            _store_coefficient(lake, facts[one.dataset_id], one, project)
    add_links(lake, found, project=project, probe_run_id=probe_run_id, is_borne=is_main)
    return found


def _tasks_of(dataset: FewShotDataset, settings: StudySettings) -> HalvedTasks:
    return HalvedTasks(
        dataset, ways=settings.ways, images_per_class=settings.diversity_images, seed=settings.test_seed
    )  # fmt: skip


def _store_coefficient(lake: Lake, facts: Dataset, found: DatasetDiversity, project: str) -> None:
    c = found.coefficient
    row = replace(
        facts,
        recorded_at=utc_now(),
        diversity=c.value,
        diversity_low=c.low,
        diversity_high=c.high,
        diversity_method=found.method,
        diversity_probe_id=found.probe_id,
        diversity_n_tasks=found.n_tasks,
    )
    if not _is_stored(lake, row):
        add_results(lake.storage, "datasets", [row], project=project)


def _is_stored(lake: Lake, row: Dataset) -> bool:
    """Whether the newest coefficient of the data set is this one."""
    rows = lake.sql(
        """select diversity, diversity_method, diversity_probe_id, diversity_n_tasks
           from datasets where dataset_id = ? and diversity is not null""",
        [row.dataset_id],
    ).to_pylist()
    if not rows or row.diversity is None:
        return False
    # Another machine may add up in another order.
    is_equal = math.isclose(rows[0].pop("diversity"), row.diversity, rel_tol=1e-9, abs_tol=1e-12)
    return is_equal and all(value == getattr(row, name) for name, value in rows[0].items())
