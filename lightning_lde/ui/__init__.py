"""Pages and reports: pure functions from figures to HTML."""

from lightning_lde.ui._report import study_report, verdict

__all__ = ["study_report", "verdict"]
