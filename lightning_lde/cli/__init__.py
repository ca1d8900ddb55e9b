"""The `lde` command."""

from lightning_lde.cli._app import app, main, run_command
from lightning_lde.cli._arguments import parsed_options

__all__ = ["app", "main", "parsed_options", "run_command"]
