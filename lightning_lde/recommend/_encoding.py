"""Settings of configurations as numbers that trees and kernels can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ._table import FloatArray, IntArray, Settings

_MOST_WORDS = 30
_ABSENT = -1.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EncodedSettings:
    """Settings as a matrix.

    Args:
        names: Settings that differ between configurations.
        matrix: Shape (configurations, columns), finite, each column from 0 to 1; -1 where a setting is absent.
        owner: Setting that each column belongs to, as a place in the names, shape (columns,).
    """

    names: tuple[str, ...]
    matrix: FloatArray
    owner: IntArray


def encode_settings(settings: Sequence[Settings]) -> EncodedSettings:
    """Encode settings: numbers by their rank among the different values, words as one column each.

    Ranks make learning rates and numbers of layers comparable without asking which of them is logarithmic.

    Args:
        settings: Settings of each configuration.
    """
    names: list[str] = []
    blocks: list[FloatArray] = []
    owner: list[int] = []
    for name in sorted({name for one in settings for name in one}):
        values = [one.get(name) for one in settings]
        block = _column(values)
        if block.shape[1]:
            owner += [len(names)] * block.shape[1]
            names.append(name)
            blocks.append(block)
    matrix = np.concatenate(blocks, axis=1) if blocks else np.zeros((len(settings), 0))
    return EncodedSettings(names=tuple(names), matrix=matrix, owner=np.array(owner, dtype=np.int64))


def _column(values: list[object]) -> FloatArray:
    # Types first: there are many values and few types.
    if all(issubclass(kind, int | float) for kind in set(map(type, values)) - {type(None)}):
        numbers = np.array(values, dtype=np.float64)
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        different = np.unique(numbers[np.isfinite(numbers)])
        if different.size < 2 and np.isfinite(numbers).all():
            return np.zeros((len(values), 0))
        ranks = np.searchsorted(different, numbers) / max(different.size - 1, 1)
        return np.where(np.isfinite(numbers), ranks, _ABSENT)[:, None]
    words = [repr(value) for value in values]
    common = sorted(set(words), key=lambda word: (-words.count(word), word))[:_MOST_WORDS]
    if len(common) < 2:
        return np.zeros((len(values), 0))
    return np.array([[float(word == one) for one in common] for word in words])
