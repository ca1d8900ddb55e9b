"""Runs the cells of a study that a lake does not hold yet."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde import reproducing
from lightning_lde.errors import RecordingWarning, tell
from lightning_lde.fewshot import FewShotDataset
from lightning_lde.query import Lake
from lightning_lde.recording import sync_lake
from lightning_lde.study._cells import Cell, finished_cells
from lightning_lde.study._parallel import in_parallel
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._train import train_cell


@dataclass(frozen=True)
class CellOutcome:
    """What became of one cell.

    Attributes:
        cell: The cell.
        run_id: The run that trained it, None where it failed.
        error: The traceback where it failed.
    """

    cell: Cell
    run_id: str | None
    error: str | None = None


def cells_to_run(lake: Lake, cells: Sequence[Cell], *, project: str) -> list[Cell]:
    """The cells that are not finished, in their order; in a reproduction, the one that it is about.

    A run that was killed may have finished on this machine's disk and not in the lake yet: what lies there is sent
    first.
    """
    target = reproducing.wanted()
    if target is not None and (wanted := (target.identity.get("tags") or {}).get("cell")):
        return [cell for cell in cells if cell.cell_id == wanted]
    for outcome in sync_lake(lake.storage):
        if outcome.error is not None:
            tell(f"of an earlier run, {outcome.path} was not sent: {outcome.error}", RecordingWarning)
    finished = finished_cells(lake, project)
    return [cell for cell in cells if cell.cell_id not in finished]


def run_cells(
    lake: Lake,
    cells: Sequence[Cell],
    datasets: Sequence[FewShotDataset],
    settings: StudySettings,
    *,
    project: str,
    jobs: int = 1,
) -> Iterator[CellOutcome]:
    """Train cells in several processes; one that fails does not stop the others.

    Args:
        lake: The lake.
        cells: What to train.
        datasets: The data sets that the cells name, prepared.
        settings: The study's numbers.
        project: The project in the lake.
        jobs: Processes.

    Yields:
        The outcome of each cell as it ends.
    """
    by_name = {dataset.name: dataset for dataset in datasets}
    calls = {
        cell.cell_id: (_outcome, (cell, by_name[cell.dataset], settings, lake.url, project, lake.storage_options))
        for cell in cells
    }
    for _, outcome in in_parallel(calls, jobs=jobs):
        yield outcome


def _outcome(
    cell: Cell,
    dataset: FewShotDataset,
    settings: StudySettings,
    lake: str,
    project: str,
    storage_options: Mapping[str, Any],
) -> CellOutcome:
    try:
        run_id = train_cell(cell, dataset, settings, lake=lake, project=project, storage_options=storage_options)
    except Exception:
        return CellOutcome(cell, None, traceback.format_exc())
    return CellOutcome(cell, run_id)
