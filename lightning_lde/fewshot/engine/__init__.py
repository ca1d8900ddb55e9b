"""Gradients through adaptation: what MAML and its kin compute, apart from any Trainer."""

from lightning_lde.fewshot.engine._evaluation import adapted_at, evaluation_mode
from lightning_lde.fewshot.engine._inner import InnerLoop, Parameters, accuracy, adapt, query_loss, trainable
from lightning_lde.fewshot.engine._meta import MetaLoss, meta_loss

__all__ = [
    "InnerLoop",
    "MetaLoss",
    "Parameters",
    "accuracy",
    "adapt",
    "adapted_at",
    "evaluation_mode",
    "meta_loss",
    "query_loss",
    "trainable",
]
