"""What a lake knows of each cell of a study: finished, failed and why, cut off, or still to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde.query import Lake
from lightning_lde.schema import RunStatus
from lightning_lde.study._cells import Cell

TO_DO = "to do"


@dataclass(frozen=True)
class CellState:
    """A cell, and the newest of its runs; a finished one where there is any.

    Attributes:
        cell: The cell.
        state: A word of ``RunStatus``, or ``"to do"`` where no run has begun, or one ended before its test.
        run_id: The run.
        reason: Why it failed or was interrupted.
        duration_s: How long it took.
    """

    cell: Cell
    state: str
    run_id: str | None = None
    reason: str | None = None
    duration_s: float | None = None


def cell_states(lake: Lake, cells: Sequence[Cell], *, project: str) -> list[CellState]:
    """The state of each cell, in the order of the cells.

    Args:
        lake: The lake.
        cells: The cells of the study.
        project: The project in the lake.
    """
    rows = lake.sql(
        f"""with tried as (
                select run_id, tags->>'cell' as cell, status, exception as reason, duration_s, started_at,
                       run_id in (select run_id from episodes) as is_tested
                from runs where project = ? and tags->>'cell' is not null)
            select cell, run_id, reason, duration_s,
                   case when status = '{RunStatus.FINISHED}' and not is_tested then '{TO_DO}' else status end as state
            from tried
            qualify row_number() over (
                partition by cell order by state = '{RunStatus.FINISHED}' desc, started_at desc) = 1""",
        [project],
    ).to_pylist()
    known: dict[str, dict[str, Any]] = {row.pop("cell"): row for row in rows}
    return [CellState(cell, **known.get(cell.cell_id, {"state": TO_DO})) for cell in cells]
