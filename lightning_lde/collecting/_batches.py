"""What the samples of a training batch are, whatever form a loader gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_lde.errors import DataError

_SAMPLES = ("image", "images", "pixel_values", "x", "input", "inputs")
_LABELS = ("label", "labels", "y", "target", "targets")


class Samples(NamedTuple):
    """Samples and what is known of them.

    Attributes:
        values: (N, ...): images (N, C, H, W), or numbers of any shape. Whole numbers of one byte count as pixels.
        labels: Class of each, (N,); None where there is none.
        groups: What each was taken from (recording, writer), (N,); None where samples are independent.
    """

    values: Tensor
    labels: Sequence[Any] | Tensor | None = None
    groups: Sequence[Any] | Tensor | None = None


def samples_of(batch: Any) -> Samples:
    """The samples of a batch in one of the usual forms.

    These are pairs (samples, labels, ...), mappings with such names as ``image`` and ``label`` or ``x`` and ``y``,
    few-shot tasks with ``support_images`` and ``classes`` (see `lightning_lde.fewshot.Episode`), and samples alone.

    Args:
        batch: What a loader gave.

    Raises:
        DataError: If no samples can be found in it.

    Example:
        >>> found = samples_of({"image": torch.zeros(2, 1, 4, 4), "label": torch.tensor([3, 5])})
        >>> tuple(found.values.shape), found.labels.tolist()
        ((2, 1, 4, 4), [3, 5])
    """
    if hasattr(batch, "support_images"):
        return _of_tasks(batch)
    values, labels = _parts(batch)
    if not isinstance(values, Tensor) or values.ndim < 2:
        what = f"a tensor of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise DataError(
            f"a batch of type {type(batch).__name__} holds {what} where samples (N, ...) were expected; give a "
            "function samples= that takes a batch and returns Samples(values, labels)."
        )
    return Samples(values, labels if _is_label(labels, len(values)) else None)


def _parts(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        return _first(batch, _SAMPLES), _first(batch, _LABELS)
    if isinstance(batch, (tuple, list)) and batch:
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def _first(batch: Mapping[Any, Any], names: Sequence[str]) -> Any:
    return next((batch[name] for name in names if name in batch), None)


def _is_label(labels: Any, n: int) -> bool:
    if isinstance(labels, Tensor):
        # Classes are whole numbers; a target of a regression is none.
        return labels.shape == (n,) and not labels.is_floating_point()
    return isinstance(labels, (list, tuple)) and len(labels) == n


def _of_tasks(batch: Any) -> Samples:
    """Support and query images of one task or a stack of tasks, by the data set's own classes."""
    values, labels = [], []
    for images, numbers in (
        (batch.support_images, batch.support_labels),
        (batch.query_images, batch.query_labels),
    ):
        stacked = numbers.ndim == 2
        classes = batch.classes if stacked else batch.classes[None]
        rows = numbers if stacked else numbers[None]
        values.append(images.flatten(0, 1) if stacked else images)
        labels.append(torch.gather(classes, 1, rows).flatten())
    return Samples(torch.cat(values), torch.cat(labels))
