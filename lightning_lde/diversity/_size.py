"""Equal sizes for the tasks of data sets that are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import ConfigurationError, DataError

from ._halves import coded
from ._inputs import IntArray, Names, whole_numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommonSize:
    """A size of task that every data set can give.

    Args:
        ways: Classes of a task.
        images_per_class: Images of each class, even, so that both halves are equal.
    """

    ways: int
    images_per_class: int


def common_size(
    class_counts: Sequence[npt.ArrayLike], *, ways: int | None = None, images_per_class: int | None = None
) -> CommonSize:
    """The largest tasks that all data sets can give alike.

    The signal of a coefficient grows with ways and images, so data sets compare at equal sizes only. Of the
    sizes that fit, the one with the most images in a task is taken, then that with the most classes.

    Args:
        class_counts: For each data set the number of independent images (or groups) of each of its classes.
        ways: Classes of a task, at least 2; None to choose.
        images_per_class: Images of a class, even and at least 4; None to choose.

    Returns:
        The size.

    Raises:
        DataError: If no size fits every data set.
        ConfigurationError: If ways or images_per_class cannot work.

    Example:
        >>> common_size([[50, 40, 40, 8], [21, 21, 21]])
        CommonSize(ways=3, images_per_class=20)
    """
    if ways is not None and ways < 2:
        raise ConfigurationError(f"ways={ways!r}, expected at least 2; a task needs classes to tell apart.")
    if images_per_class is not None and (images_per_class < 4 or images_per_class % 2):
        raise ConfigurationError(
            f"images_per_class={images_per_class!r}, expected an even number of at least 4: two in each half."
        )
    counts = [_descending(part, number) for number, part in enumerate(class_counts)]
    if not counts:
        raise DataError("class_counts is empty, expected the counts of at least one data set.")
    most = min(part.size for part in counts)
    fits = {w: min(int(part[w - 1]) for part in counts) // 2 * 2 for w in range(2, most + 1) if ways in (None, w)}
    fits = {w: images_per_class or images for w, images in fits.items() if images >= (images_per_class or 4)}
    if not fits:
        poorest = min(range(len(counts)), key=lambda number: (counts[number].size, int(counts[number].sum())))
        raise DataError(
            f"no task size with ways={ways or 'any'}, images_per_class={images_per_class or 'any'} fits every data "
            f"set (class_counts[{poorest}] begins {counts[poorest][:5].tolist()}); gather more, or leave it out."
        )
    best = max(fits, key=lambda w: (w * fits[w], w))
    return CommonSize(ways=best, images_per_class=fits[best])


def subsample(labels: Names, size: CommonSize, *, groups: Names | None = None, seed: int = 0) -> IntArray:
    """Images of a task of the given size, drawn without replacement from those of a larger one.

    Args:
        labels: Class of each image, (N,).
        size: Classes, and images of each.
        groups: What each image was taken from, (N,); no group gives a class two images. None if images are
            independent.
        seed: Follows one draw from many.

    Returns:
        Positions of the images, ascending, (ways · images_per_class,).

    Raises:
        DataError: If too few classes have enough images.

    Example:
        >>> chosen = subsample(["a"] * 9 + ["b"] * 5 + ["c"] * 2, CommonSize(ways=2, images_per_class=4))
        >>> len(chosen), int((chosen < 9).sum())
        (8, 4)
    """
    names, classes = coded(labels, "labels")
    rng = np.random.default_rng(seed)
    usable = rng.permutation(classes.size)
    if groups is not None:
        _, origins = coded(groups, "groups", n=classes.size)
        # The first image in random order of each group and class.
        usable = usable[np.unique(np.stack([classes, origins])[:, usable], axis=1, return_index=True)[1]]
    counts = np.bincount(classes[usable], minlength=len(names))
    rich = np.flatnonzero(counts >= size.images_per_class)
    if rich.size < size.ways:
        raise DataError(
            f"{rich.size} of {len(names)} classes have {size.images_per_class} images, expected {size.ways}; "
            "use common_size() over all data sets first."
        )
    chosen = [
        rng.choice(usable[classes[usable] == name], size=size.images_per_class, replace=False)
        for name in rng.choice(rich, size=size.ways, replace=False)
    ]
    return np.sort(np.concatenate(chosen))


def _descending(counts: npt.ArrayLike, number: int) -> IntArray:
    values = np.atleast_1d(np.asarray(counts))
    return np.sort(whole_numbers(values, f"class_counts[{number}]", n=values.size, minimum=0))[::-1]
