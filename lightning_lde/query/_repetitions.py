"""Runs that differ only in the seed: what came out, with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_lde.query._evaluations import SCORES, Setting, setting_words
from lightning_lde.query._facts import Row, RunFacts
from lightning_lde.query._json import mapping_of
from lightning_lde.query._records import SYSTEM, RunRecords, metric_title
from lightning_lde.schema import canonical_json

if TYPE_CHECKING:
    from lightning_lde.statistics import Interval, MeanDifference

_SEED_NAMES = {"seed", "seeds", "random_seed", "random_state", "manual_seed"}


@dataclass(frozen=True, kw_only=True)
class SeedFigure:
    """A figure of runs that differ only in the seed.

    Attributes:
        name: The metric, or the score and how it was evaluated.
        interval: Mean over seeds with Student's t interval; ``n`` is the number of seeds.
        difference: The mean less that of the first group, with Welch's interval; None in the first group.
    """

    name: str
    interval: Interval
    difference: MeanDifference | None


@dataclass(frozen=True, kw_only=True)
class SeedGroup:
    """Runs that have data, pipeline, configuration, code and environment in common, and differ in the seed.

    Attributes:
        members: Positions of the runs.
        seeds: Their seeds.
        figures: Last values of metrics and mean scores of evaluated tasks, over seeds.
    """

    members: tuple[int, ...]
    seeds: tuple[int, ...]
    figures: tuple[SeedFigure, ...]


def seed_groups(records: Sequence[RunRecords]) -> list[SeedGroup]:
    """The groups of two seeds or more among runs whose data, pipeline and seed are known.

    Runs of one group and seed count once, with their mean.

    Args:
        records: The runs.
    """
    members: dict[Any, list[int]] = {}
    for number, record in enumerate(records):
        if record.facts.run["seed"] is not None and record.facts.run["pipeline_config_id"] is not None:
            members.setdefault(_all_but_seed(record.facts), []).append(number)
    seeds = [record.facts.run["seed"] for record in records]
    groups: list[SeedGroup] = []
    first: dict[str, list[float]] | None = None
    for numbers in members.values():
        if len({seeds[number] for number in numbers}) < 2:
            continue
        values = _over_seeds(numbers, seeds, records)
        figures = tuple(_seed_figure(name, each, (first or {}).get(name)) for name, each in values.items())
        groups.append(SeedGroup(members=tuple(numbers), seeds=tuple(seeds[n] for n in numbers), figures=figures))
        first = first or values
    return groups


def _all_but_seed(facts: RunFacts) -> Any:
    run = facts.run
    ids = [run[name] for name in ("pipeline_config_id", "code_id", "environment_id", "world_size")]
    return (*ids, frozenset(canonical_json([row["relation"], _use(row)]) for row in facts.data))


def _use(row: Row) -> Row:
    """What makes the use of a data set, but for the seeds in its settings: a sampler of tasks has one."""
    settings = {name: value for name, value in mapping_of(row["settings"]).items() if name.lower() not in _SEED_NAMES}
    columns = ("dataset_id", "split", "n_samples", "indices_hash", "transforms", "sampler", "batch_size", "drop_last")
    return {**{name: row[name] for name in (*columns, "num_workers", "collate_fn")}, "settings": settings}


def _over_seeds(numbers: Sequence[int], seeds: Sequence[int], records: Sequence[RunRecords]) -> dict[str, list[float]]:
    """The value of each seed by figure, where all runs of the group have a finite one."""
    rows: dict[str, dict[int, float]] = {}
    for number in numbers:
        for key, points in records[number].curves.items():
            if key.context != SYSTEM and points:
                rows.setdefault(f"{metric_title(key)}, last", {})[number] = points[-1][1]
        for evaluation in records[number].evaluations:
            for score in SCORES:
                values = list(evaluation.scores[score].values())
                name = f"{score} ({_setting_words(evaluation.setting)})"
                rows.setdefault(name, {})[number] = math.fsum(values) / len(values)
    found = {}
    for name, row in rows.items():
        if len(row) == len(numbers) and all(map(math.isfinite, row.values())):
            by_seed = {seed: [row[n] for n in numbers if seeds[n] == seed] for seed in {seeds[n] for n in numbers}}
            found[name] = [math.fsum(each) / len(each) for _, each in sorted(by_seed.items())]
    return found


def _setting_words(setting: Setting) -> str:
    steps, where, tasks = setting_words(setting)
    return ", ".join(part for part in (steps, setting.method, where, tasks) if part)


def _seed_figure(name: str, values: list[float], first: list[float] | None) -> SeedFigure:
    from lightning_lde.statistics import mean_difference, mean_interval

    difference = None if first is None else mean_difference(first, values)
    return SeedFigure(name=name, interval=mean_interval(values), difference=difference)
