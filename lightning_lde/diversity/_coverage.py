"""Coverage per class and region, what is missing, and which kinds would add most."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping

import numpy as np
from scipy import stats

from ._inputs import FloatArray

_MISSING_BELOW = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassCoverage:
    """How much of the data one class makes up.

    Args:
        label: The class.
        images: Its samples.
        share: Its share of all samples.
        low: Lower bound of the interval of the share.
        high: Upper bound of it.
        expected: The share it should have; None if nothing was said.
        missing: Whether the share lies, by its interval, below half of the expected one.
    """

    label: Hashable
    images: int
    share: float
    low: float
    high: float
    expected: float | None
    missing: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionCoverage:
    """A region of the data and what more of it would add.

    Args:
        number: Regions are numbered in the order in which they appeared.
        images: Its samples.
        share: Its share of all samples.
        labels: Its samples by class.
        nearest: Cross-validated distance to the nearest other region; None if there is none.
        gain: By how much one more observation of it changes the effective number of regions.
    """

    number: int
    images: int
    share: float
    labels: dict[Hashable, int]
    nearest: float | None
    gain: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class KindScore:
    """How much a kind of candidates would add.

    Args:
        label: The kind.
        images: Candidates of it.
        new: Whether it differs from all regions by more than noise.
        p: One-sided p of belonging to the nearest region.
        region: Number of that region.
        distance: Cross-validated distance to it.
        gain: By how much one observation of it would raise the effective number of regions.
    """

    label: Hashable
    images: int
    new: bool
    p: float
    region: int | None
    distance: float
    gain: float


def class_coverage(
    images: Mapping[Hashable, int], expected: Mapping[Hashable, float] | None, *, confidence: float
) -> tuple[ClassCoverage, ...]:
    """Coverage of each class that was seen or is expected.

    Args:
        images: Samples by class.
        expected: Shares that classes should have; None if nothing is known.
        confidence: Coverage of the intervals of the shares, a fraction.

    Returns:
        The expected classes in their order, then the others.

    Source: Wilson (1927), JASA 22, 209-212 (interval of a share).
    """
    total = sum(images.values())
    found = []
    for label in {**dict.fromkeys(expected or ()), **dict.fromkeys(images)}:
        count = images.get(label, 0)
        low, high = _interval(count, total, confidence)
        wished = None if expected is None else expected.get(label, 0.0)
        found.append(
            ClassCoverage(
                label=label,
                images=count,
                share=count / total if total else 0.0,
                low=low,
                high=high,
                expected=wished,
                missing=wished is not None and high < _MISSING_BELOW * wished,
            )
        )
    return tuple(found)


def _interval(count: int, total: int, confidence: float) -> tuple[float, float]:
    if total == 0:
        return 0.0, 1.0
    found = stats.binomtest(count, total).proportion_ci(confidence_level=confidence, method="wilson")
    return float(found.low), float(found.high)


def similarity(distances: FloatArray, scale: float) -> FloatArray:
    """exp(-d / scale), with distances below 0, which are noise, as 0."""
    return np.asarray(np.exp(-np.maximum(distances, 0.0) / scale))


def gains(weights: FloatArray, similarities: FloatArray, added: FloatArray, *, weight: float) -> FloatArray:
    """By how much an addition changes the effective number of regions of order 2, W² / (w'Zw).

    Args:
        weights: Samples of each region, (R,).
        similarities: Similarity Z of the regions to each other, (R, R).
        added: Similarity of each addition to the regions, (k, R).
        weight: Samples of an addition.

    Returns:
        (k,).

    Source: Leinster and Cobbold (2012), Ecology 93, 477-489.
    """
    total, inner = weights.sum(), weights @ similarities @ weights
    after = (total + weight) ** 2 / (inner + 2.0 * weight * added @ weights + weight**2)
    return np.asarray(after - total**2 / inner)
