"""Several data sets as one, for graded diversity."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lightning_lde.errors import DataError
from lightning_lde.fewshot.data._dataset import FewShotDataset
from lightning_lde.fewshot.data._preparation import check_form

__all__ = ["union"]


def union(
    name: str, datasets: Sequence[FewShotDataset], *, size: int | None = None, channels: int | None = None
) -> FewShotDataset:
    """Return the classes of several data sets as one set; a class is called ``set/class``.

    Parts of one form stay as they are. Images of different forms are ``prepared``: to ``size``, by default the
    smallest height among the parts, and to ``channels``, by default the most that a part has.

    Args:
        name: What to call the union.
        datasets: At least two, with different names; a split counts as the set it is.
        size: Height and width of the result.
        channels: 1 or 3.

    Returns:
        A set with an identity of its own, whose ``source`` names each part with the beginning of its
        fingerprint. ``Episodes(..., within="part")`` draws the classes of a task from one part.

    Raises:
        ConfigurationError: ``size`` or ``channels`` cannot work.
        DataError: There are too few parts, two of one name, or parts that cannot be brought to one form.

    Example:
        >>> from lightning_lde.fewshot import digits_set
        >>> digits = digits_set()
        >>> halves = [digits.split("train"), digits.split("test")]
        >>> from dataclasses import replace
        >>> both = union("both", [replace(half, name=f"half {n}") for n, half in enumerate(halves)])
        >>> both.n_classes == digits.split("train").n_classes + digits.split("test").n_classes
        True
    """
    check_form(size, channels)
    _check_names(name, datasets)
    parts = _of_one_form(name, datasets, size, channels)
    offsets = torch.tensor([0, *(part.n_classes for part in parts)]).cumsum(0).tolist()
    labels = [part.labels + offset for part, offset in zip(parts, offsets, strict=False)]
    preparations = list(dict.fromkeys(part.preparation for part in parts if part.preparation is not None))
    return FewShotDataset(
        name=name,
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat(labels),
        classes=tuple(f"{part.name}/{one}" for part in parts for one in part.classes),
        class_splits=tuple(split for part in parts for split in part.class_splits),
        licence="; ".join(dict.fromkeys(part.licence for part in parts if part.licence)) or None,
        source="union of " + ", ".join(f"{part.name} ({part.original.fingerprint[:12]})" for part in parts),
        preparation="; ".join(preparations) or None,
        class_parts=tuple(part.name for part in parts for _ in part.classes),
    )


def _check_names(name: str, datasets: Sequence[FewShotDataset]) -> None:
    names = [dataset.name for dataset in datasets]
    if len(names) < 2:
        raise DataError(f"union {name!r} has {len(names)} parts: give at least two data sets.")
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise DataError(f"union {name!r} has several parts called {twice[:5]}: rename them with dataclasses.replace.")


def _of_one_form(
    name: str, datasets: Sequence[FewShotDataset], size: int | None, channels: int | None
) -> list[FewShotDataset]:
    if len({dataset.images.dtype for dataset in datasets}) > 1:
        types = {dataset.name: dataset.sample_dtype for dataset in datasets}
        raise DataError(f"union {name!r}: the parts are of different types, {types}: images and floats do not mix.")
    shapes = [tuple(dataset.images.shape[1:]) for dataset in datasets]
    if len(set(shapes)) == 1 and size is None and channels is None:
        return list(datasets)
    if any(len(shape) != 3 for shape in shapes):
        raise DataError(f"union {name!r}: the samples have the shapes {shapes}, which cannot be brought to one form.")
    size = size or min(shape[1] for shape in shapes)
    channels = channels or max(shape[0] for shape in shapes)
    return [dataset.prepared(size=size, channels=channels) for dataset in datasets]
