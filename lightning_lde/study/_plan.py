"""The plan of a study: what is to be trained, what it will cost, what it can find, and when it has succeeded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lightning_lde.errors import ConfigurationError
from lightning_lde.query import Lake
from lightning_lde.schema import utc_now
from lightning_lde.statistics import (
    PairedComparison,
    PooledDeviation,
    correlation_power,
    detectable_difference,
    n_required,
    repetitions_required,
)
from lightning_lde.study._plan_figures import hours, power_over_datasets, required_datasets, spread, wall_hours
from lightning_lde.study._plan_pilot import Pilot, chosen_pair, read_pilot

SHOWN_SEEDS = (1, 2, 3, 5, 10)
KINDS = ("complete", "cost", "precision", "difference", "correlation")
_COST_MARGIN = 1.5
_PRECISION_MARGIN = 1.5
_FEWEST = 4


@dataclass(frozen=True)
class Criterion:
    """When a part of a study counts as succeeded; the lake's figures decide.

    Attributes:
        kind: A word of ``KINDS``: all trainings finished; hours of training at most ``limit``; the half of the 95 %
            interval over seeds, median over data sets and configurations, at most ``limit``; the mean difference
            between two configurations over data sets at least ``limit`` with p at most ``alpha``; p of the correlation
            with diversity, corrected by Holm, at most ``alpha``.
        limit: The number; None where the kind has none.
        alpha: Level of the test; None where the kind has none.
        configuration: The configuration that is judged; None for all.
        baseline: The configuration that it is compared with.
    """

    kind: str
    limit: float | None = None
    alpha: float | None = None
    configuration: str | None = None
    baseline: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"criterion of kind {self.kind!r}: choose from {', '.join(KINDS)}")


@dataclass(frozen=True)
class PowerAtSeeds:
    """What a number of seeds would show.

    Attributes:
        seeds: Seeds of each data set and configuration.
        detectable: Difference of two configurations on one data set that a t test over seeds finds with the asked
            power; None for one seed.
        over_datasets: Power of the paired test over data sets for the asked difference; None where it is not known.
        hours: Hours of training.
    """

    seeds: int
    detectable: float | None
    over_datasets: float | None
    hours: float | None


@dataclass(frozen=True)
class StudyPlan:
    """A plan with the figures that it rests on.

    Attributes:
        project: The project in which the study will be recorded.
        pilot: The past runs.
        lake: The lake's address.
        made_at: When it was made.
        datasets: Data sets of the study, past ones and new ones.
        trainings: What is trained on each.
        configurations: Training of each configuration that is evaluated, by name.
        seeds: Seeds of each training.
        jobs: Trainings at a time.
        hours: Hours of training; None where some were never timed.
        hours_low: The same with the shortest past time of each.
        hours_high: The same with the longest.
        wall_hours: Hours until the last one ends.
        scatter: Scatter over seeds, pooled; None where no seed was repeated.
        pair: Baseline and the configuration set against it; None where there is one configuration.
        difference: What the pilot found between them; None where too few data sets have both.
        smallest: The smallest difference that matters.
        required_seeds: Seeds that find it on one data set with the power asked for.
        required_datasets: Data sets that find it, at the scatter between data sets that the pilot has.
        at_seeds: What several numbers of seeds would show.
        r: The smallest correlation with diversity that matters.
        correlation_power: Chance of finding it with these data sets.
        correlation_datasets: Data sets that would find it.
        power: The power asked for.
        alpha: Level of the tests.
        criteria: When the study has succeeded.
        notes: What to beware of, in sentences.
    """

    project: str
    pilot: Pilot
    lake: str
    made_at: datetime
    datasets: tuple[str, ...]
    trainings: tuple[str, ...]
    configurations: dict[str, str]
    seeds: tuple[int, ...]
    jobs: int
    hours: float | None
    hours_low: float | None
    hours_high: float | None
    wall_hours: float | None
    scatter: PooledDeviation | None
    pair: tuple[str, str] | None
    difference: PairedComparison | None
    smallest: float
    required_seeds: int | None
    required_datasets: int | None
    at_seeds: tuple[PowerAtSeeds, ...]
    r: float
    correlation_power: float | None
    correlation_datasets: int
    power: float
    alpha: float
    criteria: tuple[Criterion, ...]
    notes: tuple[str, ...]


def plan_study(
    lake: Lake,
    *,
    project: str,
    name: str | None = None,
    metric: str = "accuracy",
    settings_id: str | None = None,
    datasets: Sequence[str] = (),
    seeds: int | None = None,
    jobs: int = 1,
    smallest: float = 0.02,
    r: float = 0.7,
    power: float = 0.8,
    alpha: float = 0.05,
    baseline: str | None = None,
    against: str | None = None,
) -> StudyPlan:
    """Plan a study from the finished runs of a pilot.

    Args:
        lake: The lake.
        project: The pilot's project.
        name: Project of the study; None for the pilot's, which is then completed.
        metric: ``"accuracy"`` or ``"loss"`` over evaluated tasks, or a metric's name.
        settings_id: The pilot's settings; None for the newest.
        datasets: Data sets of the study; empty for those of the pilot. New ones are taken to last as long as others.
        seeds: Seeds of each training; None for what finds ``smallest`` on one data set, from 3 to 10.
        jobs: Trainings at a time.
        smallest: The smallest difference between two configurations that matters, in the metric's unit.
        r: The smallest correlation with diversity that matters.
        power: Chance of finding what is there.
        alpha: Level of the two-sided tests.
        baseline: Configuration to compare with; None for pretraining, else the lowest.
        against: Configuration to be compared; None for the highest.

    Raises:
        DataError: If no finished run has the metric.
        ConfigurationError: If a number or a name cannot work.
    """
    if jobs < 1 or (seeds is not None and seeds < 1):
        raise ConfigurationError(f"jobs={jobs!r}, seeds={seeds!r}: expected at least 1.")
    if not 0.0 < smallest < math.inf:
        raise ConfigurationError(f"difference={smallest!r}, expected a finite number above 0.")
    pilot = read_pilot(lake, project=project, metric=metric, settings_id=settings_id)
    sets = tuple(dict.fromkeys(datasets)) or pilot.datasets
    scatter = pilot.scatter()
    sd = scatter.sd if scatter is not None and scatter.sd > 0.0 else None
    required = None if sd is None else repetitions_required(sd, smallest, power=power, alpha=alpha)
    count = seeds or min(max(required or 3, 3), 10)
    pair = chosen_pair(pilot, baseline, against)
    difference = None if pair is None else pilot.difference(*pair)
    found = spread(pilot, pair, difference)
    cost, low, high = hours(pilot, sets, count)
    enough = len(sets) >= _FEWEST
    return StudyPlan(
        project=name or project,
        pilot=pilot,
        lake=lake.url,
        made_at=utc_now().replace(microsecond=0),
        datasets=sets,
        trainings=pilot.trainings,
        configurations=pilot.configurations(),
        seeds=tuple(range(count)),
        jobs=jobs,
        hours=cost,
        hours_low=low,
        hours_high=high,
        wall_hours=wall_hours(pilot, sets, count, jobs),
        scatter=scatter,
        pair=pair,
        difference=difference,
        smallest=smallest,
        required_seeds=required,
        required_datasets=required_datasets(found, count, smallest, power, alpha),
        at_seeds=tuple(
            PowerAtSeeds(
                n,
                None if sd is None or n < 2 else detectable_difference(sd, n, power=power, alpha=alpha),
                power_over_datasets(found, n, smallest, len(sets), alpha),
                hours(pilot, sets, n)[0],
            )
            for n in sorted({*SHOWN_SEEDS, count})
        ),
        r=r,
        correlation_power=correlation_power(r, len(sets), alpha=alpha) if enough else None,
        correlation_datasets=n_required(r, power=power, alpha=alpha, method="exact"),
        power=power,
        alpha=alpha,
        criteria=_criteria(pilot, pair, sd, cost, count, smallest, alpha, with_correlation=enough),
        notes=_notes(pilot, sets, scatter, cost),
    )


def _criteria(
    pilot: Pilot,
    pair: tuple[str, str] | None,
    sd: float | None,
    hours: float | None,
    seeds: int,
    smallest: float,
    alpha: float,
    *,
    with_correlation: bool,
) -> tuple[Criterion, ...]:
    found = [Criterion("complete")]
    if hours is not None:
        found.append(Criterion("cost", limit=round(_COST_MARGIN * hours, 2)))
    if sd is not None and seeds > 1:
        from scipy import stats

        half = float(stats.t.ppf(0.975, seeds - 1)) * sd / math.sqrt(seeds)
        found.append(Criterion("precision", limit=round(_PRECISION_MARGIN * half, 4)))
    if pair is not None:
        found.append(Criterion("difference", limit=smallest, alpha=alpha, configuration=pair[1], baseline=pair[0]))
    if with_correlation and pilot.metric in ("accuracy", "loss") and pilot.settings_id is not None:
        found.append(Criterion("correlation", alpha=alpha, configuration=None if pair is None else pair[1]))
    return tuple(found)


def _notes(
    pilot: Pilot, datasets: Sequence[str], scatter: PooledDeviation | None, hours: float | None
) -> tuple[str, ...]:
    notes = list(pilot.notes)
    if scatter is None:
        notes.append("No data set and configuration of the pilot has two seeds: run at least two before planning more.")
    elif scatter.degrees_of_freedom < 10:
        notes.append(
            f"The scatter over seeds rests on {scatter.degrees_of_freedom} degrees of freedom: it may be "
            f"{scatter.low:.2g} as well as {scatter.high:.2g}."
        )
    if new := [one for one in datasets if one not in pilot.datasets]:
        notes.append(f"{', '.join(new)} never ran: they are taken to last as long as the others.")
    if hours is None:
        notes.append("Some trainings were never timed; the cost is not known.")
    return tuple(notes)
