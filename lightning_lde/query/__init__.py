"""Questions to a lake: SQL views, runs in detail, runs side by side."""

from lightning_lde.query._code_states import CodeDifference, compare_code
from lightning_lde.query._compare import (
    MetricComparison,
    RunComparison,
    RunHead,
    compare_records,
    compare_runs,
    is_telling,
)
from lightning_lde.query._curves import CurveDifference, PairedPoint, compare_curves
from lightning_lde.query._details import RunDetails, run_details
from lightning_lde.query._differences import MISSING, Fact, compare_nested, differences
from lightning_lde.query._environments import EnvironmentComparison, compare_environments
from lightning_lde.query._evaluations import EvaluationDifference, ScoreDifference, evaluation_title
from lightning_lde.query._figures import CurveFigures
from lightning_lde.query._lake import Lake
from lightning_lde.query._records import MetricKey, RunRecords, metric_title, read_records
from lightning_lde.query._repetitions import SeedFigure, SeedGroup
from lightning_lde.query._sections import Section

__all__ = [
    "MISSING",
    "CodeDifference",
    "CurveDifference",
    "CurveFigures",
    "EnvironmentComparison",
    "EvaluationDifference",
    "Fact",
    "Lake",
    "MetricComparison",
    "MetricKey",
    "PairedPoint",
    "RunComparison",
    "RunDetails",
    "RunHead",
    "RunRecords",
    "ScoreDifference",
    "Section",
    "SeedFigure",
    "SeedGroup",
    "compare_code",
    "compare_curves",
    "compare_environments",
    "compare_nested",
    "compare_records",
    "compare_runs",
    "differences",
    "evaluation_title",
    "is_telling",
    "metric_title",
    "read_records",
    "run_details",
]
