"""What a monitor says: coverage of regions, scores of candidates, and warnings in words."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from ._coverage import ClassCoverage, KindScore, RegionCoverage, gains, similarity
from ._crossvalidated import CrossValidatedCoefficient
from ._inputs import FloatArray
from ._observations import Observation
from ._regions import Novelty, Regions
from ._stopping import GrowthCusum

_NEIGHBOURS_APART = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorReport:
    """How diverse the data are so far.

    Args:
        batches: Batches taken.
        images: Samples in observations.
        waiting: Samples that wait for more of their kind, or for a second group of it.
        copies: Samples that were left out as copies.
        coefficient: Cross-validated coefficient over observations; None below three.
        effective: Effective number of regions of order 2 at ``scale``; 0 without any.
        scale: Distance at which two regions count as mostly different.
        unseen: Good-Turing estimate of the probability that the next observation founds a region, if
            observations are drawn at random; 1 without any.
        classes: Coverage of each class.
        regions: Coverage of each region, and what more of it would add.
        stopped: Whether diversity has stopped growing.
        warnings: What a person who collects data should know, in words.
    """

    batches: int
    images: int
    waiting: int
    copies: int
    coefficient: CrossValidatedCoefficient | None
    effective: float
    scale: float
    unseen: float
    classes: tuple[ClassCoverage, ...]
    regions: tuple[RegionCoverage, ...]
    stopped: bool
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """Regions with their distances, and how similar they count as.

    Args:
        images: Samples of each region, (R,).
        distances: Cross-validated distances between regions, 0 on the diagonal, (R, R).
        scale: Distance at which two regions count as mostly different.
        typical: Samples of a typical observation.
    """

    images: FloatArray
    distances: FloatArray
    scale: float
    typical: float

    @classmethod
    def of(cls, regions: Regions, *, scale: float | None) -> Landscape:
        """The landscape of at least one region.

        Args:
            regions: The regions.
            scale: Distance at which two count as mostly different; None for a third of the mean distance
                to the nearest other one, so that neighbours are 5 % alike.
        """
        distances = regions.distances(*regions.means())
        np.fill_diagonal(distances, 0.0)
        nearest = (distances + np.diag(np.full(len(distances), np.inf))).min(axis=1)
        apart = nearest[(nearest > 0.0) & np.isfinite(nearest)]
        images = regions.images()
        return cls(
            images=images,
            distances=distances,
            scale=scale or (float(apart.mean()) / _NEIGHBOURS_APART if apart.size else 1.0),
            typical=float(images.sum() / sum(regions.observations)),
        )

    @property
    def effective(self) -> float:
        """Effective number of regions of order 2, weighted by samples."""
        z = similarity(self.distances, self.scale)
        return float(self.images.sum() ** 2 / (self.images @ z @ self.images))

    def gains(self, distances: FloatArray) -> FloatArray:
        """By how much typical observations at the given distances to the regions, (k, R), raise `effective`."""
        z = similarity(self.distances, self.scale)
        return gains(self.images, z, similarity(distances, self.scale), weight=self.typical)

    def coverage(self, labels: Sequence[Mapping[Hashable, int]]) -> tuple[RegionCoverage, ...]:
        """Coverage of each region.

        Args:
            labels: Samples by class, of each region.
        """
        gain = self.gains(self.distances)
        others = self.distances + np.diag(np.full(len(self.images), np.inf))
        return tuple(
            RegionCoverage(
                number=number,
                images=int(self.images[number]),
                share=float(self.images[number] / self.images.sum()),
                labels=dict(of_region),
                nearest=float(others[number].min()) if len(others) > 1 else None,
                gain=float(gain[number]),
            )
            for number, of_region in enumerate(labels)
        )


def scores(
    kinds: list[Observation], news: list[Novelty], regions: Regions, *, scale: float | None, level: float
) -> tuple[KindScore, ...]:
    """Score kinds of candidates by what an observation of each would add.

    Args:
        kinds: An observation of each kind.
        news: How it compares with the nearest region.
        regions: The regions of the data.
        scale: Distance at which two regions count as mostly different; None for a third of the mean
            distance to the nearest other one.
        level: p up to which a kind is new.

    Returns:
        Scores, the largest gain first.
    """
    land = Landscape.of(regions, scale=scale)
    distances = regions.distances(np.stack([kind.first for kind in kinds]), np.stack([kind.second for kind in kinds]))
    for row, new in enumerate(news):
        if new.p > level:
            # Of a known region: what it lies off the region's mean is noise, and would look like a gain.
            distances[row] = land.distances[new.region]
    found = [
        KindScore(
            label=kind.label,
            images=sum(kind.counts),
            new=new.p <= level,
            p=new.p,
            region=new.region,
            distance=new.distance,
            gain=float(gain),
        )
        for kind, new, gain in zip(kinds, news, land.gains(distances), strict=True)
    ]
    return tuple(sorted(found, key=lambda score: -score.gain))


def warnings_of(
    cusum: GrowthCusum,
    news: Sequence[bool],
    classes: Sequence[ClassCoverage],
    regions: Sequence[RegionCoverage],
) -> tuple[str, ...]:
    """What a person who collects data should know.

    Args:
        cusum: The test of growth.
        news: Whether each batch brought something new, in order.
        classes: Coverage of the classes.
        regions: Coverage of the regions.
    """
    found = []
    if cusum.stopped:
        last = news[-cusum.threshold - cusum.step_back :]
        best = collections.Counter(max(regions, key=lambda region: region.gain).labels)
        named = ", ".join(str(label) for label, _ in best.most_common(3))
        found.append(
            f"Diversity has stopped growing: {sum(last)} of the last {len(last)} batches brought something new, "
            f"in data that grow at least {cusum.growth:.0%} do. Collect other kinds; of those that are there, more "
            f"of {named} would add most."
        )
    missing = [one for one in classes if one.missing]
    if missing:
        named = ", ".join(f"{one.label} ({one.share:.1%} of {one.expected or 0.0:.1%})" for one in missing[:5])
        found.append(
            f"{len(missing)} of {sum(bool(one.expected) for one in classes)} expected classes are missing or rare: "
            f"{named}{', ...' if len(missing) > 5 else ''}. Collect more of them."
        )
    return tuple(found)
