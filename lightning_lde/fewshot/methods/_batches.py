"""What a batch of tasks must look like, and how it is taken apart."""

from __future__ import annotations

from typing import Any

import torch

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._episodes import Episode

__all__ = ["check_batch", "check_values", "unstack"]


def check_batch(batch: Any, *, ways: int | None = None) -> None:
    """Refuse a batch that is not made of stacked episodes with the expected number of ways; shapes only.

    Args:
        batch: What a step was given.
        ways: Classes of the model's head, None where any number will do.

    Raises:
        DataError: It is something else, or ways and shots do not fit.
    """
    if not isinstance(batch, Episode) or batch.support_labels.ndim != 2:
        raise DataError(
            f"batch is a {type(batch).__name__}; expected an Episode with a leading task dimension: "
            "use DataLoader(Episodes(...), batch_size=...)."
        )
    found = batch.classes.shape[1]
    if ways is not None and found != ways:
        raise DataError(f"episodes have {found} ways, the model has {ways}: make them equal.")
    if found < 2:
        raise DataError(f"episodes have {found} ways: a task to be learned has at least 2, Episodes(..., ways=2).")
    for part, labels in (("support", batch.support_labels), ("query", batch.query_labels)):
        count = labels.shape[1]
        if count == 0 or count % found:
            raise DataError(
                f"a task has {count} {part} images for {found} classes: expected the same number, at least one, of "
                "each class, as Episodes draws them."
            )


def check_values(batch: Episode) -> None:
    """Refuse images that are no floats, and labels that are not 0 to ways - 1 with equal numbers of each.

    Raises:
        DataError: Something is wrong with the values.
    """
    ways = batch.classes.shape[1]
    if not batch.support_images.is_floating_point():
        raise DataError(
            f"images are {batch.support_images.dtype}: expected float, scaled to [0, 1] as Episodes gives them."
        )
    for part, labels in (("support", batch.support_labels), ("query", batch.query_labels)):
        wanted = torch.arange(ways, device=labels.device).repeat_interleave(labels.shape[1] // ways)
        wrong = (labels.sort(dim=1).values != wanted).any(dim=1)
        if bool(wrong.any()):
            task = int(wrong.nonzero()[0, 0])
            raise DataError(
                f"the {part} labels of task {task} are {labels[task].tolist()}: expected 0 to {ways - 1}, each "
                f"{labels.shape[1] // ways} times, as Episodes draws them."
            )


def unstack(batch: Episode) -> list[Episode]:
    """Return the tasks of a batch."""
    return [Episode(*fields) for fields in zip(*batch, strict=True)]
