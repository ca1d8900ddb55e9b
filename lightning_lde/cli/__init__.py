"""The `lde` command."""

from lightning_lde.cli._app import app, main, run_command

__all__ = ["app", "main", "run_command"]
