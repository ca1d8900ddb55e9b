"""Tiers: which files of runs lie where, and how they get there and back."""

from lightning_lde.lake.tiers._amounts import Amount, Restoring, Tiering
from lightning_lde.lake.tiers._apart import require_apart
from lightning_lde.lake.tiers._archive import RETRIEVALS
from lightning_lde.lake.tiers._cost import Estimate
from lightning_lde.lake.tiers._look import TierLook
from lightning_lde.lake.tiers._move import tier
from lightning_lde.lake.tiers._plan import Decision, FileKey, HeldFile
from lightning_lde.lake.tiers._restore import restore
from lightning_lde.lake.tiers._root import ColdRoot, cold_roots
from lightning_lde.lake.tiers._rows import checkpoint_mode, decisions

__all__ = [
    "RETRIEVALS",
    "Amount",
    "ColdRoot",
    "Decision",
    "Estimate",
    "FileKey",
    "HeldFile",
    "Restoring",
    "TierLook",
    "Tiering",
    "checkpoint_mode",
    "cold_roots",
    "decisions",
    "require_apart",
    "restore",
    "tier",
]
