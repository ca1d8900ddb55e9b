"""The `lde` command."""

from lightning_lde.cli._app import app, main, run_command
from lightning_lde.cli._arguments import parsed_options
from lightning_lde.cli._output import print_sentences
from lightning_lde.cli._study_options import analysis_options, study_analysis, written

__all__ = [
    "analysis_options",
    "app",
    "main",
    "parsed_options",
    "print_sentences",
    "run_command",
    "study_analysis",
    "written",
]
