"""Diversity of data: Task2Vec embeddings of tasks, their distances, and the diversity coefficient."""

from ._coefficient import Coefficient, diversity_coefficient
from ._distance import pairwise_distances
from ._fisher import TaskEmbedding, fisher_embedding
from ._probe import Probe
from ._resnet import resnet18, resnet34

__all__ = [
    "Coefficient",
    "Probe",
    "TaskEmbedding",
    "diversity_coefficient",
    "fisher_embedding",
    "pairwise_distances",
    "resnet18",
    "resnet34",
]
