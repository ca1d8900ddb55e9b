"""The diversity study: data sets x algorithms x seeds, trained, embedded and correlated through one lake."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lightning_lde.study._answer import AnalysisOptions, Effect, EffectResult, MeasureResult, Needs, StudyAnalysis
from lightning_lde.study._cells import ALGORITHMS, Cell, plan_cells
from lightning_lde.study._correlation import analyse
from lightning_lde.study._diversities import DatasetDiversity, TaskDistances, dataset_diversities, task_distances
from lightning_lde.study._duplicates import Duplicate, find_duplicates
from lightning_lde.study._labels import configuration_label
from lightning_lde.study._pace import Pace, about, past_durations
from lightning_lde.study._parallel import BACKENDS, default_jobs
from lightning_lde.study._plan import Criterion, PowerAtSeeds, StudyPlan, plan_study
from lightning_lde.study._plan_check import CriterionResult, PlanCheck, check_plan
from lightning_lde.study._plan_front import PlannedStudy, read_plan
from lightning_lde.study._plan_page import plan_page
from lightning_lde.study._plan_pilot import Measured, Pilot
from lightning_lde.study._queries import QueryResult
from lightning_lde.study._record import analysis_figures, record_analysis, result_id_of
from lightning_lde.study._repetitions import MeasuredRun
from lightning_lde.study._results import AdjustedSlope, Comparison, ConfigurationResult, Covariate, Point
from lightning_lde.study._sensitivity import ProbeAgreement, ProbeSensitivity, probe_sensitivity, sensitivity_lines
from lightning_lde.study._settings import PRESETS, StudySettings, preset
from lightning_lde.study._states import CellState, cell_states
from lightning_lde.study._tables import StudyTables, accuracy_lines, study_tables
from lightning_lde.study._variability import RepetitionGroup, VariabilityAnalysis, analyse_variability

if TYPE_CHECKING:
    from lightning_lde.study._data import study_datasets
    from lightning_lde.study._diversity import measure_diversity
    from lightning_lde.study._pixels import nearest_centroid_accuracy, pixel_baseline
    from lightning_lde.study._probes import StudyProbe, open_probe
    from lightning_lde.study._run import CellOutcome, cells_to_run, run_cells
    from lightning_lde.study._train import make_module, train_cell
    from lightning_lde.study._train_probe import train_probe

__all__ = [
    "ALGORITHMS",
    "BACKENDS",
    "PRESETS",
    "AdjustedSlope",
    "AnalysisOptions",
    "Cell",
    "CellOutcome",
    "CellState",
    "Comparison",
    "ConfigurationResult",
    "Covariate",
    "Criterion",
    "CriterionResult",
    "DatasetDiversity",
    "Duplicate",
    "Effect",
    "EffectResult",
    "MeasureResult",
    "Measured",
    "MeasuredRun",
    "Needs",
    "Pace",
    "Pilot",
    "PlanCheck",
    "PlannedStudy",
    "Point",
    "PowerAtSeeds",
    "ProbeAgreement",
    "ProbeSensitivity",
    "QueryResult",
    "RepetitionGroup",
    "StudyAnalysis",
    "StudyPlan",
    "StudyProbe",
    "StudySettings",
    "StudyTables",
    "TaskDistances",
    "VariabilityAnalysis",
    "about",
    "accuracy_lines",
    "analyse",
    "analyse_variability",
    "analysis_figures",
    "cell_states",
    "cells_to_run",
    "check_plan",
    "configuration_label",
    "dataset_diversities",
    "default_jobs",
    "find_duplicates",
    "make_module",
    "measure_diversity",
    "nearest_centroid_accuracy",
    "open_probe",
    "past_durations",
    "pixel_baseline",
    "plan_cells",
    "plan_page",
    "plan_study",
    "preset",
    "probe_sensitivity",
    "read_plan",
    "record_analysis",
    "result_id_of",
    "run_cells",
    "sensitivity_lines",
    "study_datasets",
    "study_tables",
    "task_distances",
    "train_cell",
    "train_probe",
]

_HOMES = {
    "CellOutcome": "lightning_lde.study._run",
    "StudyProbe": "lightning_lde.study._probes",
    "cells_to_run": "lightning_lde.study._run",
    "make_module": "lightning_lde.study._train",
    "measure_diversity": "lightning_lde.study._diversity",
    "nearest_centroid_accuracy": "lightning_lde.study._pixels",
    "open_probe": "lightning_lde.study._probes",
    "pixel_baseline": "lightning_lde.study._pixels",
    "run_cells": "lightning_lde.study._run",
    "study_datasets": "lightning_lde.study._data",
    "train_cell": "lightning_lde.study._train",
    "train_probe": "lightning_lde.study._train_probe",
}


def __getattr__(name: str) -> Any:
    # What trains takes seconds to import, with torch and Lightning; whoever only reads a lake need not wait.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_HOMES[name]), name)
    return value
