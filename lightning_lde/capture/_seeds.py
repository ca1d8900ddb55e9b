"""The seeds of a process, read without touching a random generator."""

from __future__ import annotations

import os
import sys
from typing import Any

# A torch that nobody seeded draws 64 bits: one that starts with a small number was given it.
_LARGEST_SEED_OF_PEOPLE = 1 << 32


def capture_seeds() -> dict[str, Any]:
    """What is known of the seeds.

    Returns:
        ``PL_GLOBAL_SEED`` and ``PL_SEED_WORKERS`` as Lightning's ``seed_everything`` leaves them in the
        environment (None where it was not called), ``torch_initial_seed`` (None without torch), ``seeded_by``
        (``"seed_everything"``, ``"torch.manual_seed"`` or None) and ``seeded``, which is False where nothing says
        that the run can be repeated.

    Example:
        >>> sorted(capture_seeds())
        ['PL_GLOBAL_SEED', 'PL_SEED_WORKERS', 'seeded', 'seeded_by', 'torch_initial_seed']
    """
    seed = _number("PL_GLOBAL_SEED")
    torch = sys.modules.get("torch")
    initial = None if torch is None else torch.initial_seed()
    by_hand = "torch.manual_seed" if initial is not None and initial < _LARGEST_SEED_OF_PEOPLE else None
    seeded_by = by_hand if seed is None else "seed_everything"
    return {
        "PL_GLOBAL_SEED": seed,
        "PL_SEED_WORKERS": _number("PL_SEED_WORKERS"),
        "torch_initial_seed": initial,
        "seeded": seeded_by is not None,
        "seeded_by": seeded_by,
    }


def _number(variable: str) -> int | None:
    try:
        return int(os.environ[variable])
    except (KeyError, ValueError):
        return None
