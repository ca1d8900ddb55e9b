"""The environment: what stands in it, what does not, and what its id depends on."""

from __future__ import annotations

import getpass
import platform
import socket
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_lde.capture import REDACTED, _environment, capture_environment
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


def test_threads_and_tf32() -> None:
    flags = capture_environment().determinism
    assert flags["torch.num_threads"] == torch.get_num_threads()
    assert flags["torch.num_interop_threads"] == torch.get_num_interop_threads()
    assert (flags["cudnn.allow_tf32"], flags["cuda.matmul.allow_tf32"]) == (True, False)


@pytest.mark.parametrize(
    ("backend", "name"), [(torch.backends.cudnn, "cudnn"), (torch.backends.cuda.matmul, "cuda.matmul")]
)
def test_tf32_is_seen_however_it_is_set(backend: Any, name: str) -> None:
    with warnings.catch_warnings():
        # Newer versions of torch would rather have other words for it.
        warnings.simplefilter("ignore")
        before = backend.allow_tf32
    ids = set()
    for value in (True, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backend.allow_tf32 = value
        row = capture_environment()
        assert row.determinism[f"{name}.allow_tf32"] is value
        ids.add(row.environment_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backend.allow_tf32 = before
    assert len(ids) == 2


def test_a_precision_of_matrices_is_one_of_tf32() -> None:
    torch.set_float32_matmul_precision("high")
    assert capture_environment().determinism["cuda.matmul.allow_tf32"] is True
    torch.set_float32_matmul_precision("highest")
    assert capture_environment().determinism["cuda.matmul.allow_tf32"] is False


def test_nothing_is_imported_or_said_for_it() -> None:
    program = (
        "import sys\nfrom lightning_lde.capture import capture_environment\nrow = capture_environment()\n"
        "assert 'torch' not in sys.modules\nassert row.determinism == {}\nassert row.packages['torch']\n"
        "import torch\nrow = capture_environment()\nassert None not in row.determinism.values(), row.determinism\n"
    )
    command = [sys.executable, "-W", "error::UserWarning", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


OF_KERNEL = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""
OF_OPEN_KERNEL = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build
GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)
"""


@pytest.mark.parametrize(("text", "version"), [(OF_KERNEL, "535.104.05"), (OF_OPEN_KERNEL, "560.35.03"), ("", None)])
def test_the_driver_that_the_kernel_names(tmp_path: Path, text: str, version: str | None) -> None:
    (tmp_path / "version").write_text(text)
    assert _environment._driver_by_kernel(tmp_path / "version") == version


@pytest.mark.parametrize("version", ["550.54.15", b"550.54.15"])
def test_the_driver_that_the_library_of_nvidia_names(monkeypatch: pytest.MonkeyPatch, version: str | bytes) -> None:
    calls = []
    library = types.SimpleNamespace(
        nvmlInit=lambda: calls.append("begin"),
        nvmlShutdown=lambda: calls.append("end"),
        nvmlSystemGetDriverVersion=lambda: version,
        nvmlSystemGetCudaDriverVersion=lambda: 12040,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert _environment._driver(None) == {"gpu_driver": "550.54.15", "cuda_driver": "12.4"}
    assert calls == ["begin", "end"]
    # A torch that can use no such GPU has no driver.
    without = types.SimpleNamespace(version=types.SimpleNamespace(cuda=None))
    assert _environment._driver(without) == {"gpu_driver": None, "cuda_driver": None}


@pytest.mark.gpu
def test_the_driver_of_a_real_gpu() -> None:
    question = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(question, capture_output=True, text=True, check=True).stdout.split()
    row = capture_environment()
    assert row.gpu_driver == answer[0]
    assert row.cuda == torch.version.cuda
    assert row.cudnn is not None
    major, minor = (int(part) for part in row.cudnn.split(".")[:2])
    assert str(torch.backends.cudnn.version()).startswith(str(major))
    assert minor == torch.backends.cudnn.version() // 100 % (100 if major >= 9 else 10)


def test_a_row_that_is_changed_does_not_change_the_next() -> None:
    capture_environment().packages["torch"] = "0"
    assert capture_environment().packages["torch"] == metadata.version("torch")
