"""The division of classes into train, val and test, as a user states it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.fewshot.data._checks import SPLITS

__all__ = ["ClassSplits", "split_classes"]

ClassSplits: TypeAlias = "Mapping[str, str] | Mapping[str, Sequence[str]] | Mapping[str, float] | Sequence[str] | None"

_FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def split_classes(classes: Sequence[str], splits: ClassSplits = None, *, seed: int = 0) -> tuple[str, ...]:
    """Return "train", "val" or "test" for each class.

    Fractions are exact up to rounding. Which classes a split gets follows from SHA-256 of the seed and the
    class's name, so that neither the order of the classes nor the machine matters.

    Args:
        classes: Names of the classes.
        splits: Split of each class (sequence, or mapping from class to split), classes of each split (mapping
            from split to names), or fractions of the classes (mapping from split to number, sum 1); None:
            60 % train, 20 % val, 20 % test.
        seed: Of a division by fractions.

    Raises:
        ConfigurationError: ``splits`` has none of these forms, or fractions that do not sum to 1.
        DataError: A class has no split or two, or a split would get no class.

    Example:
        >>> split_classes(["a", "b", "c"], {"train": ["c", "a"], "test": ["b"]})
        ('train', 'test', 'train')
        >>> split_classes("abcdefgh", {"train": 0.5, "test": 0.5}).count("test")
        4
    """
    if splits is None:
        splits = _FRACTIONS
    if not isinstance(splits, Mapping):
        return _one_each(classes, splits)
    if splits and all(isinstance(value, (int, float)) for value in splits.values()):
        return _by_fractions(classes, cast(Mapping[str, float], splits), seed)
    if splits and all(isinstance(value, str) for value in splits.values()):
        return _by_name(classes, cast(Mapping[str, str], splits))
    if splits and all(isinstance(value, (Sequence, set, frozenset)) for value in splits.values()):
        pairs = [(name, part) for part, names in cast(Mapping[str, Sequence[str]], splits).items() for name in names]
        if len(twice := dict(pairs)) < len(pairs):
            several = sorted({name for name, part in pairs if twice[name] != part or pairs.count((name, part)) > 1})
            raise DataError(f"classes {several[:5]} stand in more than one place of splits: name each once.")
        return _by_name(classes, twice)
    raise _unknown_form(splits)


def _one_each(classes: Sequence[str], splits: Sequence[str]) -> tuple[str, ...]:
    if isinstance(splits, str) or not isinstance(splits, Sequence):
        raise _unknown_form(splits)
    if len(splits) != len(classes):
        raise DataError(f"{len(splits)} splits for {len(classes)} classes: give one each.")
    return _known(splits)


def _by_name(classes: Sequence[str], splits: Mapping[str, str]) -> tuple[str, ...]:
    if missing := [name for name in classes if name not in splits]:
        raise DataError(f"splits names no split for {len(missing)} classes, such as {missing[:5]}: name each class.")
    if unknown := sorted(set(splits) - set(classes)):
        raise DataError(f"splits names classes that there are not: {unknown[:5]}; there are {list(classes)[:5]}, …")
    return _known([splits[name] for name in classes])


def _by_fractions(classes: Sequence[str], fractions: Mapping[str, float], seed: int) -> tuple[str, ...]:
    _known(list(fractions))
    if min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise ConfigurationError(f"splits={dict(fractions)}: expected fractions of at least 0 that sum to 1.")
    counts = _counts(len(classes), fractions)
    if empty := [part for part, fraction in fractions.items() if fraction > 0 and counts[part] == 0]:
        raise DataError(
            f"{len(classes)} classes are too few for {dict(fractions)}: split {empty[0]!r} would get none; "
            "change the fractions or add classes."
        )
    order = sorted(classes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    parts = [part for part in SPLITS for _ in range(counts.get(part, 0))]
    place = dict(zip(order, parts, strict=True))
    return tuple(place[name] for name in classes)


def _counts(n_classes: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that sum to the number of classes, by the largest remainder."""
    exact = {part: n_classes * fraction for part, fraction in fractions.items()}
    counts = {part: int(value + 1e-9) for part, value in exact.items()}
    by_remainder = sorted(exact, key=lambda part: (counts[part] - exact[part], SPLITS.index(part)))
    for part in by_remainder[: n_classes - sum(counts.values())]:
        counts[part] += 1
    return counts


def _known(splits: Sequence[str]) -> tuple[str, ...]:
    if wrong := sorted({str(one) for one in splits} - set(SPLITS)):
        raise DataError(f"splits {wrong[:5]} are unknown: use {SPLITS}.")
    return tuple(splits)


def _unknown_form(splits: Any) -> ConfigurationError:
    return ConfigurationError(
        f"splits={splits!r}: expected one split a class, a mapping from class to split, from split to classes, "
        "or from split to fraction."
    )
