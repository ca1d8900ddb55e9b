"""Experiment 1 of the project's first paper, from a lake: how much results vary, and with what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.query import Lake
from lightning_lde.schema import utc_now
from lightning_lde.statistics import (
    Interval,
    PooledDeviation,
    VarianceDecomposition,
    detectable_difference,
    mean_interval,
    pooled_deviation,
    repetitions_required,
    variance_components,
)
from lightning_lde.study._duplicates import Duplicate, find_duplicates
from lightning_lde.study._queries import QueryResult
from lightning_lde.study._repetitions import FACTORS, GROUPING, UNKNOWN, MeasuredRun, measured_runs, own_settings_note

SEED = "seed"
SHOWN_REPETITIONS = (3, 5, 10)


@dataclass(frozen=True)
class RepetitionCell:
    """Runs that agree in all factors.

    Attributes:
        levels: The level of each factor.
        n: Runs.
        mean: Mean of the metric over them.
    """

    levels: tuple[str, ...]
    n: int
    mean: float


@dataclass(frozen=True)
class RepetitionGroup:
    """Runs that are repetitions of one another, and where their variance comes from.

    Attributes:
        label: Module and data set, for people; the part of the metric where it has several.
        key: What the runs share, by word.
        runs: The runs, oldest first.
        factors: What they are told apart by.
        cells: Combinations of levels that occur.
        overall: Mean, standard deviation and t interval over runs as if they were independent.
        decomposition: Components by factor; None where all values are equal.
        seeds: Scatter over seeds with the other factors equal; None where no cell has two seeds.
        required: Seeds of each configuration that find the asked difference with 80 % power at ``seeds.sd``; None
            where no difference was asked for, or there is no scatter.
        required_high: The same at the upper bound of ``seeds.sd``.
        detectable: Differences that 3, 5 and 10 seeds of each configuration find with 80 % power, by that number.
    """

    label: str
    key: dict[str, str]
    runs: tuple[MeasuredRun, ...]
    factors: tuple[str, ...]
    cells: tuple[RepetitionCell, ...]
    overall: Interval
    decomposition: VarianceDecomposition | None
    seeds: PooledDeviation | None
    required: int | None
    required_high: int | None
    detectable: dict[int, float]


@dataclass(frozen=True)
class VariabilityAnalysis:
    """All groups of repetitions of a project, with the queries they come from.

    Attributes:
        lake: The lake's address.
        project: The project.
        metric: The metric.
        take: Which of its values: ``"last"``, ``"min"`` or ``"max"``.
        difference: The difference that is to be found; None where none was asked for.
        made_at: When.
        groups: Groups of two runs or more, the largest first.
        n_single: Runs without any repetition.
        duplicates: Results that are suspiciously equal, or suspiciously not.
        notes: What was left out and what to beware of, in sentences.
        queries: What was asked of the lake.
    """

    lake: str
    project: str
    metric: str
    take: str
    difference: float | None
    made_at: datetime
    groups: tuple[RepetitionGroup, ...]
    n_single: int
    duplicates: tuple[Duplicate, ...]
    notes: tuple[str, ...]
    queries: tuple[QueryResult, ...]


def analyse_variability(
    lake: Lake,
    *,
    project: str,
    metric: str,
    take: str = "last",
    by: Sequence[str] = FACTORS,
    group: Sequence[str] = GROUPING,
    ignore: Sequence[str] = (),
    difference: float | None = None,
) -> VariabilityAnalysis:
    """Group the finished runs of a project into repetitions and decompose the variance of a metric.

    Args:
        lake: The lake.
        project: The project.
        metric: A metric's name, or ``"episodes.accuracy"`` or ``"episodes.loss"`` for the mean over evaluated tasks.
        take: ``"last"``, ``"min"`` or ``"max"`` value of a run.
        by: What repetitions may differ in: words such as ``"seed"``, ``"dataset_config"``, ``"environment"``,
            ``"code"``, ``"dataset"``, ``"tag:NAME"``. Of two that always change together the first gets the variance.
        group: What repetitions must share, in the same words.
        ignore: Dotted keys of hyper-parameters that do not make another configuration, such as ``"seed"``.
        difference: A difference between two configurations; the seeds that would find it are counted.

    Raises:
        DataError: If no finished run has the metric as a finite number.
        ConfigurationError: If a word is unknown, or stands both in ``by`` and in ``group``.
    """
    if both := sorted(set(by) & set(group)):
        raise ConfigurationError(f"{', '.join(both)} cannot both be shared by a group and tell its runs apart")
    if not by:
        raise ConfigurationError(f"nothing to tell runs apart by: give one of {', '.join(FACTORS)} or tag:NAME")
    runs, query, notes = measured_runs(
        lake, project=project, metric=metric, take=take, words=(*by, *group), ignore=ignore
    )
    if not runs:
        raise DataError(f"{metric!r} is no finite number in any finished run of project {project!r}; take another one")
    duplicates, duplicate_query, duplicate_notes = find_duplicates(lake, project=project)
    groups = _groups(runs, group)
    single = [members[0] for members in groups.values() if len(members) == 1]
    found = [_group(key, members, group, tuple(by), difference) for key, members in groups.items() if len(members) > 1]
    notes += [*_warnings(found, single, group), *own_settings_note(lake, single), *duplicate_notes]
    return VariabilityAnalysis(
        lake=lake.url,
        project=project,
        metric=metric,
        take="mean over tasks" if metric.startswith("episodes.") else take,
        difference=difference,
        made_at=utc_now(),
        groups=tuple(sorted(found, key=lambda one: -len(one.runs))),
        n_single=len(single),
        duplicates=tuple(duplicates),
        notes=tuple(notes),
        queries=(query, duplicate_query),
    )


def _groups(runs: Sequence[MeasuredRun], group: Sequence[str]) -> dict[tuple[str, ...], list[MeasuredRun]]:
    groups: dict[tuple[str, ...], list[MeasuredRun]] = {}
    for run in runs:
        groups.setdefault((run.part, *(run.facts[word] for word in group)), []).append(run)
    return groups


def _group(
    key: tuple[str, ...],
    runs: Sequence[MeasuredRun],
    group: Sequence[str],
    by: tuple[str, ...],
    difference: float | None,
) -> RepetitionGroup:
    values = [run.value for run in runs]
    seeds = _over_seeds(runs, by)
    scatter = seeds if seeds is not None and seeds.sd > 0.0 else None
    try:
        decomposition = variance_components(values, {word: [run.facts[word] for run in runs] for word in by})
    except DataError:
        # All values are equal; the text says so.
        decomposition = None
    labels = list(dict.fromkeys(run.label for run in runs))
    return RepetitionGroup(
        label=" / ".join(labels[:3]) + (f" [{key[0]}]" if key[0] else ""),
        key=dict(zip(group, key[1:], strict=True)),
        runs=tuple(runs),
        factors=by,
        cells=_cells(runs, by),
        overall=mean_interval(values),
        decomposition=decomposition,
        seeds=seeds,
        required=None if scatter is None or difference is None else repetitions_required(scatter.sd, difference),
        required_high=None if scatter is None or difference is None else repetitions_required(scatter.high, difference),
        detectable={} if scatter is None else {n: detectable_difference(scatter.sd, n) for n in SHOWN_REPETITIONS},
    )


def _cells(runs: Sequence[MeasuredRun], by: tuple[str, ...]) -> tuple[RepetitionCell, ...]:
    members: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        members.setdefault(tuple(run.facts[word] for word in by), []).append(run.value)
    return tuple(RepetitionCell(levels, len(values), sum(values) / len(values)) for levels, values in members.items())


def _over_seeds(runs: Sequence[MeasuredRun], by: tuple[str, ...]) -> PooledDeviation | None:
    """The scatter over seeds within cells of the other factors; a seed that ran several times counts once."""
    others = [word for word in by if word != SEED]
    seeds: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        seed = run.facts[SEED] if SEED in by else run.run_id
        seeds.setdefault((*(run.facts[word] for word in others), seed), []).append(run.value)
    means = [sum(values) / len(values) for values in seeds.values()]
    return pooled_deviation(means, [levels[:-1] for levels in seeds])


def _warnings(groups: Sequence[RepetitionGroup], single: Sequence[MeasuredRun], group: Sequence[str]) -> list[str]:
    notes = []
    everyone = [*single, *(run for one in groups for run in one.runs)]
    unseeded = [run for run in everyone if run.facts.get(SEED, "").startswith("unseeded ")]
    if unseeded:
        notes.append(f"{len(unseeded)} of {len(everyone)} runs were not seeded; each counts as a seed of its own.")
    for word in dict.fromkeys([*group, *(word for one in groups for word in one.factors)]):
        unknown = sum(run.facts[word] == UNKNOWN for run in everyone)
        if unknown:
            notes.append(f"{unknown} of {len(everyone)} runs have no {word}; it counts as one that they share.")
    if "dataset" in group and "dataset_config" not in group and _look_like_splits(everyone, groups):
        notes.append(
            "A pipeline configuration ran on several data sets, and no group has more than one split. If they are "
            "splits that were cut before the data set was made: --group pipeline_config"
        )
    return notes


def _look_like_splits(runs: Sequence[MeasuredRun], groups: Sequence[RepetitionGroup]) -> bool:
    """Whether one pipeline configuration has several data sets, each of them with one split only."""
    pairs = {(run.facts["pipeline_config"], run.facts["dataset"]) for run in runs}
    several = len({pipeline for pipeline, _ in pairs}) < len(pairs)
    return several and all(len({run.facts.get("dataset_config") for run in one.runs}) == 1 for one in groups)
