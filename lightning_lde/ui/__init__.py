"""Pages and reports: pure functions from figures to HTML and text."""

from lightning_lde.ui._figures import StudyFigure, save_figures, study_figures
from lightning_lde.ui._recommendation import gain_text, recommendation_text
from lightning_lde.ui._report import study_report
from lightning_lde.ui._variability import variability_text
from lightning_lde.ui._verdict import answer, verdict

__all__ = [
    "StudyFigure",
    "answer",
    "gain_text",
    "recommendation_text",
    "save_figures",
    "study_figures",
    "study_report",
    "variability_text",
    "verdict",
]
