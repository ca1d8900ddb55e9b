"""Tasks drawn from a data set by seed and number, and the plain view of its samples for pretraining."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.data._draws import ClassTable, Draws, draw_tasks

__all__ = ["Batch", "ClassificationSplit", "Episode", "Episodes"]

_Indices = npt.NDArray[np.int64]


class Episode(NamedTuple):
    """A few-shot task; the default collate stacks tasks, which adds a leading dimension to each field.

    Attributes:
        support_images: float32, shape (ways * shots, ...): images (C, H, W) in [0, 1], other samples as they are.
        support_labels: int64, shape (ways * shots,), 0 to ways - 1.
        query_images: float32, shape (ways * queries, ...).
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


class Batch(list[Any]):
    """Items that were taken together, and what they look like stacked; the items are views of that.

    Args:
        items: One entry an item, as ``__getitem__`` returns it.
        stacked: The same items with a leading dimension.
    """

    def __init__(self, items: Iterable[Any], stacked: Any) -> None:
        super().__init__(items)
        self.stacked = stacked


class Episodes(Dataset[Episode]):
    """A fixed, reproducible list of tasks; task i follows from ``seed`` and i alone.

    The draw uses nothing but the raw stream of the counter-based generator Philox 4x64 (Salmon et al.,
    2011) with the key (seed, i), which numpy promises not to change, and no global random state: any
    process, worker or year sees the same tasks. Tasks asked for together, as a ``DataLoader`` does, are
    the same as one by one and cost one gather of pixels; see ``episode_loader``.

    Args:
        dataset: Where classes and samples come from.
        split: Part of the classes to draw from: "train", "val", "test" or "all".
        ways: Classes of a task.
        shots: Support samples per class.
        queries: Query samples per class, never among the support samples.
        n_episodes: Length of the list.
        seed: 0 to 2**64 - 1.
        within: "part": the classes of a task come from one part of a ``union``, each part being equally
            likely; None: from all classes alike.

    Raises:
        ConfigurationError: A number is out of range.
        DataError: The split, or a part of it, has too few classes, or a class too few samples.
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
        within: Literal["part"] | None = None,
    ) -> None:
        if min(ways, shots, queries, n_episodes) < 1 or not 0 <= seed < 2**64:
            raise ConfigurationError(
                f"ways={ways}, shots={shots}, queries={queries}, n_episodes={n_episodes}, seed={seed}: "
                "expected counts of at least 1 and a seed from 0 to 2**64 - 1."
            )
        if within not in (None, "part"):
            raise ConfigurationError(f"within={within!r}: expected 'part' or None.")
        self.dataset = dataset.split(split)
        self.split = split
        self.ways, self.shots, self.queries = ways, shots, queries
        self.n_episodes, self.seed, self.within = n_episodes, seed, within
        self._table = ClassTable.of(self.dataset, groups=None if within is None else _groups(self.dataset))
        self._check_enough()

    def __len__(self) -> int:
        return self.n_episodes

    def __getitem__(self, index: int) -> Episode:
        episode: Episode = self.__getitems__([index])[0]
        return episode

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return several tasks at once, the same as one by one; torch's ``DataLoader`` asks in this way.

        Args:
            indices: Numbers of the tasks.

        Returns:
            A list of tasks whose ``stacked`` is one Episode with a leading task dimension.
        """
        places = [self._position(index) for index in indices]
        draws = self._draws(places)
        tasks, labels = len(places), torch.arange(self.ways)
        # Support and query of all tasks in one gather, laid out so that both parts are contiguous.
        pixels = self.dataset.gather(np.concatenate([draws.support.ravel(), draws.query.ravel()]))
        support, query = pixels.tensor_split([draws.support.size])
        stacked = Episode(
            support_images=support.view(tasks, self.ways * self.shots, *support.shape[1:]),
            support_labels=labels.repeat_interleave(self.shots).repeat(tasks, 1),
            query_images=query.view(tasks, self.ways * self.queries, *query.shape[1:]),
            query_labels=labels.repeat_interleave(self.queries).repeat(tasks, 1),
            classes=self.dataset.original_classes[torch.from_numpy(draws.classes)],
            index=torch.tensor(places),
        )
        return Batch(map(Episode._make, zip(*(field.unbind() for field in stacked), strict=True)), stacked)

    def episode_id(self, index: int) -> str:
        """Return the content id of a task: equal ids mean the same samples in the same roles.

        Args:
            index: Number of the task.

        Returns:
            32 hex digits of the SHA-256 over the fingerprint of the original data set, the rows of the
            support and query samples in it, ways and shots.
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
        """Return how the data set is used; ``transforms`` only where samples were prepared."""
        settings: dict[str, Any] = {
            "ways": self.ways,
            "shots": self.shots,
            "queries": self.queries,
            "n_episodes": self.n_episodes,
            "seed": self.seed,
        }
        if self.within is not None:
            settings["within"] = self.within
        return {"split": self.split, "settings": settings, "sampler": "Episodes", **_transforms(self.dataset)}

    def _draws(self, places: Sequence[int]) -> Draws:
        return draw_tasks(self._table, places, seed=self.seed, ways=self.ways, shots=self.shots, queries=self.queries)

    def _draw(self, index: int) -> tuple[_Indices, _Indices, _Indices]:
        classes, support, query = (part[0].ravel() for part in self._draws([index]))
        return classes, support, query

    def _position(self, index: int) -> int:
        if not -self.n_episodes <= index < self.n_episodes:
            raise IndexError(f"episode {index} of {self.n_episodes}")
        return int(index) % self.n_episodes

    def _check_enough(self) -> None:
        place = f"split {self.split!r} of data set {self.dataset.name!r}"
        for part, count in self._class_counts(place).items():
            if count < self.ways:
                raise DataError(
                    f"{part} has {count} classes, too few for {self.ways} ways: lower ways or choose another split."
                )
        fewest = int(self._table.counts.min())
        if fewest < self.shots + self.queries:
            name = self.dataset.classes[int(self._table.counts.argmin())]
            raise DataError(
                f"class {name!r} in {place} has {fewest} images, too few for {self.shots} shots and "
                f"{self.queries} queries: lower one of them or leave out the class."
            )

    def _class_counts(self, place: str) -> dict[str, int]:
        """Number of classes that a task chooses among, for each part in words."""
        if self.within is None:
            return {place: self.dataset.n_classes}
        parts = self.dataset.class_parts or ()
        return {f"part {part!r} in {place}": parts.count(part) for part in dict.fromkeys(parts)}


class ClassificationSplit(Dataset[tuple[Tensor, int]]):
    """The samples of a split's classes with their labels, 0 to n_classes - 1, for ordinary training.

    Args:
        dataset: Where the samples come from.
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
        sample, label = self.__getitems__([index])[0]
        return sample, label

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return several samples at once, the same as one by one, in one gather.

        Args:
            indices: Rows of the split.

        Returns:
            A list of (sample, label) whose ``stacked`` is (samples (n, ...), labels (n,)).
        """
        rows = np.asarray(indices, dtype=np.int64)
        if len(rows) and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} samples")
        rows %= max(len(self), 1)
        samples, labels = self.dataset.gather(rows), self.dataset.labels[torch.from_numpy(rows)]
        return Batch(zip(samples.unbind(), labels.tolist(), strict=True), (samples, labels))

    def lde_facts(self) -> dict[str, Any]:
        """Return the facts of the whole data set behind the split."""
        return self.dataset.lde_facts()

    def lde_config(self) -> dict[str, Any]:
        """Return how the data set is used; ``transforms`` only where samples were prepared."""
        return {"split": self.split, "settings": {}, "sampler": None, **_transforms(self.dataset)}


def _transforms(dataset: FewShotDataset) -> dict[str, str]:
    return {} if dataset.preparation is None else {"transforms": dataset.preparation}


def _groups(dataset: FewShotDataset) -> _Indices:
    """Number of the part of each class, int64 (n_classes,)."""
    if dataset.class_parts is None:
        raise ConfigurationError(
            f"within='part', but data set {dataset.name!r} is no union: make one with union(), or leave within out."
        )
    place = {part: number for number, part in enumerate(dict.fromkeys(dataset.class_parts))}
    return np.array([place[part] for part in dataset.class_parts], dtype=np.int64)
