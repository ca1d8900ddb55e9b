"""Says why the bytes of a file are not there: archived, deleted by the policy, or missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde.errors import ArchivedError, ArtifactNotFoundError
from lightning_lde.schema import Tier

if TYPE_CHECKING:
    from lightning_lde.query._lake import Lake

_PLACED = """
    select recorded_at, reason from stored.placements
    where run_id = ? and path = ? and object_id = ? and tier = 'deleted' order by recorded_at desc limit 1"""


def why_unreadable(lake: Lake, run_id: str, path: str, row: Mapping[str, Any], error: OSError) -> OSError:
    """The error to raise in the place of the one that reading raised.

    Args:
        lake: The lake.
        run_id: The run.
        path: The file's path.
        row: Its ``object_id`` and ``tier``.
        error: What reading raised.
    """
    if isinstance(error, ArchivedError):
        return ArchivedError(
            f"{path} of run {run_id} is {error.state}: `lde restore {lake.url} {run_id}` brings it back"
        )
    if row["tier"] == Tier.COLD:
        roots = ", ".join(lake.storage.tiers().roots)
        return ArtifactNotFoundError(f"{path} of run {run_id} is cold, and not to be found in {roots}: is it there?")
    if row["tier"] != Tier.DELETED:
        return error
    [placed] = lake.sql(_PLACED, [run_id, path, row["object_id"]]).to_pylist()
    when = f"{placed['recorded_at']:%Y-%m-%d}"
    return ArtifactNotFoundError(
        f"{path} of run {run_id} was deleted by the lake's policy on {when} ({placed['reason']})"
    )
