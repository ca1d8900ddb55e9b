"""Two independent halves of a task's images: by class, and never through a group or a pair of copies."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lightning_lde.errors import DataError

from ._inputs import IntArray, Names, listed

_SEARCHED = 1 << 12


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Halves:
    """Positions of the images of both halves.

    Args:
        first: Positions in the first half, ascending.
        second: Positions in the second half, ascending.
    """

    first: IntArray
    second: IntArray


def halve(labels: Names, *, groups: Names | None = None, content: Names | None = None, seed: int = 0) -> Halves:
    """Split the images of a task into two independent halves of nearly equal classes.

    A group (recording, clip, writer) stays in one half, even where it spans classes, and so do copies: noise
    that the halves share would count as diversity. Each half has images of every class.

    Where tasks share images, halve the data set once and draw both halves of each task from its two pools:
    an image in the first half of one task and the second of another would tie their noise.

    Args:
        labels: Class of each image, (N,).
        groups: What each image was taken from, (N,); images of one group are not independent.
        content: The images themselves, (N, ...), or a hash of each; equal ones stay together.
        seed: Follows one split from many possible.

    Returns:
        The halves; together they hold every image once.

    Raises:
        DataError: If a class has fewer than two independent items, groups tie the classes together so that no
            split was found, or lengths differ.

    Example:
        >>> halves = halve(["cat", "cat", "dog", "dog", "dog", "dog"], groups=[1, 2, 3, 3, 4, 4])
        >>> len(halves.first), len(halves.second)
        (3, 3)

    Source: independent partitions are what the cross-validated distance needs: Walther et al. (2016),
    NeuroImage 137, 188-200.
    """
    names, classes = coded(labels, "labels")
    units = _units(classes.size, groups, content)
    counts = np.zeros((int(units.max(initial=-1)) + 1, len(names)), dtype=np.int64)
    np.add.at(counts, (units, classes), 1)
    _check_enough_units(counts, names)
    rng = np.random.default_rng(seed)
    in_first = _assigned(counts, rng)
    if not _complete(counts, in_first[None])[0]:
        in_first = _searched(counts, rng, names)
    chosen = in_first[units]
    return Halves(first=np.flatnonzero(chosen), second=np.flatnonzero(~chosen))


def check_halves(halves: Halves, labels: Names, *, groups: Names | None = None, content: Names | None = None) -> None:
    """Refuse halves, made by whatever means, that are not independent or lack a class.

    Args:
        halves: Positions of both halves.
        labels: Class of each image, (N,).
        groups: What each image was taken from, (N,).
        content: The images themselves, (N, ...), or a hash of each.

    Raises:
        DataError: If a position, a group or a copy is in both halves, or a class is missing from one.

    Example:
        >>> check_halves(Halves(first=np.array([0, 1]), second=np.array([2, 3])), [0, 1, 0, 1])
    """
    names, classes = coded(labels, "labels")
    units = _units(classes.size, groups, content)
    shared = np.intersect1d(units[halves.first], units[halves.second])
    if shared.size:
        positions = np.flatnonzero(units == shared[0]).tolist()
        raise DataError(
            f"images {positions[:5]} are one item (the same image, copies, or one group) and lie in both halves, "
            "expected independent halves: their shared noise would count as diversity; use halve()."
        )
    for which, positions in (("first", halves.first), ("second", halves.second)):
        missing = set(range(len(names))) - set(classes[positions].tolist())
        if missing:
            raise DataError(f"the {which} half has no image of class {names[min(missing)]!r}, expected every class.")


def coded(values: Names, name: str, *, n: int | None = None) -> tuple[list[Hashable], IntArray]:
    """Distinct values in the order of their appearance, and the number of each item's value."""
    items = listed(values)
    if not items or (n is not None and len(items) != n):
        raise DataError(f"{name} has {len(items)} values, expected {n or 'at least 1'}; give one for each image.")
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)
    return list(numbers), codes


def _units(n: int, groups: Names | None, content: Names | None) -> IntArray:
    """The number of the independent item that each image belongs to: images tied by groups and copies."""
    ties = [] if groups is None else [coded(groups, "groups", n=n)[1]]
    if content is not None:
        ties.append(coded(_digests(content), "content", n=n)[1])
    if not ties:
        return np.arange(n)
    # Image i and the first image with its value are an edge; what is connected is one item.
    nodes = np.concatenate([np.arange(n) for _ in ties])
    first_of = np.concatenate([np.unique(codes, return_index=True)[1][codes] for codes in ties])
    edges = coo_array((np.ones(nodes.size), (nodes, first_of)), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def _digests(content: Names) -> Sequence[Hashable]:
    items = np.asarray(content)
    if items.ndim < 2 or items.dtype == object:
        return listed(content)
    return [hashlib.sha256(np.ascontiguousarray(item).tobytes()).digest() for item in items]


def _check_enough_units(counts: IntArray, names: list[Hashable]) -> None:
    items = (counts > 0).sum(axis=0)
    if (items < 2).any():
        poorest = int(np.argmin(items))
        raise DataError(
            f"class {names[poorest]!r} has {items[poorest]} independent item, expected at least 2, one for each "
            "half; images of one group and copies count once. Gather more, or leave the class out."
        )


def _assigned(counts: IntArray, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which items go to the first half: large ones first, each where it leaves the classes most even."""
    # One class after the other among items of one size, so that an odd class meets the even ones settled.
    by_class = rng.permutation(counts.shape[1])[counts.argmax(axis=1)]
    order = np.lexsort((rng.random(len(counts)), by_class, -counts.sum(axis=1)))
    balance = np.zeros(counts.shape[1], dtype=np.int64)
    in_first = np.zeros(len(counts), dtype=bool)
    for unit in order:
        gain = int((counts[unit] * balance).sum())
        # Between equally even classes the total decides, so that odd classes do not all lean one way.
        lean = gain or int(balance.sum()) or int(rng.integers(2)) * 2 - 1
        in_first[unit] = lean < 0
        balance += counts[unit] if in_first[unit] else -counts[unit]
    return in_first


def _searched(counts: IntArray, rng: np.random.Generator, names: list[Hashable]) -> npt.NDArray[np.bool_]:
    """The most even split with every class in both halves, of all splits where there are few items."""
    items = len(counts)
    if 2**items <= _SEARCHED:
        sides = np.arange(2**items)[:, None] >> np.arange(items) & 1 == 1
    else:
        sides = rng.random((_SEARCHED, items)) < 0.5
    sides = sides[_complete(counts, sides)]
    if not len(sides):
        raise DataError(
            f"no split of {items} independent items of {len(names)} classes gave both halves every class; "
            "groups or copies tie classes together: name smaller groups, or leave those classes out."
        )
    uneven = (((2 * sides - 1) @ counts) ** 2).sum(axis=1)
    return np.asarray(sides[int(np.argmin(uneven))])


def _complete(counts: IntArray, sides: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """For each split (rows of ``sides``) whether both halves have every class."""
    present = (counts > 0).astype(np.int64)
    return np.asarray(((sides @ present > 0) & (~sides @ present > 0)).all(axis=1))
