"""Tiers: which files of runs lie where, and how they get there and back."""

from lightning_lde.lake.tiers._apart import require_apart

__all__ = ["require_apart"]
