"""What an analysis of a study returns: points, correlations, comparisons, effects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightning_lde.statistics import Correlation, DependentDifference, Heterogeneity
from lightning_lde.study._queries import QueryResult


@dataclass(frozen=True)
class Point:
    """One data set under one configuration.

    Attributes:
        dataset_id: The data set.
        dataset: Its name, for people; two data sets may share one.
        diversity: Its diversity coefficient.
        value: Mean over tasks of the mean over runs of the metric.
        sd: Standard deviation over tasks of the mean over runs; nan for a single task.
        n_tasks: Distinct tasks.
        n_runs: Runs.
    """

    dataset_id: str
    dataset: str
    diversity: float
    value: float
    sd: float
    n_tasks: int
    n_runs: int


@dataclass(frozen=True)
class ConfigurationResult:
    """A configuration's correlation over data sets.

    Attributes:
        label: The configuration's name for people.
        method: The column ``episodes.method``.
        inner_steps: The column ``episodes.inner_steps``.
        ways: Classes of a task.
        shots: Support images per class.
        points: One per data set.
        correlation: Slope, R² and their uncertainty; n is the number of data sets.
        p_holm: The permutation p, corrected by Holm for the number of configurations.
        n_required: Data sets for 80 % power at the R² that was found.
    """

    label: str
    method: str
    inner_steps: int | None
    ways: int
    shots: int
    points: tuple[Point, ...]
    correlation: Correlation
    p_holm: float
    n_required: int | None


@dataclass(frozen=True)
class Comparison:
    """Whether one configuration's metric rises more with diversity than the other's.

    Attributes:
        first: Label of the MAML configuration.
        second: Label of the pretraining.
        difference: The test and its intervals; n is the number of data sets that both have.
        p_holm: Williams's p, corrected by Holm for the number of comparisons.
    """

    first: str
    second: str
    difference: DependentDifference
    p_holm: float


@dataclass(frozen=True)
class Effect:
    """MAML minus pretraining on one data set, over shared tasks."""

    dataset_id: str
    dataset: str
    difference: float
    variance: float
    n_tasks: int


@dataclass(frozen=True)
class EffectResult:
    """MAML minus pretraining over all data sets, and how much it differs between them."""

    label: str
    effects: tuple[Effect, ...]
    heterogeneity: Heterogeneity


@dataclass(frozen=True)
class StudyAnalysis:
    """All figures of a study, with the queries they came from.

    Attributes:
        lake: The lake's address.
        project: The project.
        metric: ``"accuracy"`` or ``"loss"``.
        made_at: When.
        settings_id: The settings whose runs were taken; None for runs without such a tag.
        other_settings: Further settings of the project, newest first; None among them means runs without.
        notes: What was left out and what to beware of, in sentences.
        datasets: Rows of the diversity query, those of the probe that was taken.
        configurations: Correlation per configuration.
        comparisons: Each MAML configuration against pretraining.
        effects: MAML minus pretraining per data set.
        queries: What was asked of the lake.
    """

    lake: str
    project: str
    metric: str
    made_at: datetime
    settings_id: str | None
    other_settings: tuple[str | None, ...]
    notes: tuple[str, ...]
    datasets: tuple[dict[str, Any], ...]
    configurations: tuple[ConfigurationResult, ...]
    comparisons: tuple[Comparison, ...]
    effects: tuple[EffectResult, ...]
    queries: tuple[QueryResult, ...]
