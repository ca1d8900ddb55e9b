"""The diversity study: data sets x algorithms x seeds, trained, embedded and correlated through one lake."""

from lightning_lde.study._cells import ALGORITHMS, Cell, finished_cells, plan_cells
from lightning_lde.study._correlation import analyse, configuration_label
from lightning_lde.study._data import study_datasets
from lightning_lde.study._diversity import DatasetDiversity, measure_diversity, train_probe
from lightning_lde.study._duplicates import Duplicate, find_duplicates
from lightning_lde.study._parallel import default_jobs
from lightning_lde.study._queries import QueryResult
from lightning_lde.study._repetitions import MeasuredRun
from lightning_lde.study._results import Comparison, ConfigurationResult, Effect, EffectResult, Point, StudyAnalysis
from lightning_lde.study._run import CellOutcome, cells_to_run, run_cells
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._train import make_module, train_cell
from lightning_lde.study._variability import RepetitionGroup, VariabilityAnalysis, analyse_variability

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
