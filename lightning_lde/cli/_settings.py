"""The settings of listed runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_lde.query import Lake

MOST_SETTINGS = 8
"""Columns with settings that a table for people has at most."""


def settings_of(lake: Lake, runs: Sequence[str], *, only_different: bool) -> dict[str, Sequence[str | None]]:
    """The value of each setting in each run, as text; None where a run has none.

    Args:
        lake: The lake.
        runs: Whole ids.
        only_different: Leave out what is equal in all of them.
    """
    found: dict[str, dict[str, str]] = {}
    for row in lake.params(runs).to_pylist() if runs else ():
        found.setdefault(row["key"], {})[row["run_id"]] = row["value_text"]
    values = {key: [by_run.get(run) for run in runs] for key, by_run in sorted(found.items())}
    return {key: row for key, row in values.items() if not only_different or len(set(row)) > 1}
