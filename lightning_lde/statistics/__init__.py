"""Statistics over data sets and runs: correlations, comparisons, means and variances, each with its uncertainty."""

from ._comparison import DependentDifference, compare_dependent, holm, n_required
from ._correlation import Correlation, correlate, regression_band
from ._heterogeneity import Heterogeneity, random_effects
from ._intervals import Interval, clustered_mean_interval, mean_interval
from ._repetition import PooledDeviation, detectable_difference, pooled_deviation, repetitions_required
from ._variance import VarianceComponent, VarianceDecomposition, variance_components
from ._welch import MeanDifference, mean_difference

__all__ = [
    "Correlation",
    "DependentDifference",
    "Heterogeneity",
    "Interval",
    "MeanDifference",
    "PooledDeviation",
    "VarianceComponent",
    "VarianceDecomposition",
    "clustered_mean_interval",
    "compare_dependent",
    "correlate",
    "detectable_difference",
    "holm",
    "mean_difference",
    "mean_interval",
    "n_required",
    "pooled_deviation",
    "random_effects",
    "regression_band",
    "repetitions_required",
    "variance_components",
]
