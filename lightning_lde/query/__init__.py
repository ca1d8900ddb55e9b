"""Questions to a lake: SQL views, runs in detail."""

from lightning_lde.query._details import RunDetails, run_details
from lightning_lde.query._lake import Lake

__all__ = ["Lake", "RunDetails", "run_details"]
