"""A small study, trained once for all tests that look at its lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lightning_lde import Lake
from lightning_lde.study import (
    StudySettings,
    measure_diversity,
    plan_cells,
    run_cells,
    study_datasets,
    train_probe,
)

NAMES = ("greek", "hebrew", "arrows", "digits")
SMALL = StudySettings(
    width=8, meta_steps=2, meta_batch=2, queries=5, pretraining_steps=4, test_episodes=6, probe_steps=4,
    diversity_tasks=4, diversity_images=4,
)  # fmt: skip


@dataclass(frozen=True)
class SmallStudy:
    """A finished study."""

    lake: Lake
    n_cells: int


def make_study(url: str | Path, storage_options: Mapping[str, Any] | None = None) -> SmallStudy:
    lake = Lake(url, storage_options).create()
    datasets, settings = study_datasets(None, SMALL, names=NAMES)
    cells = plan_cells(datasets, settings, seeds=range(1))
    outcomes = list(run_cells(lake, cells, datasets, settings, project="small", jobs=1))
    assert [outcome.error for outcome in outcomes] == [None] * len(cells)
    probe = train_probe(lake, datasets, settings, project="small")
    measure_diversity(lake, datasets, settings, probe, project="small")
    return SmallStudy(lake, len(cells))


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    return make_study(tmp_path_factory.mktemp("study") / "lake")
