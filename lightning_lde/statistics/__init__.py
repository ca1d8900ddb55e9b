"""Statistics over data sets and runs: correlations, comparisons, means and variances, each with its uncertainty."""

from ._comparison import DependentDifference, compare_dependent
from ._correlation import Correlation, correlate, regression_band
from ._effect import EffectSize, cohens_d, paired_cohens_d
from ._equivalence import Equivalence, equivalence, paired_equivalence
from ._heterogeneity import Heterogeneity, random_effects
from ._intervals import Interval, clustered_mean_interval, mean_interval
from ._linear import Coefficient
from ._mixed import MixedRegression, mixed_regression
from ._multiplicity import benjamini_hochberg, holm
from ._paired import PairedComparison, paired_test
from ._power import correlation_power, n_required, paired_power, pairs_required
from ._regression import Regression, regress
from ._repetition import PooledDeviation, detectable_difference, pooled_deviation, repetitions_required
from ._variance import VarianceComponent, VarianceDecomposition, variance_components
from ._welch import MeanDifference, mean_difference

__all__ = [
    "Coefficient",
    "Correlation",
    "DependentDifference",
    "EffectSize",
    "Equivalence",
    "Heterogeneity",
    "Interval",
    "MeanDifference",
    "MixedRegression",
    "PairedComparison",
    "PooledDeviation",
    "Regression",
    "VarianceComponent",
    "VarianceDecomposition",
    "benjamini_hochberg",
    "clustered_mean_interval",
    "cohens_d",
    "compare_dependent",
    "correlate",
    "correlation_power",
    "detectable_difference",
    "equivalence",
    "holm",
    "mean_difference",
    "mean_interval",
    "mixed_regression",
    "n_required",
    "paired_cohens_d",
    "paired_equivalence",
    "paired_power",
    "paired_test",
    "pairs_required",
    "pooled_deviation",
    "random_effects",
    "regress",
    "regression_band",
    "repetitions_required",
    "variance_components",
]
