"""The seeds of a process, read without touching a random generator."""

from __future__ import annotations

import os
import sys
from typing import Any


def capture_seeds() -> dict[str, Any]:
    """What is known of the seeds.

    Returns:
        ``PL_GLOBAL_SEED`` and ``PL_SEED_WORKERS`` as Lightning's ``seed_everything`` leaves them in the
        environment (None where it was not called), ``torch_initial_seed`` (None without torch), and
        ``seeded``, which is False where nothing says that the run can be repeated.

    Example:
        >>> sorted(capture_seeds())
        ['PL_GLOBAL_SEED', 'PL_SEED_WORKERS', 'seeded', 'torch_initial_seed']
    """
    seed = _number("PL_GLOBAL_SEED")
    torch = sys.modules.get("torch")
    return {
        "PL_GLOBAL_SEED": seed,
        "PL_SEED_WORKERS": _number("PL_SEED_WORKERS"),
        "torch_initial_seed": None if torch is None else torch.initial_seed(),
        "seeded": seed is not None,
    }


def _number(variable: str) -> int | None:
    try:
        return int(os.environ[variable])
    except (KeyError, ValueError):
        return None
