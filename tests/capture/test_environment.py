"""The environment: what stands in it, what does not, and what its id depends on."""

from __future__ import annotations

import getpass
import platform
import socket
from collections.abc import Iterator
from importlib import metadata

import pytest
import torch

from lightning_lde.capture import REDACTED, capture_environment
from lightning_lde.schema import canonical_json, records_to_arrow


@pytest.fixture(autouse=True)
def _restore_torch() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")


def test_facts() -> None:
    row = capture_environment()
    assert platform.python_version() in row.python
    assert row.machine == platform.machine()
    assert row.packages["torch"] == metadata.version("torch")
    assert row.packages["pytorch-lightning"] == metadata.version("pytorch-lightning")
    assert row.cpu_count is not None
    assert row.memory_bytes is not None
    assert row.memory_bytes > 2**28
    assert (row.gpus == []) is not torch.cuda.is_available()
    assert records_to_arrow("environments", [row]).num_rows == 1


def test_no_host_and_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", "/home/ann-the-user/cache")
    monkeypatch.setenv("NCCL_HOSTID", "node-of-ann")
    text = canonical_json([capture_environment().variables, capture_environment().platform])
    assert "ann" not in text
    assert "<path>/cache" in text
    name = socket.gethostname()
    assert len(name) < 5 or name not in text
    assert len(getpass.getuser()) < 5 or getpass.getuser() not in text


def test_variables_are_chosen_and_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "7")
    monkeypatch.setenv("PL_API_KEY", "hunter2")
    monkeypatch.setenv("TORCH_PROXY", "http://ann:hunter2@proxy")
    monkeypatch.setenv("MY_PRIVATE_NOTES", "hunter2")
    variables = capture_environment().variables
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["PL_TRAINER_MAX_EPOCHS"] == "7"
    assert variables["PL_API_KEY"] == REDACTED
    assert "hunter2" not in canonical_json(variables)
    assert "MY_PRIVATE_NOTES" not in variables


def test_the_seed_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    before = capture_environment()
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    monkeypatch.setenv("PL_SEED_WORKERS", "1")
    after = capture_environment()
    assert after.environment_id == before.environment_id
    assert "PL_GLOBAL_SEED" not in after.variables


def test_changes_at_run_time_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = capture_environment()
    assert capture_environment().environment_id == before.environment_id
    torch.use_deterministic_algorithms(True)
    deterministic = capture_environment()
    assert deterministic.determinism["torch.use_deterministic_algorithms"] is True
    torch.set_float32_matmul_precision("medium")
    medium = capture_environment()
    assert medium.determinism["float32_matmul_precision"] == "medium"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    workspace = capture_environment()
    assert len({row.environment_id for row in (before, deterministic, medium, workspace)}) == 4


def test_a_row_that_is_changed_does_not_change_the_next() -> None:
    capture_environment().packages["torch"] = "0"
    assert capture_environment().packages["torch"] == metadata.version("torch")
