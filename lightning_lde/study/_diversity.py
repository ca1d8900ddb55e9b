"""The diversity of each data set of a study: a probe trained in the lake, task embeddings, coefficients."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_lde import capture
from lightning_lde.callback import LDECallback
from lightning_lde.diversity import (
    Coefficient,
    Probe,
    TaskEmbedding,
    diversity_coefficient,
    fisher_embedding,
    pairwise_distances,
)
from lightning_lde.fewshot import Conv4, Episodes, FewShotDataset, Pretraining
from lightning_lde.query import Lake
from lightning_lde.recording import add_results
from lightning_lde.schema import Dataset, DatasetConfig, Embedding, RunStatus, content_id, utc_now
from lightning_lde.study._parallel import in_parallel
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._train import image_loader, quiet_trainer

PROBE_NAME = "probe"
DIVERSITY_METHOD = "mean pairwise normalised cosine of Task2Vec, jackknife over tasks"


@dataclass(frozen=True)
class DatasetDiversity:
    """The diversity coefficient of one data set.

    Attributes:
        dataset: The data set's name.
        coefficient: Value, interval and number of tasks.
    """

    dataset: str
    coefficient: Coefficient


def train_probe(
    lake: Lake,
    datasets: Sequence[FewShotDataset],
    settings: StudySettings,
    *,
    project: str,
) -> Probe:
    """The study's probe: a Conv4 trained on the training classes of all data sets together.

    It is a run of the lake like any other. Where the lake holds it already, its checkpoint is loaded.
    """
    union = union_of(datasets)
    cell_id = content_id(
        "cells",
        {
            "probe": union.fingerprint,
            "width": settings.width,
            "steps": settings.probe_steps,
            "batch": settings.pretraining_batch,
            "lr": settings.pretraining_lr,
            "seed": settings.probe_seed,
        },
    )
    pl.seed_everything(settings.probe_seed, workers=True, verbose=False)
    backbone = Conv4(settings.channels, settings.width, settings.image_size, norm_statistics="running")
    weights = _stored_weights(lake, project, cell_id)
    if weights is None:
        callback = LDECallback(
            lake.url,
            project=project,
            experiment="study",
            name=PROBE_NAME,
            tags={"cell": cell_id, "algorithm": PROBE_NAME},
            storage_options=lake.storage_options,
            on_error="raise",
        )
        module = Pretraining(backbone, n_classes=union.n_classes, lr=settings.pretraining_lr)
        loader = image_loader(union, settings, steps=settings.probe_steps, seed=settings.probe_seed)
        with quiet_trainer(callback, max_steps=settings.probe_steps) as trainer:
            trainer.fit(module, loader)
    else:
        backbone.load_state_dict(weights)
    return Probe(backbone, name=f"Conv4-{settings.width} trained on {len(datasets)} data sets")


def measure_diversity(
    lake: Lake,
    datasets: Sequence[FewShotDataset],
    settings: StudySettings,
    probe: Probe,
    *,
    project: str,
    jobs: int = 1,
) -> Iterator[DatasetDiversity]:
    """Embed tasks of each data set and store embeddings and coefficients; what is stored is not done again.

    Args:
        lake: The lake.
        datasets: Data sets prepared to the settings' size and channels.
        settings: The study's numbers.
        probe: The probe.
        project: The project in the lake.
        jobs: Processes.

    Yields:
        The diversity of each data set as it becomes known, in no fixed order.
    """
    stored = {dataset.name: _stored_vectors(lake, _tasks_of(dataset, settings), probe) for dataset in datasets}
    missing = [dataset for dataset in datasets if stored[dataset.name] is None]
    for dataset in datasets:
        vectors = stored[dataset.name]
        if vectors is not None:
            yield _store_coefficient(lake, dataset, vectors, probe, project)
    calls = {dataset.name: (embed_tasks, (dataset, settings, probe)) for dataset in missing}
    by_name = {dataset.name: dataset for dataset in missing}
    for name, embeddings in in_parallel(calls, jobs=jobs):
        dataset = by_name[name]
        rows = _embedding_rows(dataset, settings, probe, embeddings)
        add_results(lake.storage, "embeddings", rows, project=project)
        vectors = np.stack([embedding.vector for embedding in embeddings])
        yield _store_coefficient(lake, dataset, vectors, probe, project)


def embed_tasks(dataset: FewShotDataset, settings: StudySettings, probe: Probe) -> list[TaskEmbedding]:
    """The embedding of each task that stands for a data set."""
    tasks = _tasks_of(dataset, settings)
    return [
        fisher_embedding(
            probe,
            torch.cat([task.support_images, task.query_images]),
            torch.cat([task.support_labels, task.query_labels]),
        )
        for task in (tasks[index] for index in range(len(tasks)))
    ]


def union_of(datasets: Iterable[FewShotDataset]) -> FewShotDataset:
    """The training classes of several data sets as one data set."""
    parts = [dataset.split("train") for dataset in datasets]
    offsets = np.cumsum([0, *(part.n_classes for part in parts)])
    classes = tuple(f"{part.name}/{name}" for part in parts for name in part.classes)
    return FewShotDataset(
        name=f"union of {len(parts)} data sets",
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels + int(offset) for part, offset in zip(parts, offsets[:-1], strict=True)]),
        classes=classes,
        class_splits=("train",) * len(classes),
    )


def _tasks_of(dataset: FewShotDataset, settings: StudySettings) -> Episodes:
    # Images of support and query are used together; the division only fits the interface.
    half = settings.diversity_images // 2
    return Episodes(
        dataset,
        split="all",
        ways=settings.ways,
        shots=settings.diversity_images - half,
        queries=max(half, 1),
        n_episodes=settings.diversity_tasks,
        seed=settings.test_seed,
    )


def _config_of(tasks: Episodes) -> DatasetConfig:
    return capture.describe_loader(DataLoader(tasks))[1]


def _stored_weights(lake: Lake, project: str, cell_id: str) -> dict[str, torch.Tensor] | None:
    rows = lake.sql(
        f"""select a.run_id, a.path from artifacts a join runs r using (run_id)
            where r.project = ? and r.tags->>'cell' = ? and r.status = '{RunStatus.FINISHED}'
              and a.kind = 'checkpoint' order by r.started_at desc limit 1""",
        [project, cell_id],
    ).to_pylist()
    if not rows:
        return None
    data = lake.read_artifact(rows[0]["run_id"], rows[0]["path"])
    state = torch.load(io.BytesIO(data), weights_only=True)["state_dict"]
    prefix = "backbone."
    return {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}


def _stored_vectors(lake: Lake, tasks: Episodes, probe: Probe) -> np.ndarray[Any, Any] | None:
    config = _config_of(tasks)
    rows = lake.sql(
        "select vector from embeddings where dataset_config_id = ? and probe_id = ? order by task_index",
        [config.dataset_config_id, probe.probe_id],
    )
    vectors = rows.column("vector").to_pylist()
    return np.array(vectors, dtype=np.float32) if len(vectors) == len(tasks) else None


def _embedding_rows(
    dataset: FewShotDataset, settings: StudySettings, probe: Probe, embeddings: Sequence[TaskEmbedding]
) -> list[Embedding]:
    config = _config_of(_tasks_of(dataset, settings))
    return [
        Embedding(
            dataset_id=config.dataset_id,
            dataset_config_id=config.dataset_config_id,
            recorded_at=utc_now(),
            task_seed=settings.test_seed,
            task_index=index,
            probe_id=probe.probe_id,
            method=embedding.method,
            vector=embedding.vector.tolist(),
            complexity=embedding.complexity,
            n_images=embedding.n_images,
        )
        for index, embedding in enumerate(embeddings)
    ]


def _store_coefficient(
    lake: Lake, dataset: FewShotDataset, vectors: np.ndarray[Any, Any], probe: Probe, project: str
) -> DatasetDiversity:
    coefficient = diversity_coefficient(pairwise_distances(vectors))
    facts: Dataset = capture.describe_dataset(dataset)
    if not _is_stored(lake, facts, coefficient, probe):
        row = replace(
            facts,
            diversity=coefficient.value,
            diversity_low=coefficient.low,
            diversity_high=coefficient.high,
            diversity_method=DIVERSITY_METHOD,
            diversity_probe_id=probe.probe_id,
            diversity_n_tasks=coefficient.n_tasks,
        )
        add_results(lake.storage, "datasets", [row], project=project)
    return DatasetDiversity(dataset.name, coefficient)


def _is_stored(lake: Lake, facts: Dataset, coefficient: Coefficient, probe: Probe) -> bool:
    rows = lake.sql(
        "select diversity from datasets where dataset_id = ? and diversity_probe_id = ?",
        [facts.dataset_id, probe.probe_id],
    ).to_pylist()
    return bool(rows) and rows[0]["diversity"] == coefficient.value
