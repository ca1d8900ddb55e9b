"""Pages and reports: pure functions from figures to HTML and text."""

from lightning_lde.ui._recommendation import gain_text, recommendation_text
from lightning_lde.ui._report import study_report, verdict
from lightning_lde.ui._variability import variability_text

__all__ = ["gain_text", "recommendation_text", "study_report", "variability_text", "verdict"]
