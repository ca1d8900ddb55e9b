"""Task embeddings as a lake holds them: which there are, and the two halves of each task as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import DataError
from lightning_lde.query import Lake

if TYPE_CHECKING:
    import pyarrow as pa

MEAN_FEATURES = "mean-features"
"""The method of rows that hold a half's mean features, the cheap baseline, in place of its Fisher information."""

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Embeddings that compare: of one probe, by one method, of tasks of one size and seed.

    Attributes:
        probe_id: The probe.
        probe: What it is called, None if nobody said.
        method: How tasks were embedded.
        ways: Classes of a task.
        images_per_class: Images of each class, those of both halves together.
        task_seed: Seed of the tasks.
        dataset_ids: The data sets that have such embeddings.
        is_main: Whether the newest coefficients that data sets bear are of this probe.
        recorded_at: When the newest of them was stored.
    """

    probe_id: str
    probe: str | None
    method: str
    ways: int
    images_per_class: int
    task_seed: int
    dataset_ids: tuple[str, ...]
    is_main: bool
    recorded_at: datetime


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredTasks:
    """The embedded tasks of a data set, each as two halves of its images.

    Attributes:
        dataset_id: The data set.
        dataset: Its name.
        dataset_config_id: The use of it that the tasks are.
        indices: Number of each task, ascending, (n,).
        first: Fisher information of the first half of each task, (n, filters).
        second: That of the second half, (n, filters).
        features: Mean features of both halves, two matrices (n, D); None where they are not stored.
        n_images: Images of each task, both halves together, (n,).
    """

    dataset_id: str
    dataset: str
    dataset_config_id: str
    indices: npt.NDArray[np.int64]
    first: Vectors
    second: Vectors
    features: tuple[Vectors, Vectors] | None
    n_images: npt.NDArray[np.int64]


_OF_PROJECT = """
    with used as (
        select c.dataset_id from runs r join dataset_configs c using (dataset_config_id) where r.project = $1
        union
        select e.dataset_id from episodes e join runs r using (run_id) where r.project = $1)
    select dataset_id from used
    union
    select target_id from links
    where relation = 'derived_from' and source_kind = 'dataset' and target_kind = 'dataset'
      and source_id in (select dataset_id from used)"""

_MEASUREMENTS = f"""
    with halves as (
        select e.dataset_id, e.probe_id, e.method, e.task_seed, e.recorded_at, e.probe_name,
               try_cast(c.settings->>'ways' as bigint) as ways,
               try_cast(c.settings->>'images_per_class' as bigint) as images_per_class
        from stored.embeddings e join dataset_configs c using (dataset_config_id)
        where e.half is not null and e.method != '{MEAN_FEATURES}'),
    borne as (
        select diversity_probe_id as probe_id, count(*) as n, max(recorded_at) as newest
        from (select dataset_id, diversity_probe_id, recorded_at from stored.datasets
              where diversity is not null and ($1::varchar[] is null or list_contains($1, dataset_id))
              qualify row_number() over (partition by dataset_id order by recorded_at desc) = 1)
        group by all order by n desc, newest desc limit 1)
    select probe_id, max(probe_name) as probe, method, ways, images_per_class, task_seed,
           list(distinct dataset_id order by dataset_id) as dataset_ids, max(recorded_at) as recorded_at,
           probe_id in (select probe_id from borne) as is_main
    from halves where $1::varchar[] is null or list_contains($1, dataset_id)
    group by probe_id, method, ways, images_per_class, task_seed
    order by is_main desc, len(dataset_ids) desc, max(recorded_at) desc, probe_id, method"""

_VECTORS = """
    with chosen as (
        select e.* from embeddings e join dataset_configs c using (dataset_config_id)
        where half is not null and probe_id = $1 and task_seed = $2 and method in ($3, $4)
          and list_contains($7, e.dataset_id)
          and ($8::varchar[] is null or list_contains($8, e.dataset_config_id))
          and try_cast(c.settings->>'ways' as bigint) = $5
          and try_cast(c.settings->>'images_per_class' as bigint) = $6),
    newest as (
        select dataset_id, arg_max(dataset_config_id, recorded_at) as dataset_config_id from chosen group by dataset_id)
    select d.name as dataset, dataset_id, dataset_config_id, task_index, half, method = $4 as is_features,
           n_images, vector
    from chosen join newest using (dataset_id, dataset_config_id) join datasets d using (dataset_id)
    order by dataset, dataset_id, is_features, task_index, half"""


def stored_measurements(lake: Lake, *, project: str | None = None) -> list[Measurement]:
    """Measurements whose embeddings the lake holds.

    Args:
        lake: The lake.
        project: Only data sets that a run of this project used; None for all.

    Returns:
        First that of the probe whose coefficients most data sets bear; then those with the most data sets, the newest
        of equals first.
    """
    datasets = None if project is None else _datasets_of(lake, project)
    rows = lake.sql(_MEASUREMENTS, [datasets]).to_pylist()
    return [Measurement(**{**row, "dataset_ids": tuple(row["dataset_ids"])}) for row in rows]


def chosen_measurement(lake: Lake, *, project: str | None = None, probe_id: str | None = None) -> Measurement | None:
    """The measurement that an analysis takes.

    Args:
        lake: The lake.
        project: Only data sets that a run of this project used; None for all.
        probe_id: The probe, the beginning of its id is enough; None for the first of `stored_measurements`.

    Returns:
        It, or None where the lake holds no halves of tasks.

    Raises:
        DataError: If the id is of no probe, or of several.
    """
    found = stored_measurements(lake, project=project)
    if probe_id is not None:
        known = dict.fromkeys(one.probe_id for one in found)
        fitting = [one for one in known if one.startswith(probe_id)]
        if len(fitting) != 1:
            raise DataError(
                f"probe {probe_id!r} is the beginning of {len(fitting)} ids of probes with stored embeddings; "
                f"there are: {', '.join(known) or 'none'}"
            )
        found = [one for one in found if one.probe_id == fitting[0]]
    return found[0] if found else None


def stored_tasks(
    lake: Lake, measurement: Measurement, *, dataset_config_ids: Sequence[str] | None = None
) -> list[StoredTasks]:
    """The embedded tasks of a measurement; one of which only one half is there is left out.

    Args:
        lake: The lake.
        measurement: Which.
        dataset_config_ids: The uses of data sets that count; None for the newest of each data set.

    Returns:
        One for each data set, by name.
    """
    values = [
        measurement.probe_id,
        measurement.task_seed,
        measurement.method,
        MEAN_FEATURES,
        measurement.ways,
        measurement.images_per_class,
        list(measurement.dataset_ids),
        None if dataset_config_ids is None else list(dataset_config_ids),
    ]
    table = lake.sql(_VECTORS, values)
    names = table.column("dataset_id").to_pylist()
    starts = [place for place, name in enumerate(names) if place == 0 or names[place - 1] != name]
    ends = [*starts[1:], len(names)]
    parts = [_tasks(table.slice(start, end - start)) for start, end in zip(starts, ends, strict=False)]
    return [part for part in parts if part is not None]


def _datasets_of(lake: Lake, project: str) -> list[str]:
    found: list[str] = lake.sql(_OF_PROJECT, [project]).column("dataset_id").to_pylist()
    return found


def _tasks(rows: pa.Table) -> StoredTasks | None:
    """The tasks of one data set from its rows, Fisher rows first, each kind by task and half."""
    n_fisher = rows.column("is_features").to_pylist().count(False)
    fisher, means = _pairs(rows.slice(0, n_fisher)), _pairs(rows.slice(n_fisher))
    if fisher is None:
        return None
    has_means = means is not None and bool(np.isin(fisher.indices, means.indices).all())
    wanted = np.isin(means.indices, fisher.indices) if means is not None else None
    facts = rows.slice(0, 1).to_pylist()[0]
    return StoredTasks(
        dataset_id=facts["dataset_id"],
        dataset=facts["dataset"],
        dataset_config_id=facts["dataset_config_id"],
        indices=fisher.indices,
        first=fisher.first,
        second=fisher.second,
        features=(means.first[wanted], means.second[wanted]) if means is not None and has_means else None,
        n_images=fisher.n_images,
    )


class _Pairs(NamedTuple):
    indices: npt.NDArray[np.int64]
    first: Vectors
    second: Vectors
    n_images: npt.NDArray[np.int64]


def _pairs(rows: pa.Table) -> _Pairs | None:
    """Tasks of which both halves are there, from rows in the order of task and half."""
    if rows.num_rows < 2:
        return None
    index, half, images = (
        np.array(rows.column(name).to_pylist(), dtype=np.int64) for name in ("task_index", "half", "n_images")
    )
    at = np.flatnonzero((half[:-1] == 0) & (half[1:] == 1) & (index[:-1] == index[1:]))
    flat = rows.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix = flat.reshape(rows.num_rows, -1)
    return _Pairs(index[at], matrix[at], matrix[at + 1], images[at] + images[at + 1]) if len(at) else None
