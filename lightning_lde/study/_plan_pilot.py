"""What past runs of a lake say for a study to come: values, scatter over seeds, differences of data sets, durations."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from lightning_lde.errors import ConfigurationError, DataError
from lightning_lde.query import Lake
from lightning_lde.statistics import PairedComparison, PooledDeviation, paired_test, pooled_deviation
from lightning_lde.study._pace import by_kind, past_durations_sql
from lightning_lde.study._queries import QueryResult, ask, quoted
from lightning_lde.study._repetitions import EPISODES, UNKNOWN, MeasuredRun, measured_runs

_WORDS = ("dataset", "pipeline_config", "seed", "tag:algorithm", "tag:settings", "tag:dataset")


@dataclass(frozen=True)
class Measured:
    """A value of a configuration on a data set with one seed.

    Attributes:
        run_id: The run.
        dataset: Name of the data set.
        training: What is trained, which takes the time; several configurations may be evaluated of one.
        configuration: What is evaluated.
        seed: The seed, as text.
        value: The value.
        settings_id: The study's settings, None where there are none.
    """

    run_id: str
    dataset: str
    training: str
    configuration: str
    seed: str
    value: float
    settings_id: str | None


@dataclass(frozen=True)
class Pilot:
    """Past runs of a project, as far as they are finished.

    Attributes:
        project: The project.
        metric: The metric.
        settings_id: The settings that were taken, the newest; None for runs without.
        values: The values.
        durations: Seconds of each past training, by data set and training.
        notes: What was left out, in sentences.
        queries: What was asked of the lake.
    """

    project: str
    metric: str
    settings_id: str | None
    values: tuple[Measured, ...]
    durations: dict[tuple[str, str], tuple[float, ...]]
    notes: tuple[str, ...]
    queries: tuple[QueryResult, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets, sorted."""
        return tuple(sorted({one.dataset for one in self.values}))

    @property
    def trainings(self) -> tuple[str, ...]:
        """What was trained, sorted."""
        return tuple(sorted({one.training for one in self.values}))

    def configurations(self) -> dict[str, str]:
        """The training of each configuration, by its name, sorted."""
        return dict(sorted({one.configuration: one.training for one in self.values}.items()))

    def seeds(self) -> tuple[str, ...]:
        """The seeds, sorted as numbers."""
        return tuple(sorted({one.seed for one in self.values}, key=lambda seed: (len(seed), seed)))

    def cells(self) -> dict[tuple[str, str], dict[str, float]]:
        """Values by data set and configuration, and in each by seed; runs that repeat a seed count as their mean."""
        found: dict[tuple[str, str], dict[str, list[float]]] = {}
        for one in self.values:
            found.setdefault((one.dataset, one.configuration), {}).setdefault(one.seed, []).append(one.value)
        return {cell: {seed: fmean(values) for seed, values in seeds.items()} for cell, seeds in found.items()}

    def means(self, configuration: str) -> dict[str, float]:
        """Mean of a configuration over its seeds, by data set."""
        found: dict[str, list[float]] = {}
        for one in self.values:
            if one.configuration == configuration:
                found.setdefault(one.dataset, []).append(one.value)
        return {dataset: fmean(values) for dataset, values in sorted(found.items())}

    def scatter(self, configuration: str | None = None) -> PooledDeviation | None:
        """Standard deviation over seeds within data set and configuration, of one configuration or pooled over all."""
        return _pooled({cell: seeds for cell, seeds in self.cells().items() if configuration in (None, cell[1])})

    def shared(self, first: str, second: str) -> list[str]:
        """Data sets that both configurations have, sorted."""
        two = self.means(second)
        return [dataset for dataset in self.means(first) if dataset in two]

    def difference(self, first: str, second: str) -> PairedComparison | None:
        """Second less first configuration over the data sets that both have; None below two."""
        one, two, both = self.means(first), self.means(second), self.shared(first, second)
        if len(both) < 2:
            return None
        return paired_test([one[dataset] for dataset in both], [two[dataset] for dataset in both])

    def seed_variance(self, first: str, second: str) -> float | None:
        """Variance of the difference of two configurations on one data set with one seed each; None if not known.

        Two that are evaluated of the same trainings go up and down together: then it is that of their differences.
        """
        trainings, cells = self.configurations(), self.cells()
        if trainings[first] == trainings[second]:
            shared = [(cells[dataset, first], cells[dataset, second]) for dataset in self.shared(first, second)]
            paired = _pooled(
                {n: {seed: b[seed] - a[seed] for seed in a if seed in b} for n, (a, b) in enumerate(shared)}
            )
            return None if paired is None else paired.sd**2
        found = [self.scatter(name) for name in (first, second)]
        return math.fsum(one.sd**2 for one in found if one is not None) if None not in found else None

    def seconds(self, dataset: str, training: str) -> tuple[float, float, float] | None:
        """Median, least and most seconds of a training; those of other data sets stand in where it never ran."""
        own = self.durations.get((dataset, training))
        like = own or tuple(
            s for (_, other), all_of_it in self.durations.items() if other == training for s in all_of_it
        )
        return (median(like), min(like), max(like)) if like else None


