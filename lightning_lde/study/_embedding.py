"""Embeds tasks in small portions and stores each at once; what the lake holds is not embedded again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lightning_lde.diversity import Probe, TaskEmbedding, fisher_embedding, fisher_method
from lightning_lde.query import Lake
from lightning_lde.recording import add_results
from lightning_lde.schema import DatasetConfig, Embedding, utc_now
from lightning_lde.study._parallel import Lost, in_parallel
from lightning_lde.study._tasks import HalvedTasks
from lightning_lde.study._vectors import MEAN_FEATURES

PORTION = 4
"""Tasks that are embedded, and stored, at a time: what a stop may lose."""

HALVES = (0, 1)
Wanted = tuple[int, tuple[str, ...]]
"""The number of a task, and the methods by which it is still to be embedded."""


@dataclass(frozen=True)
class HalfEmbedding:
    """One half of a task, embedded.

    Attributes:
        index: Number of the task.
        half: 0 or 1.
        embedding: Its vector.
    """

    index: int
    half: int
    embedding: TaskEmbedding


class Portion:
    """A few tasks with what is wanted of them. What goes to another process are their images, not the data set.

    Args:
        tasks: The tasks.
        wanted: Which of them, and how they are to be embedded.
    """

    def __init__(self, tasks: HalvedTasks, wanted: Sequence[Wanted]) -> None:
        self._tasks: HalvedTasks | None = tasks
        self._wanted = tuple(wanted)
        self._gathered: list[tuple[Tensor, Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_tasks": None, "_wanted": self._wanted, "_gathered": list(self._images())}

    def embedded(self, probe: Probe) -> list[HalfEmbedding]:
        """All that is wanted."""
        places = [(index, half, methods) for index, methods in self._wanted for half in HALVES]
        return [
            HalfEmbedding(index, half, embed_half(probe, images, labels, method))
            for (index, half, methods), (images, labels) in zip(places, self._images(), strict=True)
            for method in methods
        ]

    def _images(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._tasks is None:
            yield from self._gathered or ()
        else:
            yield from (self._tasks.half(index, half) for index, _ in self._wanted for half in HALVES)


def embed_half(probe: Probe, images: Tensor, labels: Tensor, method: str) -> TaskEmbedding:
    """Embed one half of a task.

    Args:
        probe: The probe.
        images: float32, (N, C, H, W).
        labels: Class of each image, (N,).
        method: ``fisher_method()`` for Task2Vec with its exact expectation, or ``"mean-features"``.
    """
    if method != MEAN_FEATURES:
        return fisher_embedding(probe, images, labels)
    mean = probe.features(images).double().mean(dim=0).cpu()
    return TaskEmbedding(
        vector=mean.numpy().astype("float32"), complexity=float(mean.abs().sum()), n_images=len(images), method=method
    )


def embed_portion(portion: Portion, probe: Probe) -> list[HalfEmbedding]:
    """What is wanted of a portion, wherever it is asked for."""
    return portion.embedded(probe)


def embed_missing(
    lake: Lake, tasks: Sequence[HalvedTasks], probe: Probe, *, n_tasks: int, project: str, jobs: int
) -> Iterator[int]:
    """Embed the tasks that the lake does not hold yet, whatever project they were stored for.

    Args:
        lake: The lake.
        tasks: Those of each data set.
        probe: The probe.
        n_tasks: Tasks of each data set.
        project: The project, for what is stored.
        jobs: Processes; 1 for this one alone, as a probe on a GPU needs it.

    Yields:
        A number of tasks: of each data set those that are stored already, then those of each portion once it is.

    Raises:
        ChildProcessError: If a process that embeds dies; what it had is embedded the next time.
    """
    configs = {one.name: _stored_config(lake, one, project) for one in tasks}
    calls: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    portions: dict[str, tuple[HalvedTasks, int]] = {}
    for one in tasks:
        wanted = missing_tasks(lake, configs[one.name], probe, n_tasks)
        yield n_tasks - len(wanted)
        for start in range(0, len(wanted), PORTION):
            part = wanted[start : start + PORTION]
            name = f"{one.name} {part[0][0]}"
            portions[name] = one, len(part)
            calls[name] = embed_portion, (Portion(one, part), probe)
    for name, found in in_parallel(calls, jobs=jobs):
        one, count = portions[name]
        if isinstance(found, Lost):
            raise ChildProcessError(
                f"the process that embedded tasks of {one.name!r} died ({found.reason}): begin again with fewer jobs; "
                "what was embedded is kept"
            )
        rows = [_row(configs[one.name], half, probe, one.seed) for half in found]
        add_results(lake.storage, "embeddings", rows, project=project)
        yield count


def missing_tasks(lake: Lake, config: DatasetConfig, probe: Probe, n_tasks: int) -> list[Wanted]:
    """Tasks of which a half is not stored, with the methods by which.

    Args:
        lake: The lake.
        config: The use of the data set that the tasks are.
        probe: The probe.
        n_tasks: How long the list of tasks is.
    """
    rows = lake.sql(
        """select task_index, method from stored.embeddings
           where dataset_config_id = ? and probe_id = ? and half is not null
           group by all having count(distinct half) = 2""",
        [config.dataset_config_id, probe.probe_id],
    ).to_pylist()
    known: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        known[row["task_index"]].add(row["method"])
    methods = (fisher_method(), MEAN_FEATURES)
    left = [(index, tuple(one for one in methods if one not in known[index])) for index in range(n_tasks)]
    return [(index, wanted) for index, wanted in left if wanted]


def _stored_config(lake: Lake, tasks: HalvedTasks, project: str) -> DatasetConfig:
    """The use of a data set, which the lake then has a row of."""
    dataset, config = tasks.described()
    known = lake.sql("select 1 from dataset_configs where dataset_config_id = ?", [config.dataset_config_id])
    if not known.num_rows:
        add_results(lake.storage, "datasets", [dataset], project=project)
        add_results(lake.storage, "dataset_configs", [config], project=project)
    return config


def _row(config: DatasetConfig, half: HalfEmbedding, probe: Probe, seed: int) -> Embedding:
    return Embedding(
        dataset_id=config.dataset_id,
        dataset_config_id=config.dataset_config_id,
        recorded_at=utc_now(),
        task_seed=seed,
        task_index=half.index,
        probe_id=probe.probe_id,
        method=half.embedding.method,
        vector=half.embedding.vector.tolist(),
        complexity=half.embedding.complexity,
        n_images=half.embedding.n_images,
        half=half.half,
        probe_name=probe.name,
    )
