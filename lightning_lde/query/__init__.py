"""Questions to a lake: SQL views, runs in detail, lineage, versions of data sets."""

from lightning_lde.query._data_versions import Affected, DataUse, DataVersion, data_history, data_impact
from lightning_lde.query._details import RunDetails, run_details
from lightning_lde.query._graph import Edge
from lightning_lde.query._lake import Lake
from lightning_lde.query._lineage import Lineage, Step, lineage
from lightning_lde.query._nodes import Node

__all__ = [
    "Affected",
    "DataUse",
    "DataVersion",
    "Edge",
    "Lake",
    "Lineage",
    "Node",
    "RunDetails",
    "Step",
    "data_history",
    "data_impact",
    "lineage",
    "run_details",
]
