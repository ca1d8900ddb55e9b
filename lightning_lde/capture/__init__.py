"""What can be known of a run: pure functions over code, environment, data, model, settings, seeds, weights."""

from __future__ import annotations

from lightning_lde.capture._code import CapturedCode, capture_code, capture_sources
from lightning_lde.capture._data import describe_dataset
from lightning_lde.capture._environment import capture_environment, is_recorded_variable
from lightning_lde.capture._launch import command_line
from lightning_lde.capture._loaders import describe_loader, loaders_of
from lightning_lde.capture._pipeline import describe_pipeline
from lightning_lde.capture._random import random_state, restore_random_state
from lightning_lde.capture._redaction import REDACTED, redact, redact_argv, redact_text
from lightning_lde.capture._seeds import capture_seeds
from lightning_lde.capture._settings import describe_pipeline_config
from lightning_lde.capture._values import flatten_params, json_safe
from lightning_lde.capture._weights import weights_fingerprint

__all__ = [
    "REDACTED",
    "CapturedCode",
    "capture_code",
    "capture_environment",
    "capture_seeds",
    "capture_sources",
    "command_line",
    "describe_dataset",
    "describe_loader",
    "describe_pipeline",
    "describe_pipeline_config",
    "flatten_params",
    "is_recorded_variable",
    "json_safe",
    "loaders_of",
    "random_state",
    "redact",
    "redact_argv",
    "redact_text",
    "restore_random_state",
    "weights_fingerprint",
]
