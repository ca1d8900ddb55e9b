"""Recommendation from past results: which configurations to try on a new data set, and why."""

from ._chosen import ChosenByHoldout, HeldOutRegret
from ._empirical_bayes import EmpiricalBayes
from ._evaluation import Difference, Evaluation, evaluate
from ._evidence import Evidence, SimilarDataset
from ._factorisation import MatrixFactorisation
from ._folds import families
from ._gain import AggregationGain, GainStep, gain_of_aggregation
from ._nearest import NearestDatasets
from ._protocol import Prediction, Recommender, Session
from ._reading import read_results
from ._recommendation import Contrast, Proposal, Recommendation, recommend
from ._simple import AverageRank, GreedyPortfolio, RandomChoice
from ._surrogate import SurrogateAcrossDatasets
from ._table import ResultTable
from ._warm_start import WarmStart, warm_start

__all__ = [
    "AggregationGain",
    "AverageRank",
    "ChosenByHoldout",
    "Contrast",
    "Difference",
    "EmpiricalBayes",
    "Evaluation",
    "Evidence",
    "GainStep",
    "GreedyPortfolio",
    "HeldOutRegret",
    "MatrixFactorisation",
    "NearestDatasets",
    "Prediction",
    "Proposal",
    "RandomChoice",
    "Recommendation",
    "Recommender",
    "ResultTable",
    "Session",
    "SimilarDataset",
    "SurrogateAcrossDatasets",
    "WarmStart",
    "evaluate",
    "families",
    "gain_of_aggregation",
    "read_results",
    "recommend",
    "warm_start",
]
