"""What a planned study costs, and what it can find over data sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lightning_lde.statistics import PairedComparison, paired_power, pairs_required
from lightning_lde.study._cells import Cell
from lightning_lde.study._pace import Pace
from lightning_lde.study._plan_pilot import Pilot


@dataclass(frozen=True)
class Spread:
    """Variance of the difference of two configurations: between data sets, and over seeds with one seed of each."""

    between: float
    by_seed: float

    def sd(self, seeds: int) -> float:
        """Standard deviation of differences with so many seeds of each."""
        return math.sqrt(self.between + self.by_seed / seeds)


def hours(pilot: Pilot, datasets: Sequence[str], seeds: int) -> tuple[float | None, float | None, float | None]:
    """Hours of training by the median, shortest and longest past time of each; None where one was never timed."""
    found = [pilot.seconds(dataset, training) for dataset in datasets for training in pilot.trainings]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None, None, None
    usual, low, high = (seeds * math.fsum(column) / 3600 for column in zip(*known, strict=True))
    return usual, low, high


def wall_hours(pilot: Pilot, datasets: Sequence[str], seeds: int, jobs: int) -> float | None:
    """Hours until the last training ends, so many at a time; None where one was never timed."""
    cells = [
        Cell(f"{dataset}/{training}/{seed}", dataset, training, seed)
        for dataset in datasets
        for training in pilot.trainings
        for seed in range(seeds)
    ]
    left = Pace(cells, jobs=jobs, known=pilot.durations, now=0.0).remaining_s(now=0.0)
    return None if left is None else left / 3600


def spread(pilot: Pilot, pair: tuple[str, str] | None, difference: PairedComparison | None) -> Spread | None:
    """How differences scatter; between data sets it is what is observed less what seeds add, never below 0."""
    by_seed = None if pair is None else pilot.seed_variance(*pair)
    if pair is None or difference is None or by_seed is None:
        return None
    cells = pilot.cells()
    # The mean of n seeds has an n-th of their variance.
    share = fmean(1 / len(cells[name, configuration]) for name in pilot.shared(*pair) for configuration in pair)
    return Spread(max(difference.sd**2 - by_seed * share, 0.0), by_seed)


def power_over_datasets(spread: Spread | None, seeds: int, smallest: float, n: int, alpha: float) -> float | None:
    """Power of the paired test over data sets with so many seeds; None where the scatter is not known."""
    if spread is None or n < 2 or spread.sd(seeds) == 0.0:
        return None
    return paired_power(spread.sd(seeds), smallest, n, alpha=alpha)


def required_datasets(spread: Spread | None, seeds: int, smallest: float, power: float, alpha: float) -> int | None:
    """Data sets that find a difference with so many seeds; None where the scatter is not known."""
    if spread is None or spread.sd(seeds) == 0.0:
        return None
    return pairs_required(spread.sd(seeds), smallest, power=power, alpha=alpha)
