"""One quick look at a data set: what it holds is remembered by reference, and read later on another thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_lde.capture._access import get, has_base, is_a, length
from lightning_lde.capture._source import is_library

_MAX_CHAIN = 32
_MAX_PARTS = 10_000
_PARTED = ("ConcatDataset", "ChainDataset", "StackDataset")


@dataclass(frozen=True)
class Look:
    """A data set as it was.

    Attributes:
        thing: The data set.
        own: Its own attributes, a shallow copy; no property ran.
        n: Its length, None if it has none.
        sizes: Lengths of its lists and mappings: one that grew since is not the data.
        inner: The data set that it is a part or a wrapper of.
        parts: Data sets that it is made of, with their names.
    """

    thing: object
    own: Mapping[str, Any] = field(default_factory=dict)
    n: int | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    inner: Look | None = None
    parts: tuple[tuple[str, Look], ...] = ()

    @property
    def chain(self) -> list[Look]:
        """This one, the one that it is a part of, and so on to the root."""
        chain = [self]
        while chain[-1].inner is not None:
            chain.append(chain[-1].inner)
        return chain


def look_at(dataset: object, *, depth: int = 0) -> Look:
    """Take a look at a data set and at those inside it.

    Nothing of it is called but ``len``, so it costs microseconds, whatever the data set holds.

    Args:
        dataset: Any object.
        depth: How many data sets it stands inside of.
    """
    own = _own(dataset)
    n = length(dataset)
    sizes = {name: len(value) for name, value in own.items() if type(value) in (list, dict, set, tuple)}
    if depth >= _MAX_CHAIN or is_a(dataset, type) or callable(get(dataset, "lde_facts")):
        return Look(dataset, own, n, sizes)
    if has_base(dataset, "Subset") and own.get("dataset") is not None:
        return Look(dataset, own, n, sizes, inner=look_at(own["dataset"], depth=depth + 1))
    inside = _inside(dataset, own)
    looks = [(name, look_at(part, depth=depth + 1)) for name, part in inside[:_MAX_PARTS]]
    alone = len(looks) == 1 and not has_base(dataset, *_PARTED) and looks[0][1].n == n
    if alone and not _carries_data(own, n):
        return Look(dataset, own, n, sizes, inner=looks[0][1])
    return Look(dataset, own, n, sizes, parts=tuple(looks))


def _own(thing: object) -> dict[str, Any]:
    try:
        return dict(vars(thing))
    except Exception:
        return {}


def _inside(dataset: object, own: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Data sets that a data set holds: the parts of torch's own, or what lies in the attributes of a user's."""
    if has_base(dataset, *_PARTED):
        parts = own.get("datasets")
        if isinstance(parts, Mapping):
            return [(str(name), part) for name, part in parts.items()]
        return [(str(number), part) for number, part in enumerate(parts)] if isinstance(parts, (list, tuple)) else []
    if is_library(type(dataset)):
        return []
    return [(name, value) for name, value in sorted(own.items()) if _is_dataset(value) and value is not dataset]


def _carries_data(own: Mapping[str, Any], n: int | None) -> bool:
    """Whether a wrapper has something of its own for each sample, such as other labels."""
    holders = (value for name, value in own.items() if "cache" not in name.lower() and not _is_dataset(value))
    return any(not is_a(value, str) and n and length(value) == n for value in holders)


def _is_dataset(value: object) -> bool:
    return not is_a(value, type) and has_base(value, "Dataset", "IterableDataset")
