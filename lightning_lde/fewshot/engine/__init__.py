"""Gradients through adaptation: what MAML and its kin compute, apart from any Trainer."""

from lightning_lde.fewshot.engine._convolution import convolve
from lightning_lde.fewshot.engine._evaluation import adapted_at, evaluation_mode, scores_at
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
from lightning_lde.fewshot.engine._plain import is_plain
from lightning_lde.fewshot.engine._pooled_norm import pooled_norm, sign_of
from lightning_lde.fewshot.engine._recording import Recorder

__all__ = [
    "InnerLoop",
    "MetaLoss",
    "Parameters",
    "Recorder",
    "accuracy",
    "adapt",
    "adapted_at",
    "channels_last",
    "convolve",
    "evaluation_mode",
    "is_plain",
    "keep_memory",
    "kept_memory",
    "meta_loss",
    "pooled_norm",
    "query_loss",
    "return_memory",
    "scores_at",
    "sign_of",
    "trainable",
]