def read_pilot(lake: Lake, *, project: str, metric: str, settings_id: str | None = None) -> Pilot:
    """Read what a project's finished runs measured and took.

    Args:
        lake: The lake.
        project: The project.
        metric: ``"accuracy"`` or ``"loss"`` over evaluated tasks, or a metric's name, whose last value counts.
        settings_id: The study's settings; None for the newest, where runs have any.

    Raises:
        DataError: If no finished run has the metric.
    """
    name = f"episodes.{metric}" if f"episodes.{metric}" in EPISODES else metric
    runs, query, notes = measured_runs(lake, project=project, metric=name, take="last", words=_WORDS, ignore=())
    chosen = settings_id or _newest(runs)
    taken = [run for run in runs if chosen is None or _settings(run) == chosen]
    if not taken:
        raise DataError(f"no finished run of project {project!r} has the settings {settings_id!r}; leave them out")
    if len(taken) < len(runs):
        notes.append(f"{len(runs) - len(taken)} values of other settings are left out.")
    measured = [_measured(run, is_of_tasks=name in EPISODES) for run in taken]
    values = tuple(sorted(measured, key=lambda one: (one.dataset, one.configuration, one.seed)))
    times = ask(lake, "duration of each run", _durations_sql(project))
    # Trainings with the same settings in other projects took as long.
    alike = [ask(lake, "seconds with these settings in all projects", past_durations_sql(chosen))] if chosen else []
    return Pilot(
        project=project,
        metric=metric,
        settings_id=chosen,
        values=values,
        durations=_durations(values, times, alike),
        notes=tuple(notes),
        queries=(query, times, *alike),
    )


def chosen_pair(pilot: Pilot, baseline: str | None, against: str | None) -> tuple[str, str] | None:
    """The two configurations whose difference is asked for; None where there is only one.

    Without names the baseline is pretraining, or else the one with the lowest mean, and against it the one with the
    highest.

    Raises:
        ConfigurationError: If a name is none of the configurations.
    """
    means = {name: fmean(pilot.means(name).values()) for name in pilot.configurations()}
    for name in (baseline, against):
        if name is not None and name not in means:
            raise ConfigurationError(f"{name!r} is no configuration of the pilot: choose from {'; '.join(means)}")
    usual = [name for name in means if name.startswith("pretraining")]
    first = baseline or (usual[0] if usual else min(means, key=means.__getitem__))
    others = [name for name in means if name != first]
    if not others:
        return None
    second = against or max(others, key=means.__getitem__)
    return (first, second) if first != second else None


def _newest(runs: Sequence[MeasuredRun]) -> str | None:
    # The runs come the oldest first.
    return next((found for run in reversed(runs) if (found := _settings(run)) is not None), None)


def _settings(run: MeasuredRun) -> str | None:
    found = run.facts["tag:settings"]
    return None if found == UNKNOWN else found


def _measured(run: MeasuredRun, *, is_of_tasks: bool) -> Measured:
    module, _, data = run.label.partition(" on ")
    algorithm, config, tagged = (run.facts[word] for word in ("tag:algorithm", "pipeline_config", "tag:dataset"))
    # A name says what one run is, whatever else ran in its project: a check finds it by that name.
    own = module if config == UNKNOWN else f"{module} {config[:8]}"
    training = own if algorithm == UNKNOWN else algorithm
    # Of evaluated tasks the part begins with the method, which says the algorithm.
    named = [run.part] if is_of_tasks and algorithm != UNKNOWN else [training, run.part]
    return Measured(
        run_id=run.run_id,
        dataset=data if tagged == UNKNOWN else tagged,
        training=training,
        configuration=", ".join(filter(None, named)),
        seed=run.facts["seed"],
        value=run.value,
        settings_id=_settings(run),
    )


def _pooled(cells: Mapping[Hashable, Mapping[str, float]]) -> PooledDeviation | None:
    rows = [(value, cell) for cell, seeds in cells.items() for value in seeds.values()]
    return pooled_deviation([value for value, _ in rows], [cell for _, cell in rows]) if rows else None


def _durations_sql(project: str) -> str:
    return f"""\
select run_id, duration_s from runs
where project = {quoted(project)} and status = 'finished' and duration_s is not null order by run_id"""


def _durations(
    values: Sequence[Measured], times: QueryResult, alike: Sequence[QueryResult]
) -> dict[tuple[str, str], tuple[float, ...]]:
    took = {row["run_id"]: float(row["duration_s"]) for row in times.rows}
    kinds = {one.run_id: (one.dataset, one.training) for one in values}
    found: dict[tuple[str, str], list[float]] = {}
    for run_id, kind in kinds.items():
        if run_id in took and math.isfinite(took[run_id]):
            found.setdefault(kind, []).append(took[run_id])
    for one in alike:
        found.update(by_kind(one.rows))
    return {kind: tuple(seconds) for kind, seconds in found.items()}
