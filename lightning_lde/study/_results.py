"""What an analysis finds per configuration: points, slopes, covariates, comparisons."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_lde.statistics import Correlation, DependentDifference, MixedRegression, Regression


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
class Covariate:
    """Something else that data sets differ in, and that a metric may follow.

    Attributes:
        name: What it is, with its unit.
        values: By data set, those that have a diversity.
        r: Its correlation with diversity.
        reason: Why it is not held fixed in a regression; None where it is.
    """

    name: str
    values: dict[str, float]
    r: float
    reason: str | None = None

    @property
    def is_confounded(self) -> bool:
        """Whether it changes with diversity so exactly that no regression can tell them apart."""
        return self.r**2 > 1.0 - 1e-9


@dataclass(frozen=True)
class AdjustedSlope:
    """The slope over diversity with covariates held fixed.

    Attributes:
        covariates: Their names.
        regression: The regression; None where it does not exist.
        reason: Why it does not.
    """

    covariates: tuple[str, ...]
    regression: Regression | None
    reason: str | None = None


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
        regression: The same over families of data sets, by a wild cluster bootstrap; a data set is a family of its own
            where none was named. None where the metric is the same for all data sets.
        p_holm: ``p``, corrected by Holm for the number of configurations.
        p_benjamini_hochberg: ``p``, corrected by Benjamini and Hochberg.
        adjusted: The slope beside each covariate, and beside all of them.
        mixed: The slope over runs with a random effect of the data set; None where it does not exist.
        mixed_reason: Why it does not.
        n_required: Data sets for 80 % power at the R² that was found.
    """

    label: str
    method: str
    inner_steps: int | None
    ways: int
    shots: int
    points: tuple[Point, ...]
    correlation: Correlation
    regression: Regression | None
    p_holm: float
    p_benjamini_hochberg: float
    adjusted: tuple[AdjustedSlope, ...]
    mixed: MixedRegression | None
    mixed_reason: str | None
    n_required: int | None

    @property
    def p(self) -> float:
        """The p of the slope: by permutation of data sets, or by the bootstrap where families hold several."""
        return p_of_slope(self.correlation, self.regression)

    @property
    def n_families(self) -> int:
        """Families of data sets."""
        return self.correlation.n if self.regression is None else self.regression.n_clusters

    @property
    def bootstrap_bounds(self) -> tuple[float, float]:
        """The interval of the slope by a wild bootstrap over families."""
        if self.regression is None:
            return 0.0, 0.0
        return self.regression.slope_bootstrap_low, self.regression.slope_bootstrap_high

    @property
    def slope_bounds(self) -> tuple[float, float]:
        """The interval of the slope: that of t, or of the bootstrap where families hold several data sets."""
        if self._is_independent:
            return self.correlation.slope_low, self.correlation.slope_high
        return self.bootstrap_bounds

    @property
    def r_squared_bounds(self) -> tuple[float, float]:
        """The interval of R²: by bootstrap over data sets, or by a jackknife over families that hold several."""
        if self.regression is None or self._is_independent:
            return self.correlation.r_squared_low, self.correlation.r_squared_high
        return self.regression.r_squared_partial_low, self.regression.r_squared_partial_high

    @property
    def gain(self) -> tuple[float, float, float]:
        """From the least to the most diverse data set: the change along the line, and its interval."""
        low, high = self.slope_bounds
        return self.correlation.slope * self.span, low * self.span, high * self.span

    @property
    def span(self) -> float:
        """The range of diversity."""
        diversity = [point.diversity for point in self.points]
        return max(diversity) - min(diversity)

    @property
    def _is_independent(self) -> bool:
        return self.n_families == self.correlation.n


def p_of_slope(correlation: Correlation, regression: Regression | None) -> float:
    """The p of a slope: by permutation of data sets, or by the bootstrap where families hold several."""
    if regression is None or regression.n_clusters == regression.n:
        return correlation.p_permutation
    return regression.p_bootstrap


@dataclass(frozen=True)
class Comparison:
    """Whether one configuration's metric rises more with diversity than the other's.

    Attributes:
        first: Label of the MAML configuration.
        second: Label of the pretraining.
        difference: The tests and their intervals; n is the number of data sets that both have.
        r_of_difference: Correlation of the difference of both with diversity.
        p_holm: ``p``, corrected by Holm for the number of comparisons.
        p_slope_holm: The p of equal slopes, corrected in the same way.
        n_required: Data sets for 80 % power to find a difference of slopes such as was found.
    """

    first: str
    second: str
    difference: DependentDifference
    r_of_difference: float
    p_holm: float
    p_slope_holm: float
    n_required: int | None

    @property
    def p(self) -> float:
        """The p of equal correlations: Williams's, or the jackknife's where families hold several data sets."""
        return p_of(self.difference)


def p_of(difference: DependentDifference) -> float:
    """The p of equal correlations: Williams's, or the jackknife's where families hold several data sets."""
    return difference.p_williams if difference.n_clusters == difference.n else difference.p_jackknife


def is_finite(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)
