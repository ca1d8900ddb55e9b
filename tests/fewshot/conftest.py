"""Data sets and a quiet Trainer that the few-shot tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from lightning_lde.fewshot import FewShotDataset, character_set


def make_dataset(n_classes: int = 12, per_class: int = 6, size: int = 16, seed: int = 0) -> FewShotDataset:
    """Random images in shuffled order; one half of the classes train, a sixth val, the rest test."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(n_classes), per_class))
    pixels = generator.integers(0, 256, (len(labels), 1, size, size), dtype=np.uint8)
    parts = ["train"] * (n_classes // 2) + ["val"] * (n_classes // 6)
    parts += ["test"] * (n_classes - len(parts))
    return FewShotDataset(
        name="random",
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels),
        classes=tuple(f"class {one}" for one in range(n_classes)),
        class_splits=tuple(generator.permutation(parts).tolist()),
        licence="CC0 1.0",
        source="made up",
    )


@pytest.fixture
def dataset() -> FewShotDataset:
    return make_dataset()


@pytest.fixture(scope="session")
def greek() -> FewShotDataset:
    return character_set("greek")


@pytest.fixture(scope="session")
def other_process() -> dict[str, str]:
    """What another process, with another hash seed, makes of the same settings."""
    code = (
        "import json; from lightning_lde.fewshot import Episodes, character_set; "
        "greek = character_set('greek'); episode = Episodes(greek, seed=9).episode_id(4); "
        "print(json.dumps({'greek': greek.fingerprint, 'episode': episode}))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    def make(**settings: Any) -> pl.Trainer:
        quiet = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "default_root_dir": tmp_path,
        }
        return pl.Trainer(**{**quiet, **settings})

    return make


@pytest.fixture(scope="session")
def packs_folder() -> Path:
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("LDE_DATA_DIR") or beside)
    if not folder.is_dir():
        pytest.skip("no data packs: set LDE_DATA_DIR or put them at ../shared/data")
    return folder
