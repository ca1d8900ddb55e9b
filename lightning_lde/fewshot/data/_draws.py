"""The draw of tasks: which classes and rows stand in which role, from nothing but seed and number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lightning_lde.fewshot.data._dataset import FewShotDataset

__all__ = ["ClassTable", "Draws", "draw_tasks"]

_Indices = npt.NDArray[np.int64]
_Keys = npt.NDArray[np.uint64]
_LAST = np.iinfo(np.uint64).max


class Draws(NamedTuple):
    """Tasks as rows of a data set.

    Attributes:
        classes: int64, shape (tasks, ways).
        support: int64, shape (tasks, ways, shots).
        query: int64, shape (tasks, ways, queries).
    """

    classes: _Indices
    support: _Indices
    query: _Indices


@dataclass(frozen=True)
class ClassTable:
    """Where the samples of each class are.

    Args:
        rows: int64, shape (n_classes, largest count), padded with 0.
        counts: int64, shape (n_classes,).
        groups: int64, shape (n_classes,): the part that each class belongs to, where a task keeps to one part.
    """

    rows: _Indices
    counts: _Indices
    groups: _Indices | None = None

    @classmethod
    def of(cls, dataset: FewShotDataset, *, groups: _Indices | None = None) -> ClassTable:
        """Return the table of a data set."""
        labels = dataset.labels.numpy()
        counts = np.bincount(labels, minlength=dataset.n_classes)
        rows = np.zeros((dataset.n_classes, int(counts.max(initial=0))), dtype=np.int64)
        rows[np.arange(rows.shape[1]) < counts[:, None]] = np.argsort(labels, kind="stable")
        return cls(rows, counts, groups)


def draw_tasks(table: ClassTable, indices: Sequence[int], *, seed: int, ways: int, shots: int, queries: int) -> Draws:
    """Draw tasks; task i uses the raw stream of Philox 4x64 with the key (seed, i) and nothing else.

    The stream gives, in this order, a key for each part (only where tasks keep to one), a key for each
    class, and for each drawn class a key for each sample; the smallest keys are drawn.

    Args:
        table: Where the samples of each class are.
        indices: Numbers of the tasks.
        seed: 0 to 2**64 - 1.
        ways: Classes of a task.
        shots: Support samples per class.
        queries: Query samples per class.

    Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011.
    """
    n_classes, width = table.rows.shape
    n_groups = 0 if table.groups is None else int(table.groups.max()) + 1
    stream = _streams(seed, indices, n_groups + n_classes + ways * width)
    group_keys, class_keys, sample_keys = np.split(stream, [n_groups, n_groups + n_classes], axis=1)
    if table.groups is not None:
        class_keys[table.groups != group_keys.argmin(axis=1)[:, None]] = _LAST
    classes = np.argsort(class_keys, axis=1, kind="stable")[:, :ways]
    keys = sample_keys.reshape(-1, ways, width)
    keys[np.arange(width) >= table.counts[classes][..., None]] = _LAST
    chosen = _smallest(keys, shots + queries)
    rows = np.take_along_axis(table.rows[classes], chosen, axis=2)
    return Draws(classes, rows[..., :shots], rows[..., shots:])


def _streams(seed: int, indices: Sequence[int], length: int) -> _Keys:
    """Return the first ``length`` raw values of each task's generator, shape (tasks, length)."""
    generator = np.random.Philox(key=np.array([seed, 0], dtype=np.uint64))
    # A new generator asks the operating system for entropy that it does not need; a new key costs a fifth of that.
    start = generator.state
    values = np.empty((len(indices), length), dtype=np.uint64)
    for place, index in enumerate(indices):
        start["state"]["key"] = np.array([seed, index], dtype=np.uint64)
        generator.state = start
        values[place] = generator.random_raw(length)
    return values


def _smallest(keys: _Keys, count: int) -> _Indices:
    """Return the places of the ``count`` smallest keys along the last axis, smallest first."""
    if keys.shape[-1] < 8 * count:
        return np.argsort(keys, axis=-1, kind="stable")[..., :count]
    candidates = np.argpartition(keys, count - 1, axis=-1)[..., :count]
    order = np.argsort(np.take_along_axis(keys, candidates, axis=-1), axis=-1)
    return np.take_along_axis(candidates, order, axis=-1)
