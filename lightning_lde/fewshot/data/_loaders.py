"""Loaders that hand on tasks and samples without copying what was gathered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler, default_collate

from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot.data._episodes import Batch, ClassificationSplit, Episodes

__all__ = ["classification_loader", "collate_batch", "episode_loader"]


def collate_batch(items: Sequence[Any]) -> Any:
    """Stack items; those that were taken together are stacked already and are not copied again.

    Args:
        items: What a ``DataLoader`` took from a data set.

    Returns:
        What torch's default collate returns.
    """
    return items.stacked if isinstance(items, Batch) else default_collate(list(items))


def episode_loader(
    episodes: Episodes, tasks_per_batch: int = 4, *, num_workers: int = 0, pin_memory: bool = False
) -> DataLoader[Any]:
    """Batches of tasks in the order of the list, each gathered at once.

    Args:
        episodes: The tasks.
        tasks_per_batch: Tasks of a batch, the meta-batch.
        num_workers: Processes that load; 0 loads in this one, which is quick enough for small images.
        pin_memory: Put batches into page-locked memory, for training on a GPU.

    Returns:
        A loader of Episode with a leading task dimension.

    Raises:
        ConfigurationError: ``tasks_per_batch`` or ``num_workers`` is out of range.

    Example:
        >>> from lightning_lde.fewshot import digits_set
        >>> tasks = Episodes(digits_set(), split="all", shots=1, n_episodes=10)
        >>> [len(batch.index) for batch in episode_loader(tasks, 4)]
        [4, 4, 2]
    """
    _check(tasks_per_batch, num_workers, "tasks_per_batch")
    return DataLoader(
        episodes,
        batch_size=tasks_per_batch,
        collate_fn=collate_batch,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
    )


def classification_loader(
    samples: ClassificationSplit,
    batch_size: int = 64,
    *,
    steps: int | None = None,
    seed: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """Shuffled batches of labelled samples, each gathered at once.

    Args:
        samples: The samples of a split.
        batch_size: Samples of a batch.
        steps: Batches of an epoch, drawn with replacement; None: each sample once.
        seed: Of the order.
        num_workers: Processes that load.
        pin_memory: Put batches into page-locked memory, for training on a GPU.

    Returns:
        A loader of (samples (n, ...), labels (n,)).

    Raises:
        ConfigurationError: A number is out of range.
    """
    _check(batch_size, num_workers, "batch_size")
    if steps is not None and steps < 1:
        raise ConfigurationError(f"steps={steps}: expected at least 1, or None for each sample once.")
    sampler = RandomSampler(
        samples,
        replacement=steps is not None,
        num_samples=None if steps is None else steps * batch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=sampler,
        collate_fn=collate_batch,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
    )


def _check(size: int, num_workers: int, name: str) -> None:
    if size < 1 or num_workers < 0:
        raise ConfigurationError(
            f"{name}={size}, num_workers={num_workers}: expected at least 1 and no negative number of workers."
        )
