"""Runs the cells of a study that a lake does not hold yet."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_lde import reproducing
from lightning_lde.errors import ConfigurationError, RecordingWarning, tell
from lightning_lde.fewshot import FewShotDataset
from lightning_lde.query import Lake
from lightning_lde.recording import sync_lake
from lightning_lde.schema import RunStatus
from lightning_lde.study._cells import Cell
from lightning_lde.study._parallel import Lost, check_backend, in_parallel
from lightning_lde.study._settings import StudySettings
from lightning_lde.study._states import cell_states
from lightning_lde.study._train import record_failure, train_cell

FAILED = ("again", "skip", "only")


@dataclass(frozen=True)
class CellOutcome:
    """What became of one cell.

    Attributes:
        cell: The cell.
        run_id: The run that trained it, None where it failed.
        error: The traceback where it failed.
        duration_s: How long it took, None where its process died.
    """

    cell: Cell
    run_id: str | None
    error: str | None = None
    duration_s: float | None = None


def cells_to_run(lake: Lake, cells: Sequence[Cell], *, project: str, failed: str = "again") -> list[Cell]:
    """The cells that are not finished, in their order; in a reproduction, the one that it is about.

    A run that was killed may have finished on this machine's disk and not in the lake yet: what lies there is sent
    first.

    Args:
        lake: The lake.
        cells: All cells of the study.
        project: The project in the lake.
        failed: What to do with cells whose newest run failed: try them ``"again"``, ``"skip"`` them, or take ``"only"``
            them. One that was killed or interrupted did not fail.

    Raises:
        ConfigurationError: If ``failed`` is another word.
    """
    if failed not in FAILED:
        raise ConfigurationError(f"failed is {failed!r}: choose from {', '.join(FAILED)}")
    target = reproducing.wanted()
    if target is not None and (wanted := (target.identity.get("tags") or {}).get("cell")):
        return [cell for cell in cells if cell.cell_id == wanted]
    for outcome in sync_lake(lake.storage):
        if outcome.error is not None:
            tell(f"of an earlier run, {outcome.path} was not sent: {outcome.error}", RecordingWarning)
    states = cell_states(lake, cells, project=project)
    left = [one for one in states if one.state != RunStatus.FINISHED]
    wanted_states = {"again": (True, False), "skip": (False,), "only": (True,)}[failed]
    return [one.cell for one in left if (one.state == RunStatus.FAILED) in wanted_states]


def run_cells(
    lake: Lake,
    cells: Sequence[Cell],
    datasets: Sequence[FewShotDataset],
    settings: StudySettings,
    *,
    project: str,
    jobs: int = 1,
    backend: str = "loky",
) -> Iterator[CellOutcome]:
    """Train cells beside each other; one that fails, or kills its process, does not stop the others.

    Threads share one random state and one seed in the environment: they train the cells of one seed after those of
    another, and begin one at a time.

    Args:
        lake: The lake.
        cells: What to train.
        datasets: The data sets that the cells name, prepared.
        settings: The study's numbers.
        project: The project in the lake.
        jobs: Cells at a time.
        backend: ``"loky"`` for processes, ``"threading"``, ``"ray"`` or ``"dask"``.

    Yields:
        The outcome of each cell as it ends.

    Raises:
        ConfigurationError: If there is no such backend.
        MissingDependencyError: If it is not installed.
    """
    check_backend(backend)
    by_name = {dataset.name: dataset for dataset in datasets}
    place = (lake.url, project, lake.storage_options)
    for group in _by_seed(cells) if backend == "threading" else [cells]:
        by_id = {cell.cell_id: cell for cell in group}
        calls = {cell.cell_id: (_outcome, (cell, by_name[cell.dataset], settings, *place)) for cell in group}
        for cell_id, outcome in in_parallel(calls, jobs=jobs, backend=backend):
            if isinstance(outcome, Lost):
                yield _lost(by_id[cell_id], settings, outcome.reason, *place)
            else:
                yield outcome


def _by_seed(cells: Sequence[Cell]) -> list[list[Cell]]:
    seeds = dict.fromkeys(cell.seed for cell in cells)
    return [[cell for cell in cells if cell.seed == seed] for seed in seeds]


def _lost(
    cell: Cell, settings: StudySettings, reason: str, lake: str, project: str, storage_options: Mapping[str, Any]
) -> CellOutcome:
    """The outcome of a cell whose process died before it could say anything to the lake."""
    error = ChildProcessError(f"the process that trained it died: {reason}")
    record_failure(cell, settings, error, lake=lake, project=project, storage_options=storage_options)
    return CellOutcome(cell, None, str(error))


def _outcome(
    cell: Cell,
    dataset: FewShotDataset,
    settings: StudySettings,
    lake: str,
    project: str,
    storage_options: Mapping[str, Any],
) -> CellOutcome:
    began = time.monotonic()
    try:
        run_id = train_cell(cell, dataset, settings, lake=lake, project=project, storage_options=storage_options)
    except Exception:
        return CellOutcome(cell, None, traceback.format_exc(), time.monotonic() - began)
    return CellOutcome(cell, run_id, None, time.monotonic() - began)
