"""The diversity study: data sets x algorithms x seeds, trained, embedded and correlated through one lake."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lightning_lde.study._cells import ALGORITHMS, Cell, finished_cells, plan_cells
from lightning_lde.study._correlation import analyse, configuration_label
from lightning_lde.study._duplicates import Duplicate, find_duplicates
from lightning_lde.study._parallel import default_jobs
from lightning_lde.study._queries import QueryResult
from lightning_lde.study._repetitions import MeasuredRun
from lightning_lde.study._results import Comparison, ConfigurationResult, Effect, EffectResult, Point, StudyAnalysis
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._variability import RepetitionGroup, VariabilityAnalysis, analyse_variability

if TYPE_CHECKING:
    from lightning_lde.study._data import study_datasets
    from lightning_lde.study._diversity import DatasetDiversity, measure_diversity, train_probe
    from lightning_lde.study._run import CellOutcome, cells_to_run, run_cells
    from lightning_lde.study._train import make_module, train_cell

__all__ = [
    "ALGORITHMS",
    "Cell",
    "CellOutcome",
    "Comparison",
    "ConfigurationResult",
    "DatasetDiversity",
    "Duplicate",
    "Effect",
    "EffectResult",
    "MeasuredRun",
    "Point",
    "QueryResult",
    "RepetitionGroup",
    "StudyAnalysis",
    "StudySettings",
    "VariabilityAnalysis",
    "analyse",
    "analyse_variability",
    "cells_to_run",
    "configuration_label",
    "default_jobs",
    "find_duplicates",
    "finished_cells",
    "make_module",
    "measure_diversity",
    "plan_cells",
    "run_cells",
    "study_datasets",
    "train_cell",
    "train_probe",
]

_HOMES = {
    "CellOutcome": "lightning_lde.study._run",
    "DatasetDiversity": "lightning_lde.study._diversity",
    "cells_to_run": "lightning_lde.study._run",
    "make_module": "lightning_lde.study._train",
    "measure_diversity": "lightning_lde.study._diversity",
    "run_cells": "lightning_lde.study._run",
    "study_datasets": "lightning_lde.study._data",
    "train_cell": "lightning_lde.study._train",
    "train_probe": "lightning_lde.study._diversity",
}


def __getattr__(name: str) -> Any:
    # What trains takes seconds to import, with torch and Lightning; whoever only reads a lake need not wait.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_HOMES[name]), name)
    return value
