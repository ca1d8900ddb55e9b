"""Where a run happens: Python, packages, machine, GPUs, determinism, variables; no host or user name."""

from __future__ import annotations

import copy
import functools
import importlib
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_lde.capture._packages import installed_packages
from lightning_lde.capture._redaction import redact
from lightning_lde.capture._values import hide_paths, json_safe
from lightning_lde.schema import Environment, content_id, utc_now

_NOT_WHERE = {"NCCL_HOSTID", "PL_DDP_PID", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"}
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")
_PREFIXES = ("PL_", "TORCH_", "CUBLAS_", "CUDNN_", "MKL_", "NCCL_", "OMP_", "PYTORCH_")
_NAMES = {
    *{"CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES"},
    *{"HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "KMP_AFFINITY", "NVIDIA_TF32_OVERRIDE", "OPENBLAS_NUM_THREADS"},
    *{"PYTHONHASHSEED", "PYTHONOPTIMIZE", "TF_ENABLE_ONEDNN_OPTS", "TOKENIZERS_PARALLELISM"},
}


def capture_environment() -> Environment:
    """Describe the present process and its machine.

    Of torch and CUDA it is what a torch says that is imported already; of the GPUs' driver what NVIDIA's library says
    where it is installed, or the kernel. What cannot change is read once per process; determinism flags and environment
    variables are read at each call. Seeds are no part of it (see ``capture_seeds``), so runs that differ in the seed
    share one environment. Absolute paths in variables are cut to their last part; folders that packages are installed
    from do not stand in it.

    Returns:
        The row; its id covers all fields but ``recorded_at``.
    """
    facts = {**copy.deepcopy(_fixed_facts(_torch())), "determinism": _determinism(), "variables": _variables()}
    return Environment(environment_id=content_id("environments", facts), recorded_at=utc_now(), **facts)


def is_recorded_variable(name: str) -> bool:
    """Whether the environment variable of that name is part of an environment."""
    return (name in _NAMES or name.startswith(_PREFIXES)) and name not in _NOT_WHERE


@functools.cache
def _fixed_facts(torch: Any) -> dict[str, Any]:
    packages = _attempt(installed_packages)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "machine": platform.machine() or None,
        "cpu": _attempt(_cpu_model) or platform.processor() or None,
        "cpu_count": os.cpu_count(),
        "memory_bytes": _attempt(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "gpus": _attempt(lambda: _gpus(torch)) or [],
        "cuda": _attempt(lambda: torch.version.cuda),
        "packages": packages.versions if packages else {},
        "package_origins": packages.origins if packages else {},
        "cudnn": _attempt(lambda: _cudnn(torch.backends.cudnn.version())),
        **_driver(torch),
    }


def _attempt(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:
        return None


def _torch() -> Any:
    # Whoever does not train with torch should not wait for it, nor give it memory.
    return sys.modules.get("torch")


def _cpu_model() -> str | None:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    match = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1].strip() if match else None


def _gpus(torch: Any) -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [
        {"name": gpu.name, "memory_bytes": gpu.total_memory, "capability": f"{gpu.major}.{gpu.minor}"} for gpu in found
    ]


def _cudnn(number: int | None) -> str | None:
    """The version behind cuDNN's number, which has had two forms.

    Example:
        >>> _cudnn(8902), _cudnn(91002), _cudnn(None)
        ('8.9.2', '9.10.2', None)
    """
    if number is None:
        return None
    unit = 10_000 if number >= 90_000 else 1_000
    return f"{number // unit}.{number % unit // 100}.{number % 100}"


def _driver(torch: Any) -> dict[str, str | None]:
    """The version of the GPUs' driver, and the newest CUDA that it can run."""
    if torch is not None and _attempt(lambda: torch.version.cuda) is None:
        # This torch can use no GPU of NVIDIA's.
        return {"gpu_driver": None, "cuda_driver": None}
    found = _attempt(_driver_by_library) or (None, None)
    return {"gpu_driver": found[0] or _attempt(_driver_by_kernel), "cuda_driver": found[1]}


def _driver_by_library() -> tuple[str, str]:
    nvml = importlib.import_module("pynvml")
    nvml.nvmlInit()
    try:
        version, cuda = nvml.nvmlSystemGetDriverVersion(), nvml.nvmlSystemGetCudaDriverVersion()
    finally:
        nvml.nvmlShutdown()
    return version.decode() if isinstance(version, bytes) else str(version), f"{cuda // 1000}.{cuda % 1000 // 10}"


def _driver_by_kernel(file: Path = _KERNEL_MODULE) -> str | None:
    match = re.search(r"Kernel Module.*?(\d+(?:\.\d+)+)", file.read_text(encoding="utf-8"))
    return None if match is None else match[1]


def _determinism() -> dict[str, Any]:
    torch = _torch()
    if torch is None:
        return {}
    return {
        "torch.use_deterministic_algorithms": _attempt(torch.are_deterministic_algorithms_enabled),
        "cudnn.deterministic": _attempt(lambda: torch.backends.cudnn.deterministic),
        "cudnn.benchmark": _attempt(lambda: torch.backends.cudnn.benchmark),
        "cudnn.allow_tf32": _attempt(lambda: _allows_tf32(torch.backends.cudnn, "conv")),
        "cuda.matmul.allow_tf32": _attempt(lambda: _allows_tf32(torch.backends.cuda, "matmul")),
        "torch.num_threads": _attempt(torch.get_num_threads),
        "torch.num_interop_threads": _attempt(torch.get_num_interop_threads),
        "float32_matmul_precision": _attempt(torch.get_float32_matmul_precision),
    }


def _allows_tf32(backend: Any, operation: str) -> bool:
    """The flag ``allow_tf32``, by the word that newer versions of torch have for it: they warn who reads the flag."""
    precision = getattr(getattr(backend, operation, None), "fp32_precision", None)
    if precision is not None:
        return bool(precision == "tf32")
    return bool(getattr(backend, operation, backend).allow_tf32)


def _variables() -> dict[str, Any]:
    chosen = {name: value for name, value in os.environ.items() if is_recorded_variable(name)}
    safe: dict[str, Any] = redact(hide_paths(json_safe(dict(sorted(chosen.items())))))
    return safe
