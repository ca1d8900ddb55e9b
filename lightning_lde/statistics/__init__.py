"""Statistics over data sets and runs: correlations, comparisons and means, each with its uncertainty."""

from ._comparison import DependentDifference, compare_dependent, holm, n_required
from ._correlation import Correlation, correlate, regression_band
from ._heterogeneity import Heterogeneity, random_effects
from ._intervals import Interval, clustered_mean_interval, mean_interval
from ._welch import MeanDifference, mean_difference

__all__ = [
    "Correlation",
    "DependentDifference",
    "Heterogeneity",
    "Interval",
    "MeanDifference",
    "clustered_mean_interval",
    "compare_dependent",
    "correlate",
    "holm",
    "mean_difference",
    "mean_interval",
    "n_required",
    "random_effects",
    "regression_band",
]
