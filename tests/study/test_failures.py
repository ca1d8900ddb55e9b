"""Cells that fail: the lake says why, and they are tried again, left out, or tried alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.errors import ConfigurationError
from lightning_lde.fewshot import FewShotDataset
from lightning_lde.study import Cell, StudySettings, cell_states, cells_to_run, plan_cells, run_cells, study_datasets
from lightning_lde.study import _run as running
from lightning_lde.study._parallel import Lost

from .conftest import SMALL


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake").create()


def train(lake: Lake, cells: list[Cell], dataset: FewShotDataset, settings: StudySettings) -> list[str | None]:
    outcomes = run_cells(lake, cells, [dataset], settings, project="p")
    return [outcome.error for outcome in outcomes]


def states(lake: Lake, cells: list[Cell]) -> list[tuple[str, str | None]]:
    return [(one.state, one.reason) for one in cell_states(lake, cells, project="p")]


def test_a_cell_that_fails_before_its_run_begins_leaves_a_failed_run(lake: Lake) -> None:
    (digits,), settings = study_datasets(None, SMALL, names=["digits"])
    few = replace(settings, shots=400)  # more than a class has: the tasks cannot be made
    (cell,) = plan_cells([digits], few, algorithms=["pretraining"], seeds=[3])
    (error,) = train(lake, [cell], digits, few)
    assert error is not None
    assert "DataError" in error
    ((state, reason),) = states(lake, [cell])
    assert state == "failed"
    assert reason is not None
    assert reason.startswith("DataError: class")
    run = lake.sql("select name, seed, tags->>'settings' as settings from runs").to_pylist()
    assert run == [{"name": "digits/pretraining/seed 3", "seed": 3, "settings": few.settings_id}]


def test_failed_cells_are_tried_again_left_out_or_tried_alone(lake: Lake) -> None:
    (digits,), settings = study_datasets(None, SMALL, names=["digits"])
    wild = replace(settings, pretraining_lr=1e30)  # its weights are no numbers, and a logistic regression refuses them
    good, bad, new = (plan_cells([digits], one, algorithms=["pretraining"], seeds=[seed])[0] for one, seed in (
        (settings, 0), (wild, 0), (settings, 1),
    ))  # fmt: skip
    assert train(lake, [good], digits, settings) == [None]
    (error,) = train(lake, [bad], digits, wild)
    assert error is not None
    assert "ValueError" in error
    found = states(lake, [good, bad, new])
    assert [state for state, _ in found] == ["finished", "failed", "to do"]
    assert (found[1][1] or "").startswith("ValueError: Input")
    assert lake.sql("select run_id from runs where status = 'failed'").num_rows == 1

    def todo(failed: str) -> list[Cell]:
        return cells_to_run(lake, [good, bad, new], project="p", failed=failed)

    assert (todo("again"), todo("skip"), todo("only")) == ([bad, new], [new], [bad])
    with pytest.raises(ConfigurationError, match="choose from again, skip, only"):
        todo("never")


def test_a_cell_whose_process_died_leaves_a_failed_run(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    (digits,), settings = study_datasets(None, SMALL, names=["digits"])
    cells = plan_cells([digits], settings, algorithms=["pretraining"])
    # tests/study/test_parallel.py kills processes; here it counts what is made of the news.
    monkeypatch.setattr(running, "in_parallel", lambda calls, **_: ((name, Lost("SIGKILL(-9)")) for name in calls))
    (error,) = train(lake, cells, digits, settings)
    assert error == "the process that trained it died: SIGKILL(-9)"
    assert states(lake, cells) == [("failed", f"ChildProcessError: {error}")]


@pytest.mark.slow
def test_threads_give_what_processes_give(small_study, lake: Lake) -> None:
    datasets, settings = study_datasets(None, SMALL, names=["greek", "digits"])
    cells = plan_cells(datasets, settings)
    outcomes = run_cells(lake, cells, datasets, settings, project="small", jobs=3, backend="threading")
    assert [outcome.error for outcome in outcomes] == [None] * len(cells)
    query = (
        "select name, seed, weights_end_id, tags from runs where tags->>'dataset' in ('greek', 'digits') order by name"
    )
    here = lake.sql(query).to_pylist()
    assert here == small_study.lake.sql(query).to_pylist()
    assert len(here) == 6
    tasks = "select episode_id, method, inner_steps, accuracy, loss from episodes where run_id in ({}) order by all"
    chosen = "select run_id from runs where tags->>'dataset' in ('greek', 'digits')"
    assert lake.sql(tasks.format(chosen)).equals(small_study.lake.sql(tasks.format(chosen)))
