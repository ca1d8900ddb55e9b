"""Recommendation from past results: which configurations to try on a new data set, and why."""

from ._evaluation import Difference, Evaluation, evaluate
from ._evidence import Evidence, SimilarDataset
from ._folds import families
from ._protocol import Prediction, Recommender, Session
from ._reading import read_results
from ._recommendation import Contrast, Proposal, Recommendation, recommend
from ._simple import AverageRank, GreedyPortfolio, RandomChoice
from ._table import ResultTable

__all__ = [
    "AverageRank",
    "Contrast",
    "Difference",
    "Evaluation",
    "Evidence",
    "GreedyPortfolio",
    "Prediction",
    "Proposal",
    "RandomChoice",
    "Recommendation",
    "Recommender",
    "ResultTable",
    "Session",
    "SimilarDataset",
    "evaluate",
    "families",
    "read_results",
    "recommend",
]
