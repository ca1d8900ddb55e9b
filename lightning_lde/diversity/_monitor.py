"""Diversity while data are being collected: the coefficient, what is covered, and when growth has stopped."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Hashable, Mapping

import numpy as np
import numpy.typing as npt

from lightning_lde.errors import ConfigurationError, DataError

from ._coefficient import MIN_TASKS
from ._coverage import KindScore, class_coverage
from ._crossvalidated import CrossValidatedCoefficient, crossvalidated_coefficient
from ._inputs import (
    FloatArray,
    Names,
    finite_rows,
    fraction,
    halves_of_rows,
    listed,
    positive,
    same_dimension,
    whole_numbers,
)
from ._observations import Observation, SamplePool, observation_of_halves
from ._regions import Regions
from ._report import Landscape, MonitorReport, scores, warnings_of
from ._stopping import GrowthCusum
from ._sums import DiversitySums


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonitorUpdate:
    """What one batch did.

    Args:
        batch: Number of the batch, from 1.
        observations: Observations that it completed.
        new: Whether one of them differs from all regions by more than noise; None if nothing could be said yet.
        new_regions: Numbers of the regions that it founded.
        value: Cross-validated coefficient so far; None below two observations.
        stopped: Whether diversity counts as having stopped growing.
        alarm: Whether it does so since this batch.
    """

    batch: int
    observations: int
    new: bool | None
    new_regions: tuple[int, ...]
    value: float | None
    stopped: bool
    alarm: bool


class DiversityMonitor:
    """Watches a data set grow and says when what comes in adds nothing new.

    Samples of one class and batch make an observation with two independent halves. An observation that differs
    from every region so far by more than noise founds a region, and its batch counts as new; what does not
    joins the nearest region. `GrowthCusum` follows the batches: while at least ``growth`` of them bring
    something new, the probability of a warning within ``horizon`` batches is at most ``false_alarm``. "Brings
    something new" means that the difference is large enough, beside the noise of ``images`` samples, to be
    found; smaller differences need more.

    The observations stay in memory, 16 D bytes each, because the interval needs them.

    Args:
        images: Samples of an observation at least, even; they are collected over batches, by class.
        deviation: Standard deviation of each feature as of `feature_deviation`, (D,); None to take features
            as they are.
        resolution: Cross-validated distance up to which two kinds count as one; 0 for any that can be shown.
        expected: Classes that the data should have, with the shares of a mapping, else in equal shares.
        significance: Level of the test of a batch.
        growth: Share of batches with something new from which on data count as growing.
        horizon: Number of batches that ``false_alarm`` is for.
        false_alarm: Probability of a warning within the horizon while data grow.
        scale: Distance at which two regions count as mostly different; None for a third of the mean
            distance to the nearest other one, so that neighbours are 5 % alike.
        confidence: Coverage of the intervals, a fraction.

    Raises:
        ConfigurationError: If a setting cannot work.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(1)
        >>> monitor = DiversityMonitor(images=16)
        >>> for label in (0, 1, 2, 3, *[0, 1, 2, 3] * 3):
        ...     update = monitor.add(label * 2.0 + rng.normal(size=(16, 8)), [label] * 16)
        >>> len(monitor.report().regions), update.new, update.stopped
        (4, False, True)

    Source: cross-validated test: Walther et al. (2016), NeuroImage 137, 188-200; CUSUM: Reynolds and Stoumbos
    (1999), J. Qual. Technol. 31, 87-108; unseen: Good (1953), Biometrika 40, 237-264; effective number:
    Leinster and Cobbold (2012), Ecology 93, 477-489.
    """

    def __init__(
        self,
        *,
        images: int = 8,
        deviation: npt.ArrayLike | None = None,
        resolution: float = 0.0,
        expected: Mapping[Hashable, float] | Collection[Hashable] | None = None,
        significance: float = 0.01,
        growth: float = 0.7,
        horizon: int = 100,
        false_alarm: float = 0.05,
        scale: float | None = None,
        confidence: float = 0.95,
    ) -> None:
        if images < 4 or images % 2:
            raise ConfigurationError(f"images={images!r}, expected an even number of at least 4: two in each half.")
        if not (resolution >= 0.0 and np.isfinite(resolution)):
            raise ConfigurationError(f"resolution={resolution!r}, expected a finite number of at least 0.")
        self._significance = fraction(significance, "significance")
        self._confidence = fraction(confidence, "confidence")
        self._scale = None if scale is None else positive(scale, "scale")
        self._expected = _shares(expected)
        self._deviation = None if deviation is None else np.asarray(deviation, dtype=np.float64)
        self._pool = SamplePool(images=images)
        self._regions = Regions(resolution=resolution)
        self._cusum = GrowthCusum(growth=growth, stopped=significance, horizon=horizon, false_alarm=false_alarm)
        self._halves: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        self._sums: DiversitySums | None = None
        self._images: collections.Counter[Hashable] = collections.Counter()
        self._news: list[bool] = []
        self._batches = 0

    def add(self, features: npt.ArrayLike, labels: Names, *, groups: Names | None = None) -> MonitorUpdate:
        """Take a batch of samples.

        Args:
            features: Features of a probe, (N, D).
            labels: Class or cluster of each sample, (N,).
            groups: What each sample was taken from (recording, writer), (N,), known by the same name in
                all batches; None if samples are independent.

        Returns:
            What the batch did.

        Raises:
            DataError: If the features are unfit, of another dimension, or lengths differ.
        """
        rows, names, origins = self._checked(features, labels, groups)
        taken = [self._pool.add(*sample) for sample in zip(names, rows, origins, strict=True)]
        return self._take(self._pool.ready(), only_copies=not any(taken))

    def add_halves(
        self, first: npt.ArrayLike, second: npt.ArrayLike, labels: Names, *, images: npt.ArrayLike = 2
    ) -> MonitorUpdate:
        """Take a batch of tasks that were embedded already, by both their halves.

        Args:
            first: Profiles from the first half of each task, (n, D).
            second: Profiles from the second half, (n, D).
            labels: Source or cluster of each task, (n,).
            images: Images of both halves together, (n,) or one number for all.

        Returns:
            What the batch did.

        Raises:
            DataError: If the halves are unfit, of another dimension, or lengths differ.
        """
        one, two = halves_of_rows(first, second)
        names = _names(labels, "labels", one.shape[0])
        numbers = whole_numbers(images, "images", n=one.shape[0], minimum=2)
        self._check_dimension(one.shape[1])
        observations = [
            observation_of_halves(label, a, b, images=int(number))
            for label, a, b, number in zip(names, one, two, numbers, strict=True)
        ]
        return self._take(observations, only_copies=False)

    def rank(self, features: npt.ArrayLike, labels: Names, *, groups: Names | None = None) -> tuple[KindScore, ...]:
        """Say which kinds of candidates would add most, without taking them.

        Candidates may be unlabelled samples of several places, or a reference set that the data should cover:
        its kinds with ``new`` are what is missing.

        Args:
            features: Features of the candidates, (N, D).
            labels: Kind of each, (N,); kinds with a single independent candidate are left out.
            groups: What each was taken from, (N,).

        Returns:
            Scores, the largest gain first.

        Raises:
            DataError: If the candidates are unfit, or nothing was added to the monitor yet.
        """
        if not len(self._regions):
            raise DataError("the monitor holds no observation yet, expected some to compare with; add data first.")
        rows, names, origins = self._checked(features, labels, groups)
        pool = self._pool.fork(images=2)
        for sample in zip(names, rows, origins, strict=True):
            pool.add(*sample)
        kinds = pool.ready()
        if not kinds:
            return ()
        return scores(
            kinds,
            [self._regions.novelty(kind) for kind in kinds],
            self._regions,
            scale=self._scale,
            level=self._significance / len(kinds),
        )

    def report(self) -> MonitorReport:
        """How diverse the data are so far, in O(n D) for n observations and O(R² D) for R regions."""
        observed = self._regions.observations
        land = Landscape.of(self._regions, scale=self._scale) if observed else None
        regions = land.coverage(self._regions.labels) if land else ()
        classes = class_coverage(self._images, self._expected, confidence=self._confidence)
        return MonitorReport(
            batches=self._batches,
            images=self._images.total(),
            waiting=self._pool.waiting,
            copies=self._pool.copies,
            coefficient=self._coefficient(),
            effective=land.effective if land else 0.0,
            scale=land.scale if land else self._scale or 1.0,
            unseen=observed.count(1) / sum(observed) if observed else 1.0,
            classes=classes,
            regions=regions,
            stopped=self._cusum.stopped,
            warnings=warnings_of(self._cusum, self._news, classes, regions),
        )

    def _take(self, observations: list[Observation], *, only_copies: bool) -> MonitorUpdate:
        self._batches += 1
        was_stopped = self._cusum.stopped
        for observation in observations:
            self._regions.learn_noise(observation)
        level = self._significance / max(1, len(observations))
        places = [self._place(observation, level) for observation in observations]
        founded = tuple(region for region in places if region is not None)
        new = bool(founded) if observations or only_copies else None
        if new is not None:
            self._news.append(new)
            self._cusum.update(new=new)
        return MonitorUpdate(
            batch=self._batches,
            observations=len(observations),
            new=new,
            new_regions=founded,
            value=self._sums.value if self._sums is not None and self._sums.n_tasks > 1 else None,
            stopped=self._cusum.stopped,
            alarm=self._cusum.stopped and not was_stopped,
        )

    def _place(self, observation: Observation, level: float) -> int | None:
        """Put an observation into a region; the number of the region if it is a new one."""
        novelty = self._regions.novelty(observation)
        new = novelty.p <= level
        region = self._regions.join(observation, None if new else novelty.region)
        self._halves[0].append(observation.first)
        self._halves[1].append(observation.second)
        sums = DiversitySums.of(observation.first[None], observation.second[None])
        self._sums = sums if self._sums is None else self._sums.merge(sums)
        self._images[observation.label] += sum(observation.counts)
        return region if new else None

    def _coefficient(self) -> CrossValidatedCoefficient | None:
        if len(self._halves[0]) < MIN_TASKS:
            return None
        first, second = (np.stack(half) for half in self._halves)
        return crossvalidated_coefficient(first, second, confidence=self._confidence)

    def _checked(
        self, features: npt.ArrayLike, labels: Names, groups: Names | None
    ) -> tuple[FloatArray, list[Hashable], list[Hashable]]:
        rows = finite_rows(features, "features")
        self._check_dimension(rows.shape[1])
        names = _names(labels, "labels", rows.shape[0])
        origins: list[Hashable] = [None] * len(rows) if groups is None else _names(groups, "groups", rows.shape[0])
        return (rows if self._deviation is None else rows / self._deviation), names, origins

    def _check_dimension(self, dimension: int) -> None:
        if self._deviation is not None:
            same_dimension(dimension, self._deviation.size)
        if self._sums is not None:
            same_dimension(dimension, self._sums.first.size)


def _names(values: Names, name: str, n: int) -> list[Hashable]:
    items = listed(values)
    if len(items) != n:
        raise DataError(f"{name} has {len(items)} values for {n} rows, expected one for each.")
    return items


def _shares(expected: Mapping[Hashable, float] | Collection[Hashable] | None) -> dict[Hashable, float] | None:
    if expected is None:
        return None
    if not expected:
        raise ConfigurationError("expected is empty, expected at least one class; pass None if nothing is known.")
    if not isinstance(expected, Mapping):
        return dict.fromkeys(expected, 1.0 / len(expected))
    shares = {label: positive(share, f"expected[{label!r}]") for label, share in expected.items()}
    return {label: share / sum(shares.values()) for label, share in shares.items()}
