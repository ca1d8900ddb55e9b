"""Data whose diversity is known: waves in families of classes, and lakes with planted embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lightning_lde import Lake
from lightning_lde.diversity import Probe
from lightning_lde.fewshot import FewShotDataset
from lightning_lde.schema import Dataset, DatasetConfig, Embedding, Link, Record, Run
from lightning_lde.study import StudySettings

WAYS = 5
SETTINGS = StudySettings(ways=WAYS, image_size=16, diversity_tasks=5, diversity_images=4)
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
FILTERS = 40

_SIZE = 16
_FREQUENCIES = (1.0, 2.5, 4.0, 6.0)


def waves(families: int, *, images: int = 24, seed: int = 0) -> FewShotDataset:
    """A data set of noisy waves: families are frequencies, their five classes directions.

    Of one family every task has the same five classes, so that its tasks do not differ at all.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:_SIZE, :_SIZE] / _SIZE
    angles = np.pi * np.arange(WAYS) / WAYS
    phases = [f * (x * np.cos(angle) + y * np.sin(angle)) for f in _FREQUENCIES[:families] for angle in angles]
    plain = 0.5 + 0.3 * np.cos(2 * np.pi * np.repeat(phases, images, axis=0))
    noisy = np.clip(plain + 0.25 * rng.normal(size=plain.shape), 0.0, 1.0)
    classes = tuple(f"class {number}" for number in range(len(phases)))
    return FewShotDataset(
        f"{families} families",
        torch.from_numpy((noisy[:, None] * 255).astype(np.uint8)),
        torch.arange(len(phases)).repeat_interleave(images),
        classes,
        ("train",) * len(classes),
    )


def small_probe(datasets: Sequence[FewShotDataset], *, seed: int = 0) -> Probe:
    """An untrained network of two convolutions."""

    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip

    pooled = torch.cat([one.gather(np.arange(0, len(one), 5)) for one in datasets])
    return Probe.random(network, pooled, name=f"small, seed {seed}", seed=seed)


def halves(
    diversity: float, *, n_tasks: int, noise: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fisher information of both halves of tasks whose true coefficient is known.

    The logarithm of a filter is a task's own value, of variance ``diversity``, and noise of each half.
    """
    # The coefficient is half the mean squared difference of two tasks: the variance of one.
    truth = np.sqrt(diversity) * rng.normal(size=(n_tasks, FILTERS))
    first, second = truth + np.sqrt(noise) * rng.normal(size=(2, n_tasks, FILTERS))
    return np.exp(first), np.exp(second)


def planted_lake(
    path: Path, diversities: dict[str, dict[str, float]], *, n_tasks: int = 60, noise: float = 0.2, seed: int = 0
) -> Lake:
    """A lake with the embeddings of data sets, by probe and name their true diversity; each project has half of them.

    Args:
        path: Where the lake is made.
        diversities: True coefficients.
        n_tasks: Tasks of each data set.
        noise: Variance of the logarithm of a filter over repetitions of a half.
        seed: Of the planted numbers.
    """
    lake = Lake(path).create()
    rng = np.random.default_rng(seed)
    names = sorted({name for of_probe in diversities.values() for name in of_probe})
    rows: dict[str, list[Record]] = {"datasets": [], "dataset_configs": [], "runs": [], "embeddings": [], "links": []}
    for number, name in enumerate(names):
        rows["datasets"].append(Dataset(dataset_id=f"id of {name}", recorded_at=START, name=name))
        rows["dataset_configs"] += [
            DatasetConfig(
                dataset_config_id=f"{use} of {name}", recorded_at=START, dataset_id=f"id of {name}",
                settings={"ways": 5, "images_per_class": 10, "seed": 7} if use == "tasks" else {"ways": "no number"},
            )
            for use in ("tasks", "training")
        ]  # fmt: skip
        rows["runs"].append(
            Run(
                run_id=f"{number}", segment=0, revision=0, project="even" if number % 2 == 0 else "odd",
                status="finished", started_at=START, heartbeat_at=START, heartbeat_every_s=5.0,
                dataset_config_id=f"training of {name}",
            )
        )  # fmt: skip
    for place, (probe, truth) in enumerate(diversities.items()):
        for name, value in truth.items():
            both = halves(value, n_tasks=n_tasks, noise=noise, rng=rng)
            rows["embeddings"] += [
                Embedding(
                    dataset_id=f"id of {name}", dataset_config_id=f"tasks of {name}", probe_id=probe,
                    recorded_at=START + timedelta(minutes=place), task_seed=7, task_index=task,
                    method="fisher-exact/l2=1.0", half=half, vector=vector.tolist(), n_images=25,
                    complexity=float(vector.sum()), probe_name=f"the probe {probe}",
                )
                for half, vectors in enumerate(both)
                for task, vector in enumerate(vectors)
            ]  # fmt: skip
    rows["links"].append(
        Link(
            source_kind="dataset", source_id="id of nothing", relation="derived_from", target_kind="dataset",
            target_id="id of nothing else", recorded_at=START,
        )
    )  # fmt: skip
    for table, records in rows.items():
        lake.storage.add_records(table, records, project="planted")
    return lake
