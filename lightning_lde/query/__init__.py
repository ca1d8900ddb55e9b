"""Questions to a lake: SQL views, runs in detail and side by side, lineage, versions of data sets."""

from lightning_lde.query._advice import Advice, advise
from lightning_lde.query._artifacts import RunArtifact, Space, each_artifact, space_of
from lightning_lde.query._attempts import chain_of_attempts
from lightning_lde.query._cli_config import config_text, lightning_config
from lightning_lde.query._code_states import CodeDifference, compare_code
from lightning_lde.query._compare import (
    MetricComparison,
    RunComparison,
    RunHead,
    compare_runs,
    is_telling,
)
from lightning_lde.query._curves import CurveDifference, PairedPoint, compare_curves
from lightning_lde.query._data_versions import Affected, DataUse, DataVersion, data_history, data_impact
from lightning_lde.query._details import RunDetails, run_details
from lightning_lde.query._differences import MISSING, Fact, compare_nested, differences
from lightning_lde.query._environments import EnvironmentComparison, compare_environments
from lightning_lde.query._evaluations import EvaluationDifference, ScoreDifference, evaluation_title
from lightning_lde.query._facts import RunFacts, read_facts
from lightning_lde.query._figures import CurveFigures
from lightning_lde.query._files import at_one_moment, dataset_at
from lightning_lde.query._graph import Edge
from lightning_lde.query._json import decoded_row
from lightning_lde.query._lake import Lake
from lightning_lde.query._lineage import Lineage, Step, lineage
from lightning_lde.query._manifests import Manifests, SampleChanges
from lightning_lde.query._nodes import Node
from lightning_lde.query._points import (
    DEFAULT_TOLERANCE,
    Pairing,
    difference,
    is_near,
    numbered,
    paired,
    relative_difference,
    same_bits,
)
from lightning_lde.query._records import MetricKey, metric_title
from lightning_lde.query._repetitions import SeedFigure, SeedGroup
from lightning_lde.query._results import PastResults, results_for_recommendation
from lightning_lde.query._sections import Section
from lightning_lde.query._uses import placed_uses

__all__ = [
    "DEFAULT_TOLERANCE",
    "MISSING",
    "Advice",
    "Affected",
    "CodeDifference",
    "CurveDifference",
    "CurveFigures",
    "DataUse",
    "DataVersion",
    "Edge",
    "EnvironmentComparison",
    "EvaluationDifference",
    "Fact",
    "Lake",
    "Lineage",
    "Manifests",
    "MetricComparison",
    "MetricKey",
    "Node",
    "PairedPoint",
    "Pairing",
    "PastResults",
    "RunArtifact",
    "RunComparison",
    "RunDetails",
    "RunFacts",
    "RunHead",
    "SampleChanges",
    "ScoreDifference",
    "Section",
    "SeedFigure",
    "SeedGroup",
    "Space",
    "Step",
    "advise",
    "at_one_moment",
    "chain_of_attempts",
    "compare_code",
    "compare_curves",
    "compare_environments",
    "compare_nested",
    "compare_runs",
    "config_text",
    "data_history",
    "data_impact",
    "dataset_at",
    "decoded_row",
    "difference",
    "differences",
    "each_artifact",
    "evaluation_title",
    "is_near",
    "is_telling",
    "lightning_config",
    "lineage",
    "metric_title",
    "numbered",
    "paired",
    "placed_uses",
    "read_facts",
    "relative_difference",
    "results_for_recommendation",
    "run_details",
    "same_bits",
    "space_of",
]
