"""Diversity of data: Task2Vec embeddings of tasks, their distances, and the diversity coefficient."""

from ._alignment import CrossDiversity, cross_diversity
from ._coefficient import Coefficient, diversity_coefficient
from ._coverage import ClassCoverage, KindScore, RegionCoverage
from ._crossvalidated import (
    CoefficientDifference,
    CrossValidatedCoefficient,
    coefficient_difference,
    crossvalidated_coefficient,
)
from ._distance import pairwise_distances
from ._effective import EffectiveNumber, effective_number, vendi_score
from ._estimate import TaskEstimate, mean_complexity, per_sample_spread, standardised_coefficient
from ._features import feature_deviation, mean_feature_halves
from ._fisher import TaskEmbedding, fisher_embedding
from ._halves import Halves, check_halves, halve
from ._monitor import DiversityMonitor, MonitorUpdate
from ._probe import Probe
from ._profiles import crossvalidated_distances, log_profiles, log_ratio_distances
from ._report import MonitorReport
from ._resnet import resnet18, resnet34
from ._size import CommonSize, common_size, subsample
from ._stopping import GrowthCusum
from ._sums import DiversitySums

__all__ = [
    "ClassCoverage",
    "Coefficient",
    "CoefficientDifference",
    "CommonSize",
    "CrossDiversity",
    "CrossValidatedCoefficient",
    "DiversityMonitor",
    "DiversitySums",
    "EffectiveNumber",
    "GrowthCusum",
    "Halves",
    "KindScore",
    "MonitorReport",
    "MonitorUpdate",
    "Probe",
    "RegionCoverage",
    "TaskEmbedding",
    "TaskEstimate",
    "check_halves",
    "coefficient_difference",
    "common_size",
    "cross_diversity",
    "crossvalidated_coefficient",
    "crossvalidated_distances",
    "diversity_coefficient",
    "effective_number",
    "feature_deviation",
    "fisher_embedding",
    "halve",
    "log_profiles",
    "log_ratio_distances",
    "mean_complexity",
    "mean_feature_halves",
    "pairwise_distances",
    "per_sample_spread",
    "resnet18",
    "resnet34",
    "standardised_coefficient",
    "subsample",
    "vendi_score",
]
