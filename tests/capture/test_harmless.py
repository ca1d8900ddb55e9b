"""Capturing changes nothing, and its ids are the same in every process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_lde import capture

PROGRAM = """
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset
from lightning_lde import capture

class Words:
    def __init__(self):
        self.settings = {"b", "a", "c", "d", "e"}
        self.transform = print
    def __len__(self):
        return 3
    def lde_config(self):
        return {"settings": {"names": self.settings, "f": frozenset({"x", "y", "z"})}}

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self._hparams = {"names": {"b", "a", "c", "d"}, "f": print, "o": object()}

tensors = TensorDataset(torch.arange(9.0), torch.arange(9) % 3)
loaders = [DataLoader(Subset(tensors, [4, 1]), batch_size=2), DataLoader(Words())]
for loader in loaders:
    dataset, config = capture.describe_loader(loader)
    print(dataset.dataset_id, config.dataset_config_id)
print(capture.describe_pipeline(Net()).pipeline_id, capture.describe_pipeline_config(Net(), None).pipeline_config_id)
print(capture.capture_code(__file__).code_id, capture.weights_fingerprint({"w": torch.ones(3)}))
"""


def test_no_random_generator_moves() -> None:
    module = torch.nn.Linear(2, 2)
    data = DataLoader(TensorDataset(torch.zeros(100, 2)), shuffle=True)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index,union-attr]
    capture.capture_environment()
    capture.capture_code()
    capture.capture_seeds()
    capture.capture_sources()
    capture.random_state()
    capture.describe_loader(data)
    capture.describe_pipeline(module)
    capture.describe_pipeline_config(module, None)
    capture.weights_fingerprint(module)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]
    assert random.getstate() == states[2]


def test_modules_and_data_stay_as_they_are() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).eval()
    attributes = dict(vars(module))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    capture.describe_pipeline(module)
    capture.describe_pipeline_config(module, None)
    capture.weights_fingerprint(module)
    assert not module.training
    assert dict(vars(module)) == attributes
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_seeds_are_read_as_lightning_leaves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import pytorch_lightning as pl

    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    monkeypatch.delenv("PL_SEED_WORKERS", raising=False)
    torch.seed()
    unseeded = capture.capture_seeds()
    assert (unseeded["PL_GLOBAL_SEED"], unseeded["seeded"]) == (None, False)
    monkeypatch.setenv("PL_GLOBAL_SEED", "")
    monkeypatch.setenv("PL_SEED_WORKERS", "")
    assert capture.capture_seeds()["seeded"] is False
    pl.seed_everything(42, workers=True, verbose=False)
    known = {"PL_GLOBAL_SEED": 42, "PL_SEED_WORKERS": 1, "torch_initial_seed": 42, "seeded": True}
    assert capture.capture_seeds() == {**known, "seeded_by": "seed_everything"}
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert capture.capture_seeds()["seeded_by"] == "torch.manual_seed"
    torch.seed()
    assert capture.capture_seeds()["seeded_by"] is None


def _run(program: Path, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(program)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_ids_are_the_same_in_every_process(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    first, second = _run(program, "1"), _run(program, "2")
    assert first == second
    assert len(first.split()) == 8


def test_importing_does_not_import_torch() -> None:
    code = "import sys, lightning_lde.capture; print('torch' in sys.modules, 'numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == ["False", "False"]
