"""Tasks drawn from a data set by seed and number, and the plain view of its images for pretraining."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot._data import FewShotDataset

__all__ = ["ClassificationSplit", "Episode", "Episodes"]

_Indices = npt.NDArray[np.int64]


class Episode(NamedTuple):
    """A few-shot task; the default collate stacks tasks, which adds a leading dimension to each field.

    Attributes:
        support_images: float32 in [0, 1], shape (ways * shots, C, H, W).
        support_labels: int64, shape (ways * shots,), 0 to ways - 1.
        query_images: float32 in [0, 1], shape (ways * queries, C, H, W).
        query_labels: int64, shape (ways * queries,).
        classes: int64, shape (ways,): the task's classes as indices into the original data set's classes.
        index: int64 scalar: number of the task in its episode set.
    """

    support_images: Tensor
    support_labels: Tensor
    query_images: Tensor
    query_labels: Tensor
    classes: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which no one needs here


class Episodes(Dataset[Episode]):
    """A fixed, reproducible list of tasks; task i follows from ``seed`` and i alone.

    The draw uses nothing but the raw stream of the counter-based generator Philox 4x64 (Salmon et al.,
    2011) with the key (seed, i), which numpy promises not to change, and no global random state: any
    process, worker or year sees the same tasks.

    Args:
        dataset: Where classes and images come from.
        split: Part of the classes to draw from: "train", "val", "test" or "all".
        ways: Classes of a task.
        shots: Support images per class.
        queries: Query images per class, never among the support images.
        n_episodes: Length of the list.
        seed: 0 to 2**64 - 1.

    Raises:
        ConfigurationError: A number is out of range.
        DataError: The split has too few classes, or a class too few images.
    """

    def __init__(
        self,
        dataset: FewShotDataset,
        *,
        split: str = "test",
        ways: int = 5,
        shots: int = 5,
        queries: int = 15,
        n_episodes: int = 100,
        seed: int = 0,
    ) -> None:
        if min(ways, shots, queries, n_episodes) < 1 or not 0 <= seed < 2**64:
            raise ConfigurationError(
                f"ways={ways}, shots={shots}, queries={queries}, n_episodes={n_episodes}, seed={seed}: "
                "expected counts of at least 1 and a seed from 0 to 2**64 - 1."
            )
        self.dataset = dataset.split(split)
        self.split = split
        self.ways, self.shots, self.queries = ways, shots, queries
        self.n_episodes, self.seed = n_episodes, seed
        self._table, self._counts = _index_table(self.dataset)
        self._check_enough()

    def __len__(self) -> int:
        return self.n_episodes

    def __getitem__(self, index: int) -> Episode:
        index = self._position(index)
        classes, support, query = self._draw(index)
        labels = torch.arange(self.ways)
        return Episode(
            support_images=self._images(support),
            support_labels=labels.repeat_interleave(self.shots),
            query_images=self._images(query),
            query_labels=labels.repeat_interleave(self.queries),
            classes=self.dataset.original_classes[classes],
            index=torch.tensor(index),
        )

    def episode_id(self, index: int) -> str:
        """Return the content id of a task: equal ids mean the same images in the same roles.

        Args:
            index: Number of the task.

        Returns:
            32 hex digits of the SHA-256 over the fingerprint of the original data set, the rows of the
            support and query images in it, ways and shots.
        """
        _, support, query = self._draw(self._position(index))
        digest = hashlib.sha256(self.dataset.original.fingerprint.encode())
        digest.update(np.array([self.ways, self.shots], dtype="<i8").tobytes())
        rows = self.dataset.original_index.numpy()
        digest.update(rows[np.concatenate([support, query])].astype("<i8").tobytes())
        return digest.hexdigest()[:32]

    def lde_facts(self) -> dict[str, Any]:
        """Return the facts of the whole data set behind the tasks."""
        return self.dataset.lde_facts()

    def lde_config(self) -> dict[str, Any]:
        """Return how the data set is used; ``transforms`` only where images were prepared."""
        settings = {
            "ways": self.ways,
            "shots": self.shots,
            "queries": self.queries,
            "n_episodes": self.n_episodes,
            "seed": self.seed,
        }
        return {"split": self.split, "settings": settings, "sampler": "Episodes", **_transforms(self.dataset)}

    def _draw(self, index: int) -> tuple[_Indices, _Indices, _Indices]:
        per_class = self.shots + self.queries
        n_classes, width = self._table.shape
        raw = np.random.Philox(key=np.array([self.seed, index], dtype=np.uint64))
        classes = np.argsort(raw.random_raw(n_classes), kind="stable")[: self.ways]
        keys = raw.random_raw(self.ways * width).reshape(self.ways, width)
        keys[np.arange(width) >= self._counts[classes, None]] = np.iinfo(np.uint64).max
        chosen = np.argsort(keys, axis=1, kind="stable")[:, :per_class]
        rows = np.take_along_axis(self._table[classes], chosen, axis=1)
        return classes, rows[:, : self.shots].ravel(), rows[:, self.shots :].ravel()

    def _images(self, rows: _Indices) -> Tensor:
        return self.dataset.images[torch.from_numpy(rows)].float().div_(255)

    def _position(self, index: int) -> int:
        if not -self.n_episodes <= index < self.n_episodes:
            raise IndexError(f"episode {index} of {self.n_episodes}")
        return int(index) % self.n_episodes

    def _check_enough(self) -> None:
        place = f"split {self.split!r} of data set {self.dataset.name!r}"
        if self.dataset.n_classes < self.ways:
            raise DataError(
                f"{place} has {self.dataset.n_classes} classes, too few for {self.ways} ways: "
                "lower ways or choose another split."
            )
        fewest = int(self._counts.min())
        if fewest < self.shots + self.queries:
            name = self.dataset.classes[int(self._counts.argmin())]
            raise DataError(
                f"class {name!r} in {place} has {fewest} images, too few for {self.shots} shots and "
                f"{self.queries} queries: lower one of them or leave out the class."
            )


class ClassificationSplit(Dataset[tuple[Tensor, int]]):
    """The images of a split's classes with their labels, 0 to n_classes - 1, for ordinary training.

    Args:
        dataset: Where the images come from.
        split: "train", "val", "test" or "all".

    Raises:
        DataError: The split is unknown or has no class.
    """

    def __init__(self, dataset: FewShotDataset, *, split: str = "train") -> None:
        self.dataset = dataset.split(split)
        self.split = split

    @property
    def n_classes(self) -> int:
        """Number of classes, the size of a classifier's output."""
        return self.dataset.n_classes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.dataset.images[index].float().div_(255), int(self.dataset.labels[index])

    def lde_facts(self) -> dict[str, Any]:
        """Return the facts of the whole data set behind the split."""
        return self.dataset.lde_facts()

    def lde_config(self) -> dict[str, Any]:
        """Return how the data set is used; ``transforms`` only where images were prepared."""
        return {"split": self.split, "settings": {}, "sampler": None, **_transforms(self.dataset)}


def _transforms(dataset: FewShotDataset) -> dict[str, str]:
    return {} if dataset.preparation is None else {"transforms": dataset.preparation}


def _index_table(dataset: FewShotDataset) -> tuple[_Indices, _Indices]:
    """Return the rows of each class, (n_classes, largest count) padded with 0, and the counts."""
    labels = dataset.labels.numpy()
    counts = np.bincount(labels, minlength=dataset.n_classes)
    table = np.zeros((dataset.n_classes, int(counts.max())), dtype=np.int64)
    table[np.arange(table.shape[1]) < counts[:, None]] = np.argsort(labels, kind="stable")
    return table, counts
