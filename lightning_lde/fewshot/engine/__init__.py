"""Gradients through adaptation: what MAML and its kin compute, apart from any Trainer."""

from lightning_lde.fewshot.engine._evaluation import adapted_at, evaluation_mode
from lightning_lde.fewshot.engine._inner import (
    InnerLoop,
    Parameters,
    accuracy,
    adapt,
    channels_last,
    query_loss,
    trainable,
)
from lightning_lde.fewshot.engine._memory import keep_memory, kept_memory, return_memory
from lightning_lde.fewshot.engine._meta import MetaLoss, meta_loss
from lightning_lde.fewshot.engine._pooled_norm import can_pool_norm, is_transformed, pooled_norm
from lightning_lde.fewshot.engine._together import scores_together

__all__ = [
    "InnerLoop",
    "MetaLoss",
    "Parameters",
    "accuracy",
    "adapt",
    "adapted_at",
    "can_pool_norm",
    "channels_last",
    "evaluation_mode",
    "is_transformed",
    "keep_memory",
    "kept_memory",
    "meta_loss",
    "pooled_norm",
    "query_loss",
    "return_memory",
    "scores_together",
    "trainable",
]
