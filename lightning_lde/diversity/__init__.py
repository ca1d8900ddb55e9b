"""Diversity of data: Task2Vec embeddings of tasks, their distances, and the diversity coefficient."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
from ._halves import Halves, check_halves, halve
from ._monitor import DiversityMonitor, MonitorUpdate
from ._profiles import crossvalidated_distances, log_profiles, log_ratio_distances
from ._report import MonitorReport
from ._size import CommonSize, common_size, subsample
from ._stopping import GrowthCusum
from ._sums import DiversitySums

if TYPE_CHECKING:
    from ._fisher import TaskEmbedding, fisher_embedding, fisher_method
    from ._probe import Probe
    from ._resnet import resnet18, resnet34

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
    "fisher_method",
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

_HOMES = {
    "Probe": "_probe",
    "TaskEmbedding": "_fisher",
    "fisher_embedding": "_fisher",
    "fisher_method": "_fisher",
    "resnet18": "_resnet",
    "resnet34": "_resnet",
}


def __getattr__(name: str) -> Any:
    # What embeds needs torch, which takes seconds to import; coefficients of stored vectors need numpy alone.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    return value
