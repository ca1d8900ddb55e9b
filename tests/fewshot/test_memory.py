"""Whether freed memory is kept, by what glibc says of the blocks that it asks the system for."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_lde.fewshot import MAML, Conv4, Episodes
from lightning_lde.fewshot.engine import kept_memory

from .conftest import make_dataset

MB = 1 << 20


class _Info(ctypes.Structure):
    _fields_ = [
        ("before", ctypes.c_size_t * 3),
        ("hblks", ctypes.c_size_t),
        ("behind", ctypes.c_size_t * 6),
    ]


def is_mapped(mb: int) -> bool:
    """Whether a tensor of so many MB gets a block of its own from the system."""
    info = ctypes.CDLL(None).mallinfo2
    info.restype = _Info
    before = info().hblks
    kept = torch.empty(mb * MB, dtype=torch.uint8)
    return bool(info().hblks > before) and len(kept) > 0


glibc = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33"
)


@glibc
def test_large_blocks_are_kept_until_the_last_one_ends() -> None:
    assert is_mapped(64)
    with kept_memory():
        with kept_memory():
            assert not is_mapped(64)
        assert not is_mapped(64)
    assert is_mapped(64)


@glibc
def test_afterwards_blocks_are_handed_out_again_as_glibc_would_by_itself() -> None:
    # In a process of its own, where nothing large was freed before.
    code = """
from tests.fewshot.test_memory import is_mapped
from lightning_lde.fewshot.engine import kept_memory
with kept_memory():
    pass
print(is_mapped(8), is_mapped(64))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.split() == ["False", "True"]


@glibc
@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_a_fit_keeps_memory_and_gives_it_back(trainer: Callable[..., pl.Trainer]) -> None:
    seen = []

    class Look(pl.Callback):
        def on_train_batch_end(self, *_: object, **__: object) -> None:
            seen.append(is_mapped(64))

    tasks = Episodes(make_dataset(), split="train", ways=3, shots=1, queries=2, n_episodes=2)
    model = MAML(Conv4(width=4, image_size=16), ways=3, inner_steps=1, first_order=True)
    trainer(max_epochs=1, callbacks=[Look()]).fit(model, DataLoader(tasks, batch_size=1))
    assert seen == [False, False]
    assert is_mapped(64)
