"""Samples on their way to observations: one kind, two independent halves, each large enough to be measured."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Hashable

import numpy as np
from scipy.linalg import helmert

from ._inputs import FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """Samples of one kind, as the means of two independent halves.

    Args:
        label: What the samples are called.
        first: Mean of the first half, (D,).
        second: Mean of the second half, (D,).
        counts: Samples of both halves.
        noise: Rows whose second moment is the covariance of one sample, (k, D).
    """

    label: Hashable
    first: FloatArray
    second: FloatArray
    counts: tuple[int, int]
    noise: FloatArray


def observation_of_halves(label: Hashable, first: FloatArray, second: FloatArray, *, images: int) -> Observation:
    """An observation that is known by its halves only.

    Args:
        label: What it is called.
        first: Profile of the first half, (D,).
        second: Profile of the second half, (D,).
        images: Samples of both halves together.
    """
    of_half = max(1, images // 2)
    # Two means of m samples differ with 2/m of the covariance of one.
    noise = (first - second)[None] * np.sqrt(of_half / 2.0)
    return Observation(label=label, first=first, second=second, counts=(of_half, of_half), noise=noise)


class SamplePool:
    """Keeps samples until their kind has enough for an observation, and groups in one half for ever.

    Samples of a group (recording, writer) always join the same half, and copies of a sample that was seen
    are dropped: what both halves share would count as new.

    Args:
        images: Samples of an observation at least, half of them in each half.
    """

    def __init__(self, *, images: int) -> None:
        self._of_half = images // 2
        self._waiting: dict[Hashable, tuple[list[FloatArray], list[FloatArray]]] = {}
        self._placed: dict[Hashable, list[int]] = {}
        self._half_of_group: dict[Hashable, int] = {}
        self._seen: set[bytes] = set()
        self.copies = 0

    @property
    def waiting(self) -> int:
        """Samples that wait for more of their kind."""
        return sum(len(one) + len(two) for one, two in self._waiting.values())

    def add(self, label: Hashable, features: FloatArray, group: Hashable = None) -> bool:
        """Take a sample.

        Args:
            label: Its kind.
            features: (D,).
            group: What it was taken from; None for a sample of its own.

        Returns:
            Whether it was taken; a copy of one that was seen is not.
        """
        content = hashlib.blake2b(features.tobytes(), digest_size=16).digest()
        if content in self._seen:
            self.copies += 1
            return False
        self._seen.add(content)
        halves = self._waiting.setdefault(label, ([], []))
        halves[self._half(label, group)].append(features)
        return True

    def fork(self, *, images: int) -> SamplePool:
        """An empty pool that knows the samples and groups of this one, for samples that are only looked at."""
        other = SamplePool(images=images)
        other._seen = set(self._seen)
        other._half_of_group = dict(self._half_of_group)
        return other

    def ready(self) -> list[Observation]:
        """Observations of all kinds that have enough samples; their samples leave the pool."""
        full = [label for label, halves in self._waiting.items() if min(map(len, halves)) >= self._of_half]
        return [_observation(label, *map(np.stack, self._waiting.pop(label))) for label in full]

    def _half(self, label: Hashable, group: Hashable) -> int:
        placed = self._placed.setdefault(label, [0, 0])
        emptier = int(placed[1] < placed[0])
        half = emptier if group is None else self._half_of_group.setdefault(group, emptier)
        placed[half] += 1
        return half


def _observation(label: Hashable, first: FloatArray, second: FloatArray) -> Observation:
    # Orthonormal contrasts: m - 1 independent rows, each with the covariance of one sample.
    noise = [helmert(len(half)) @ half for half in (first, second) if len(half) > 1]
    return Observation(
        label=label,
        first=first.mean(axis=0),
        second=second.mean(axis=0),
        counts=(len(first), len(second)),
        noise=np.concatenate(noise) if noise else (first - second) * np.sqrt(0.5),
    )
