"""What an analysis of a study returns as a whole: effects, other measures, what would settle it, its origins."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lightning_lde.statistics import Correlation, EffectSize, Equivalence, Heterogeneity, PairedComparison
from lightning_lde.study._diversities import TaskDistances
from lightning_lde.study._queries import QueryResult
from lightning_lde.study._results import Comparison, ConfigurationResult, Covariate


@dataclass(frozen=True)
class Effect:
    """MAML minus pretraining on one data set, over shared tasks.

    Attributes:
        dataset_id: The data set.
        dataset: Its name.
        difference: Mean difference over tasks, in the unit of the metric.
        variance: Its sampling variance over tasks.
        n_tasks: Shared tasks.
        size: Cohen's d over the root mean of both variances, with the raw difference and its interval.
        p: Two-sided p of the paired t test over tasks.
        p_holm: The same, corrected by Holm for the number of data sets.
        equivalence: Whether the difference is surely within the margin.
    """

    dataset_id: str
    dataset: str
    difference: float
    variance: float
    n_tasks: int
    size: EffectSize
    p: float
    p_holm: float
    equivalence: Equivalence


@dataclass(frozen=True)
class EffectResult:
    """MAML minus pretraining over all data sets, and how much it differs between them.

    Attributes:
        label: The MAML configuration.
        effects: One per data set.
        heterogeneity: The random-effects mean.
        overall: The paired tests in which each data set counts once.
        equivalence: Whether the mean over data sets is surely within the margin.
    """

    label: str
    effects: tuple[Effect, ...]
    heterogeneity: Heterogeneity
    overall: PairedComparison
    equivalence: Equivalence


@dataclass(frozen=True)
class Needs:
    """What this many data sets can find, and how many an effect of interest would need.

    Attributes:
        n: Data sets of the largest configuration.
        n_tests: Configurations, for which p are corrected.
        smallest_r_squared: The smallest R² that would be of interest.
        power: Chance to find it with n data sets at the 5 % level.
        power_corrected: The same at 5 % over the number of tests.
        n_required: Data sets for 80 % power at the 5 % level.
        n_required_corrected: The same at 5 % over the number of tests.
        detectable_r_squared: The true R² that n data sets find with 80 % power.
        significant_r_squared: The least R² that is significant at the 5 % level with n data sets.
    """

    n: int
    n_tests: int
    smallest_r_squared: float
    power: float
    power_corrected: float
    n_required: int
    n_required_corrected: int
    detectable_r_squared: float
    significant_r_squared: float


@dataclass(frozen=True)
class MeasureResult:
    """The correlations if diversity were measured in another way.

    Attributes:
        label: Probe and method, for people.
        probe_id: The probe.
        method: The method.
        is_taken: Whether the analysis rests on it.
        n: Data sets.
        rank_correlation: Spearman's, with the diversity that was taken, over the data sets that have both.
        correlations: By label of the configuration.
        n_correlated: Configurations whose metric is correlated with it at the 5 % level, after Holm.
        n_slopes_differ: Comparisons of MAML with pretraining whose slopes differ at the 5 % level, after Holm.
        values: The diversity by id of the data set.
    """

    label: str
    probe_id: str | None
    method: str | None
    is_taken: bool
    n: int
    rank_correlation: float
    correlations: dict[str, Correlation]
    n_correlated: int
    n_slopes_differ: int
    values: dict[str, float]


@dataclass(frozen=True)
class AnalysisOptions:
    """What a user decides before looking at the figures.

    Attributes:
        margin: The largest difference between methods that does not matter, in the unit of the metric.
        smallest_r_squared: The smallest share of variance that would be of interest.
        families: By name of the data set its family; those that are not named are families of their own.
        probe_id: The probe, or the beginning of its id; None for that which most data sets have.
    """

    margin: float = 0.01
    smallest_r_squared: float = 0.2
    families: dict[str, str] = field(default_factory=dict)
    probe_id: str | None = None


@dataclass(frozen=True)
class StudyAnalysis:
    """All figures of a study, with the queries they came from.

    Attributes:
        lake: The lake's address.
        project: The project.
        metric: ``"accuracy"`` or ``"loss"``.
        data_until: When the newest of the runs began.
        options: What was decided beforehand.
        settings_id: The settings whose runs were taken; None for runs without such a tag.
        other_settings: Further settings of the project, newest first; None among them means runs without.
        notes: What was left out and what to beware of, in sentences.
        datasets: Rows of the diversity query, those of the probe that was taken.
        covariates: What else data sets differ in.
        configurations: Correlation per configuration.
        comparisons: Each MAML configuration against pretraining.
        effects: MAML minus pretraining per data set.
        measures: The same correlations for every other diversity that the lake holds.
        needs: What this many data sets can find.
        queries: What was asked of the lake.
        run_ids: The runs that the figures come from.
        distances: Distances between tasks, where the lake has their embeddings.
    """

    lake: str
    project: str
    metric: str
    data_until: datetime
    options: AnalysisOptions
    settings_id: str | None
    other_settings: tuple[str | None, ...]
    notes: tuple[str, ...]
    datasets: tuple[dict[str, Any], ...]
    covariates: tuple[Covariate, ...]
    configurations: tuple[ConfigurationResult, ...]
    comparisons: tuple[Comparison, ...]
    effects: tuple[EffectResult, ...]
    measures: tuple[MeasureResult, ...]
    needs: Needs
    queries: tuple[QueryResult, ...]
    run_ids: tuple[str, ...]
    distances: TaskDistances | None = None

    @property
    def has_families(self) -> bool:
        """Whether a family holds several data sets, so that p and intervals are those over families."""
        return any(one.n_families < one.correlation.n for one in self.configurations)
