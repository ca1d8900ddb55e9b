"""Rotated classes: each class once more at 90, 180 and 270 degrees, as is usual for Omniglot."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._dataset import SPLITS, FewShotDataset

__all__ = ["with_rotations"]

_QUARTERS = (1, 2, 3)


def with_rotations(dataset: FewShotDataset, *, splits: Sequence[str] = ("train",)) -> FewShotDataset:
    """Return a data set with further classes: those of some splits, turned by quarters of a circle.

    Args:
        dataset: Square images.
        splits: Whose classes are turned; the others stay as they are.

    Returns:
        A set with an identity of its own, whose ``source`` names the original with the beginning of its fingerprint.
        The class ``a``, turned counter-clockwise, is called ``a@90``, ``a@180`` and ``a@270``.

    Raises:
        DataError: The samples are no square images, or a split is unknown.

    Source: Santoro et al., Meta-Learning with Memory-Augmented Neural Networks, 2016, section 4.1.

    Example:
        >>> from lightning_lde.fewshot import digits_set
        >>> digits = digits_set()
        >>> turned = with_rotations(digits)
        >>> turned.split("train").n_classes == 4 * digits.split("train").n_classes
        True
        >>> turned.split("test").classes == digits.split("test").classes
        True
    """
    shape = tuple(dataset.images.shape[1:])
    if len(shape) != 3 or shape[1] != shape[2]:
        raise DataError(
            f"data set {dataset.name!r} holds samples of shape {shape}, not square images: bring them to one."
        )
    if unknown := set(splits) - set(SPLITS):
        raise DataError(f"split {sorted(unknown)} is unknown: use some of {SPLITS}.")
    turned = [number for number, split in enumerate(dataset.class_splits) if split in splits]
    place = torch.full((dataset.n_classes,), -1, dtype=torch.int64)
    place[turned] = torch.arange(len(turned))
    rows = torch.nonzero(place[dataset.labels] >= 0).flatten()
    images, labels = dataset.images[rows], place[dataset.labels[rows]]
    starts = [dataset.n_classes + number * len(turned) for number in range(len(_QUARTERS))]
    parts = dataset.class_parts
    return FewShotDataset(
        name=dataset.name,
        images=torch.cat([dataset.images, *(images.rot90(quarter, (2, 3)) for quarter in _QUARTERS)]).contiguous(),
        labels=torch.cat([dataset.labels, *(labels + start for start in starts)]),
        classes=dataset.classes + tuple(f"{dataset.classes[n]}@{90 * q}" for q in _QUARTERS for n in turned),
        class_splits=dataset.class_splits + tuple(dataset.class_splits[n] for n in turned) * len(_QUARTERS),
        licence=dataset.licence,
        source=f"{dataset.name} ({dataset.original.fingerprint[:12]}) with classes of {', '.join(splits)} rotated",
        preparation=dataset.preparation,
        class_parts=None if parts is None else parts + tuple(parts[n] for n in turned) * len(_QUARTERS),
    )
