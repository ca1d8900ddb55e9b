"""What can be known of a run: pure functions over code, environment, data, model, settings, seeds, weights."""

from __future__ import annotations

from lightning_lde.capture._checkpoints import checkpoint_fingerprint
from lightning_lde.capture._code import CapturedCode, capture_code, capture_sources, source_folders, with_later_imports
from lightning_lde.capture._data import describe_dataset
from lightning_lde.capture._environment import capture_environment, is_recorded_variable
from lightning_lde.capture._launch import command_line
from lightning_lde.capture._loaders import (
    LoaderLook,
    describe_loader,
    describe_look,
    describe_with_samples,
    loaders_of,
    look_at_loader,
)
from lightning_lde.capture._pace import FINGERPRINTS, Pace
from lightning_lde.capture._people import find_people, hide_emails, hide_names, people_here
from lightning_lde.capture._pickles import PickledValue, pickled_values
from lightning_lde.capture._pipeline import describe_pipeline
from lightning_lde.capture._random import random_state, restore_random_state
from lightning_lde.capture._redaction import redact, redact_argv, redact_text
from lightning_lde.capture._samples import Samples
from lightning_lde.capture._secrets import (
    REDACTED,
    find_secrets,
    is_secret_key,
    looks_like_chance,
    may_be_secret_key,
)
from lightning_lde.capture._seeds import capture_seeds
from lightning_lde.capture._settings import constructor_hparams, describe_pipeline_config
from lightning_lde.capture._shapes import Found
from lightning_lde.capture._snapshot import rewritten_snapshot
from lightning_lde.capture._used import ELSEWHERE
from lightning_lde.capture._values import flatten_params, json_safe
from lightning_lde.capture._weights import weights_fingerprint

__all__ = [
    "ELSEWHERE",
    "FINGERPRINTS",
    "REDACTED",
    "CapturedCode",
    "Found",
    "LoaderLook",
    "Pace",
    "PickledValue",
    "Samples",
    "capture_code",
    "capture_environment",
    "capture_seeds",
    "capture_sources",
    "checkpoint_fingerprint",
    "command_line",
    "constructor_hparams",
    "describe_dataset",
    "describe_loader",
    "describe_look",
    "describe_pipeline",
    "describe_pipeline_config",
    "describe_with_samples",
    "find_people",
    "find_secrets",
    "flatten_params",
    "hide_emails",
    "hide_names",
    "is_recorded_variable",
    "is_secret_key",
    "json_safe",
    "loaders_of",
    "look_at_loader",
    "looks_like_chance",
    "may_be_secret_key",
    "people_here",
    "pickled_values",
    "random_state",
    "redact",
    "redact_argv",
    "redact_text",
    "restore_random_state",
    "rewritten_snapshot",
    "source_folders",
    "weights_fingerprint",
    "with_later_imports",
]
