"""Rows that belong to no run, such as the results of an analysis."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_lde.lake import HotFile, LakeStorage
from lightning_lde.recording._governance import Governance
from lightning_lde.recording._known import secrets_around
from lightning_lde.schema import Record, records_to_arrow


def add_results(storage: LakeStorage, table: str, records: Sequence[Record], *, project: str) -> HotFile:
    """Add rows under a writer id of their own, fit to be written as the lake's policy says.

    Args:
        storage: The lake.
        table: The table's name.
        records: At least one instance of the table's dataclass.
        project: The project, a partition.

    Raises:
        FileNotFoundError: If there is no lake.
        StoreError: If it cannot be written.
    """
    governance = Governance(known=secrets_around(storage.given_options))
    governance.learn(storage.policy())
    rows = governance.table(table, records_to_arrow(table, records))
    return storage.add_rows(table, rows, project=governance.without_secrets(project))
