"""Where a run happens: Python, packages, machine, GPUs, determinism, variables; no host or user name."""

from __future__ import annotations

import copy
import functools
import os
import platform
import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from lightning_lde.capture._redaction import redact
from lightning_lde.capture._values import hide_paths, json_safe
from lightning_lde.schema import Environment, content_id, utc_now

_NOT_WHERE = {"NCCL_HOSTID", "PL_DDP_PID", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"}
_PREFIXES = ("PL_", "TORCH_", "CUBLAS_", "CUDNN_", "MKL_", "NCCL_", "OMP_", "PYTORCH_")
_NAMES = {
    *{"CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES"},
    *{"HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "KMP_AFFINITY", "NVIDIA_TF32_OVERRIDE", "OPENBLAS_NUM_THREADS"},
    *{"PYTHONHASHSEED", "PYTHONOPTIMIZE", "TF_ENABLE_ONEDNN_OPTS", "TOKENIZERS_PARALLELISM"},
}


def capture_environment() -> Environment:
    """Describe the present process and its machine.

    What cannot change is read once per process; determinism flags and environment variables are read
    at each call. Seeds are no part of it (see ``capture_seeds``), so runs that differ in the seed share one
    environment. Absolute paths in variables are cut to their last part.

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
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "machine": platform.machine() or None,
        "cpu": _attempt(_cpu_model) or platform.processor() or None,
        "cpu_count": os.cpu_count(),
        "memory_bytes": _attempt(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        "gpus": _attempt(lambda: _gpus(torch)) or [],
        "cuda": _attempt(lambda: torch.version.cuda),
        "packages": _attempt(_packages) or {},
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


def _packages() -> dict[str, str]:
    packages: dict[str, str] = {}
    for distribution in metadata.distributions():
        named = _attempt(lambda distribution=distribution: _name_and_version(distribution))  # type: ignore[misc]
        if named:
            # The first on sys.path is the one that gets imported.
            packages.setdefault(re.sub(r"[-_.]+", "-", named[0]).lower(), named[1])
    return dict(sorted(packages.items()))


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    """What the folder's name says, which is far quicker to read than the metadata in it."""
    folder = re.fullmatch(r"([^-]+)-([^-]+)\.dist-info", getattr(getattr(distribution, "_path", None), "name", ""))
    return (folder[1], folder[2]) if folder else (distribution.metadata["Name"], distribution.version)


def _determinism() -> dict[str, Any]:
    torch = _torch()
    if torch is None:
        return {}
    return {
        "torch.use_deterministic_algorithms": _attempt(torch.are_deterministic_algorithms_enabled),
        "cudnn.deterministic": _attempt(lambda: torch.backends.cudnn.deterministic),
        "cudnn.benchmark": _attempt(lambda: torch.backends.cudnn.benchmark),
        "torch.num_threads": _attempt(torch.get_num_threads),
        "float32_matmul_precision": _attempt(torch.get_float32_matmul_precision),
    }


def _variables() -> dict[str, Any]:
    chosen = {name: value for name, value in os.environ.items() if is_recorded_variable(name)}
    safe: dict[str, Any] = redact(hide_paths(json_safe(dict(sorted(chosen.items())))))
    return safe
