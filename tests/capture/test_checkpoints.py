"""Fingerprints of checkpoint files equal those of the modules that were saved, and nothing in a file is run."""

from __future__ import annotations

import pathlib
import pickle
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from lightning_lde.capture import checkpoint_fingerprint, weights_fingerprint


class Odd(torch.nn.Module):
    """Every kind of tensor that a module may hold: shared, transposed, empty, without dimensions, of many types."""

    def __init__(self) -> None:
        super().__init__()
        whole = torch.arange(24, dtype=torch.float32)
        self.first = torch.nn.Parameter(whole[:12].reshape(3, 4))
        self.second = torch.nn.Parameter(whole[12:].reshape(4, 3).T)
        self.tied = self.first
        self.norm = torch.nn.BatchNorm1d(3)
        for name in ("bfloat16", "float16", "float64", "complex64", "complex128"):
            self.register_buffer(f"a_{name}", torch.randn(2, 3).to(getattr(torch, name)))
        for name in ("int8", "uint8", "int16", "int32", "int64", "bool"):
            self.register_buffer(f"a_{name}", torch.tensor([0, 1, 2]).to(getattr(torch, name)))
        self.register_buffer("empty", torch.empty(0, 5))
        self.register_buffer("scalar", torch.tensor(2.5))


class Settings:
    """Something of the user's among the hyper-parameters."""

    called: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self.path = pathlib.Path("x")
        self.items = {"a": {1, 2}, "b": [torch.float16, torch.device("cpu")]}

    def __setstate__(self, state: object) -> None:
        Settings.called.append("called")


class ByReduce:
    def __reduce__(self) -> Any:
        return pathlib.Path.touch, (pathlib.Path("run-by-the-checkpoint"),)


def saved(tmp_path: Path, content: object) -> Path:
    torch.save(content, tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


def test_all_kinds_of_tensors(tmp_path: Path) -> None:
    module = Odd()
    content = {"state_dict": module.state_dict(), "epoch": 3, "optimizer_states": [{"a": torch.ones(2)}]}
    assert checkpoint_fingerprint(saved(tmp_path, content)) == weights_fingerprint(module)
    with torch.no_grad():
        module.second[0, 0] += 1
    assert checkpoint_fingerprint(tmp_path / "x.ckpt") != weights_fingerprint(module)


def test_a_file_of_nothing_but_tensors(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    assert checkpoint_fingerprint(saved(tmp_path, module.state_dict())) == weights_fingerprint(module)


def test_nothing_of_the_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = torch.nn.Linear(3, 2)
    content = {"state_dict": module.state_dict(), "hyper_parameters": {"s": Settings(), "r": ByReduce()}}
    path = saved(tmp_path, content)
    assert checkpoint_fingerprint(path) == weights_fingerprint(module)
    assert Settings.called == []
    assert not Path("run-by-the-checkpoint").exists()
    # The check sees it where it is run.
    torch.load(path, weights_only=False)
    assert Settings.called
    assert Path("run-by-the-checkpoint").exists()


@pytest.mark.parametrize("extra", [{"a": 1}, torch.ones(1), "words", None])
def test_values_that_are_no_tensors_count_as_in_a_module(tmp_path: Path, extra: object) -> None:
    state = {**torch.nn.Linear(2, 2).state_dict(), "_extra_state": extra}
    assert checkpoint_fingerprint(saved(tmp_path, {"state_dict": state})) == weights_fingerprint(state)


def test_what_cannot_be_told_has_no_fingerprint(tmp_path: Path) -> None:
    for state in ({"a": Settings()}, {"a": torch.ones(2).to_sparse()}, {"a": torch.ones(2, device="meta")}, {}):
        assert checkpoint_fingerprint(saved(tmp_path, {"state_dict": state})) is None
    assert checkpoint_fingerprint(saved(tmp_path, {"epoch": 1})) is None
    assert checkpoint_fingerprint(saved(tmp_path, [1, 2])) is None
    assert checkpoint_fingerprint(tmp_path / "missing") is None
    for name, content in (("old", pickle.dumps({"state_dict": {}})), ("text", b"hello"), ("none", b"")):
        (tmp_path / name).write_bytes(content)
        assert checkpoint_fingerprint(tmp_path / name) is None
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a/data.pkl", b"cos\nsystem\n(S'false'\ntR.")
    assert checkpoint_fingerprint(tmp_path / "other.zip") is None


@pytest.mark.parametrize("cut", [0.2, 0.9])
def test_half_a_file(tmp_path: Path, cut: float) -> None:
    path = saved(tmp_path, {"state_dict": torch.nn.Linear(50, 50).state_dict()})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    assert checkpoint_fingerprint(path) is None
