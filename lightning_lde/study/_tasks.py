"""Tasks that are embedded: the images of each in two halves that share nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_lde import capture
from lightning_lde.diversity import halve
from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot import Episodes, FewShotDataset
from lightning_lde.schema import Dataset, DatasetConfig

_NO_END = 2**62


class HalvedTasks:
    """Tasks of a data set without end, the images of each in two halves that share no image and no copy.

    The data set itself is halved, class by class: tasks share images, and one that is in the first half of one task
    and the second of another would tie their noise. Task i follows from the seed and i alone, so a longer list begins
    with the shorter one.

    Args:
        dataset: Where classes and images come from, all of its splits.
        ways: Classes of a task.
        images_per_class: Images of each, even, half of them for each half.
        seed: Seed of the tasks.

    Raises:
        ConfigurationError: If ``images_per_class`` is odd or below 4.
        DataError: If there are too few classes, or a class has too few images that are no copies of each other.
    """

    def __init__(self, dataset: FewShotDataset, *, ways: int, images_per_class: int, seed: int) -> None:
        if images_per_class < 4 or images_per_class % 2:
            raise ConfigurationError(
                f"a task of the diversity has {images_per_class} images of each class, expected an even number of at "
                "least 4, two for each half: change diversity_images"
            )
        self.name, self.seed = dataset.name, seed
        self._whole = dataset
        self._settings = {"ways": ways, "images_per_class": images_per_class, "seed": seed}
        halves = halve(dataset.labels.numpy(), content=dataset.images.numpy())
        self._pools = [
            _episodes(_part(dataset, torch.from_numpy(rows)), ways, images_per_class // 2, seed)
            for rows in (halves.first, halves.second)
        ]

    def half(self, index: int, which: int) -> tuple[Tensor, Tensor]:
        """Images and labels of one half of a task.

        Args:
            index: Number of the task.
            which: 0 or 1; both halves have the same classes.

        Returns:
            float32 (ways · images_per_class / 2, C, H, W), and the class of each, 0 to ways - 1.
        """
        task = self._pools[which][index]
        return (
            torch.cat([task.support_images, task.query_images]),
            torch.cat([task.support_labels, task.query_labels]),
        )

    def described(self) -> tuple[Dataset, DatasetConfig]:
        """The rows of the data set and of this use of it; how many tasks are looked at is no part of it."""
        return capture.describe_loader(DataLoader(self))  # type: ignore[arg-type]  # it is described, never iterated

    def lde_facts(self) -> dict[str, Any]:
        """Return the facts of the whole data set behind the tasks."""
        return self._whole.lde_facts()

    def lde_config(self) -> dict[str, Any]:
        """Return how the data set is used; ``transforms`` only where images were prepared."""
        prepared = self._whole.preparation
        return {
            "split": "all",
            "settings": self._settings,
            "sampler": "HalvedTasks",
            **({} if prepared is None else {"transforms": prepared}),
        }


def _part(dataset: FewShotDataset, rows: Tensor) -> FewShotDataset:
    return replace(
        dataset,
        images=dataset.images[rows],
        labels=dataset.labels[rows],
        origin=dataset.original,
        origin_index=dataset.original_index[rows],
    )


def _episodes(pool: FewShotDataset, ways: int, images: int, seed: int) -> Episodes:
    """Tasks of one half of a data set; both halves give the same classes, for these are drawn first."""
    poorest = min(pool.class_counts, key=lambda name: pool.class_counts[name])
    if pool.class_counts[poorest] < images:
        raise DataError(
            f"class {poorest!r} of data set {pool.name!r} has {pool.class_counts[poorest]} images in one of its "
            f"halves, without copies of those in the other; a half of a task needs {images}: lower diversity_images, "
            "or leave the class out"
        )
    # Images of support and query are used together; the division only fits the interface.
    return Episodes(
        pool, split="all", ways=ways, shots=images - 1, queries=1, n_episodes=_NO_END, seed=seed
    )  # fmt: skip
