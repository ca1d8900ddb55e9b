"""Whether freed memory is kept, by what glibc says of the blocks that it asks the system for."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_lde.fewshot import MAML, Conv4, Episodes
from lightning_lde.fewshot.engine import kept_memory  # noqa: F401  # used by the programs

from .conftest import make_dataset

MB = 1 << 20


class _Info(ctypes.Structure):
    _fields_ = [
        ("before", ctypes.c_size_t * 3),
        ("hblks", ctypes.c_size_t),
        ("behind", ctypes.c_size_t * 6),
    ]


def is_mapped(mb: int) -> bool:
    """Whether a tensor of so many MB gets a block of its own from the system.

    A block that was kept may leave a hole behind, with small ones above it, that a later one of its size goes into:
    so later questions are of a larger one.
    """
    info = ctypes.CDLL(None).mallinfo2
    info.restype = _Info
    before = info().hblks
    kept = torch.empty(mb * MB, dtype=torch.uint8)
    return bool(info().hblks > before) and len(kept) > 0


glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33"
)


PROGRAM = """
from tests.fewshot.test_memory import *

with kept_memory():
    pass
say("afterwards", is_mapped(8), is_mapped(64))
with kept_memory():
    with kept_memory():
        inner = is_mapped(64)
    say("nested", inner, is_mapped(64))
say("after both", is_mapped(512))
fit(sys.argv[1])
say("after the fit", is_mapped(512))
"""


def say(what: str, *mapped: bool) -> None:
    """Write a line that the tests read."""
    sys.stdout.write(json.dumps([what, *mapped]) + "\n")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[bool]]:
    """What a fresh process says of its blocks: here other tests may have freed large ones, or broken off a fit."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path_factory.mktemp("fit"))],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {what: mapped for what, *mapped in lines}


@glibc
def test_afterwards_blocks_are_handed_out_again_as_glibc_would_by_itself(told: dict[str, list[bool]]) -> None:
    assert told["afterwards"] == [False, True]


@glibc
def test_large_blocks_are_kept_until_the_last_one_ends(told: dict[str, list[bool]]) -> None:
    assert told["nested"] == [False, False]
    assert told["after both"] == [True]


@glibc
def test_a_fit_keeps_memory_and_gives_it_back(told: dict[str, list[bool]]) -> None:
    assert told["batch 0"] == told["batch 1"] == [False]
    assert told["after the fit"] == [True]


def fit(folder: str) -> None:
    """Train on two batches, and say after each whether a large block would be a mapped one."""

    class Look(pl.Callback):
        def on_train_batch_end(self, _: object, __: object, ___: object, ____: object, batch_idx: int) -> None:
            say(f"batch {batch_idx}", is_mapped(64))

    tasks = Episodes(make_dataset(), split="train", ways=3, shots=1, queries=2, n_episodes=2)
    model = MAML(Conv4(width=4, image_size=16), ways=3, inner_steps=1, first_order=True)
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=1, callbacks=[Look()], default_root_dir=folder, logger=False, accelerator="cpu", **quiet
    )
    trainer.fit(model, DataLoader(tasks, batch_size=1))
